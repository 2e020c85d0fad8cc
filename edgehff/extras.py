"""Optional packages: errors that name the extra where one is missing or does not fit; none is imported."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from edgehff.errors import MissingToolError

TORCH_OF_EXECUTORCH = {"1.5": "2.13"}
"""The compiled parts of executorch load libraries of one torch release; its metadata do not say which."""


def require(package: str, extra: str) -> None:
    """Go on where package can be imported.

    Raises:
        MissingToolError: it cannot; the hint installs the extra.
    """
    if find_spec(package) is None or installed(package) is None:
        raise MissingToolError(f"{package} is not installed", hint=f'pip install "edgehff[{extra}]"')


def require_executorch() -> None:
    """Go on where executorch is installed together with the torch that it was built for.

    Raises:
        MissingToolError: one is missing, or the pair is not one that is known to work.
    """
    require("torch", "executorch")
    require("executorch", "executorch")
    found, torch = version("executorch"), version("torch")
    wanted = TORCH_OF_EXECUTORCH.get(_release(found))
    if wanted is None:
        known = ", ".join(TORCH_OF_EXECUTORCH)
        raise MissingToolError(
            f"executorch {found} is not known to this edgehff, which takes {known}",
            hint='pip install "edgehff[executorch]"',
        )
    if _release(torch) != wanted:
        raise MissingToolError(
            f"executorch {found} was built for torch {wanted}, torch {torch} is installed",
            hint=f'pip install "torch=={wanted}.*"',
        )


def installed(package: str) -> str | None:
    """The version of a package, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _release(text: str) -> str:
    return ".".join(text.split("+", maxsplit=1)[0].split(".")[:2])
