"""Measurements behind the figures of the documentation: each is one function and one command."""
