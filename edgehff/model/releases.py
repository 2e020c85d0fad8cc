"""Trained models by name: where each is fetched from, and the check that it is the one that was released."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

from edgehff import download
from edgehff.errors import InputError, ModelFileError, did_you_mean
from edgehff.model.catalog import RELEASES, Release

ADDRESS = "EDGEHFF_MODELS"
"""The environment variable that says where models lie."""


def describe(name: str) -> Release:
    """What is known of the model called name.

    Raises:
        InputError: no such name; the nearest one is in the message.
    """
    if name in RELEASES:
        return RELEASES[name]
    raise InputError(
        f"no model to fetch is called {name!r}{did_you_mean(name, RELEASES)}",
        hint="edgehff model list",
    )


def locate(release: Release, address: str | None = None) -> str:
    """The path or URL of a release's file under address, or where None is given under EDGEHFF_MODELS.

    Raises:
        InputError: neither is set, or what is set is neither a folder nor an http:// or https:// address.
    """
    base = address or os.environ.get(ADDRESS, "")
    if not base:
        raise InputError(f"where {release.file} lies is not known", hint=_remedy(release))
    if _is_url(base):
        return f"{base.rstrip('/')}/{release.file}"
    if not Path(base).is_dir():
        said = "--from" if address else ADDRESS
        raise InputError(f"{said} is {base}, no folder and no http(s):// address", hint=_remedy(release))
    return str(Path(base) / release.file)


def fetch(release: Release, place: str) -> bytes:
    """The contents of a release's file at place, a path or a URL; never more than its bytes are taken.

    Raises:
        ModelFileError: it is not there, cannot be read, does not come, or has another size or SHA-256.
    """
    try:
        data = _download(place, release.bytes) if _is_url(place) else _read(Path(place), release.bytes)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelFileError(
            f"{release.name} could not be fetched from {place}: {reason}", hint=_remedy(release)
        ) from error
    if len(data) != release.bytes:
        raise ModelFileError(
            f"{place} has {len(data)} bytes, {release.name} has {release.bytes}", hint=_remedy(release)
        )
    digest = hashlib.sha256(data).hexdigest()
    if digest != release.sha256:
        raise ModelFileError(
            f"{place} is not {release.name}: its SHA-256 is {digest}, not {release.sha256}",
            hint=_remedy(release),
        )
    return data


def _remedy(release: Release) -> str:
    return (
        f"set {ADDRESS} to a folder or an http(s):// address under which {release.file} lies, "
        f"or edgehff train models/{release.name}/recipe.toml -o {release.file}"
    )


def _is_url(text: str) -> bool:
    return text.lower().startswith(("http://", "https://"))


def _download(url: str, max_bytes: int) -> bytes:
    body = io.BytesIO()
    download.fetch(url, body, max_bytes)
    return body.getvalue()


def _read(path: Path, max_bytes: int) -> bytes:
    if not path.is_file():
        raise ValueError("no such file")
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"more than {max_bytes} bytes")
    return data
