"""Stores, the grounded latent-action world model, its policies, evaluation and export."""
