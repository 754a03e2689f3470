"""The contract between training and deployment: everything that both sides must agree on lives here."""
