"""Data sets by name: what they are, where they lie, and how they are fetched and checked."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edgehff import download
from edgehff.data.catalog import SOURCES, Source
from edgehff.data.dataset import Dataset
from edgehff.data.files import load_path
from edgehff.data.idx import FILES, has_idx, load_idx
from edgehff.errors import DataError, did_you_mean

BUNDLED = Path(__file__).parent / "bundled"
RETRIES = 1
MAX_DOWNLOAD = 64 << 20


def describe(name: str) -> Source:
    """What is known of the data set called name.

    Raises:
        DataError: no such name; the nearest one is in the message.
    """
    if name in SOURCES:
        return SOURCES[name]
    raise DataError(
        f"no data set is called {name!r}{did_you_mean(name, SOURCES)}",
        hint="edgehff data list",
    )


def locate(name: str) -> Path | None:
    """Where the data set called name lies on this machine, or None where it would have to be downloaded.

    Searched in order: the package, the folder EDGEHFF_DATA (name.npz or name/), a system package, the cache.
    A name outside SOURCES is looked for in EDGEHFF_DATA only.

    Raises:
        DataError: EDGEHFF_DATA is set and is no folder.
    """
    source = SOURCES.get(name)
    if source is not None and source.bundled:
        return BUNDLED / f"{name}.npz"
    own = data_folder()
    if own is not None and re.fullmatch(r"\w[\w.-]*", name):
        for path in (own / f"{name}.npz", own / name):
            if path.exists():
                return path
    if source is None:
        return None
    if source.system_folder and has_idx(Path(source.system_folder)):
        return Path(source.system_folder)
    cached = cache_folder() / name
    return cached if all((cached / file).is_file() for file in FILES) else None


def load(name_or_path: str | Path, *, notice: Callable[[str], None] | None = None) -> Dataset:
    """The data set of that name, or in that file or folder; names win over files of the same name.

    notice: called with one sentence before a download starts.

    Raises:
        DataError: neither a name nor a path, a failed download, a wrong checksum, or unusable contents.
        MissingToolError: images without Pillow.
    """
    name = str(name_or_path)
    source = SOURCES.get(name)
    path = None if isinstance(name_or_path, Path) else locate(name)
    if isinstance(name_or_path, Path) or (source is None and path is None):
        return _load_unnamed(Path(name_or_path))
    if source is None and path is not None:
        return load_path(path)
    return _load_source(describe(name), path, notice)


def data_folder() -> Path | None:
    """The folder EDGEHFF_DATA names, or None where it is not set.

    Raises:
        DataError: it is set and is no folder.
    """
    value = os.environ.get("EDGEHFF_DATA", "")
    if value and not Path(value).is_dir():
        raise DataError(
            f"EDGEHFF_DATA is {value}, which is no folder", hint="mkdir it, or unset EDGEHFF_DATA"
        )
    return Path(value) if value else None


def cache_folder() -> Path:
    """Where downloads are kept: a folder for each data set."""
    import pooch  # noqa: PLC0415 (base of every data command: loaded when a download is near)

    return Path(pooch.os_cache("edgehff"))


def _load_unnamed(path: Path) -> Dataset:
    if not path.exists() and path.name == str(path) and not path.suffix:
        describe(str(path))
    return load_path(path)


def _load_source(source: Source, path: Path | None, notice: Callable[[str], None] | None) -> Dataset:
    if path is None or (path.is_dir() and path == cache_folder() / source.name):
        path = _fetch(source, notice)
    if has_idx(path):
        return load_idx(path, source.name, source.class_names)
    dataset = load_path(path)
    unnamed = dataset.class_names == tuple(str(c) for c in range(len(source.class_names)))
    return replace(
        dataset, name=source.name, class_names=source.class_names if unnamed else dataset.class_names
    )


def _fetch(source: Source, notice: Callable[[str], None] | None) -> Path:
    """Download what the cache lacks, check every file against its SHA-256, and return the folder."""
    import pooch  # noqa: PLC0415 (base of every data command: loaded when a download is near)

    mirror = os.environ.get("EDGEHFF_MIRROR", "")
    base_url = f"{mirror.rstrip('/')}/{source.name}/" if mirror else source.base_url
    folder = cache_folder() / source.name
    if notice is not None and not all((folder / file).is_file() for file in source.sha256):
        notice(f"downloading {source.title} ({source.megabytes} MB) from {base_url} to {folder}")
    cache = pooch.create(folder, base_url, registry=dict(source.sha256), retry_if_failed=RETRIES)
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        for file in source.sha256:
            cache.fetch(file, downloader=_download)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{source.name} could not be fetched from {base_url}: {error}", hint=_remedy(source)
        ) from error
    finally:
        logger.setLevel(level)
    return folder


def _download(url: str, path: str, _: object) -> None:
    """Fetch url into a file, as pooch calls it."""
    with Path(path).open("wb") as file:
        download.fetch(url, file, MAX_DOWNLOAD)


def _remedy(source: Source) -> str:
    name, system = source.name, source.system_package
    return (
        f"set EDGEHFF_DATA to a folder that holds {name}.npz or a folder {name} with the IDX files, "
        f"or EDGEHFF_MIRROR to a URL under which {name}/{FILES[0]} lies"
        + (f", or apt install {system}" if system else "")
    )
