"""Demonstration stores: writing, reading, sampling, importing."""
