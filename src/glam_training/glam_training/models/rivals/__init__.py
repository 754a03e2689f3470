"""The methods that GLAM is measured against: one file each, on the same features, policy head and budget."""
