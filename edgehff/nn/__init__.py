"""Torch modules of HFF layers; needs the extra `torch`."""

from edgehff.nn.linear import HFFLinear
from edgehff.nn.network import HFFNetwork

__all__ = ["HFFLinear", "HFFNetwork"]
