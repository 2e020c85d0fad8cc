"""Float networks to the integers of the core."""

from edgehff.quantize.network import quantize

__all__ = ["quantize"]
