"""Chips that run a network in integers of their own: limits, quantizer, reference, file."""
