"""Data sets: named ones, files that a user brings, splits, and streams of one sample at a time."""

from edgehff.data.dataset import Dataset
from edgehff.data.sources import load

__all__ = ["Dataset", "load"]
