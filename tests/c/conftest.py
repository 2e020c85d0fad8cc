"""The fixture that builds the C, for every test of this folder."""

from builds import configure

__all__ = ["configure"]
