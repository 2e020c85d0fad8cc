"""edgehff: networks that learn after they left the factory, in integers, the same bits on every machine."""

from importlib.metadata import version

__version__ = version("edgehff")
__all__ = ["__version__"]
