"""Blocks with parameters, and operations, of which the networks are made."""
