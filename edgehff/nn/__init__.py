"""Torch modules of HFF layers; needs the extra `torch`."""

from edgehff.nn.conv import AuxConv, HFFConv1d, HFFConv2d
from edgehff.nn.layer import HFFLayer, LocalPass
from edgehff.nn.linear import HFFLinear
from edgehff.nn.network import HFFNetwork

__all__ = ["AuxConv", "HFFConv1d", "HFFConv2d", "HFFLayer", "HFFLinear", "HFFNetwork", "LocalPass"]
