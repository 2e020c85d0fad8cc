"""Read the four IDX files of MNIST and its successors, gzipped or not."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgehff.data.dataset import Dataset, from_arrays
from edgehff.errors import DataError

MAX_BYTES = 4 << 30
IMAGES = ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte")
LABELS = ("train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte")
FILES = tuple(f"{stem}.gz" for pair in zip(IMAGES, LABELS, strict=True) for stem in pair)
HINT = "delete the file and fetch it again"


def has_idx(folder: Path) -> bool:
    """Whether any of the four files lies in folder."""
    return any(_find(folder, stem) is not None for stem in IMAGES + LABELS)


def load_idx(folder: Path, name: str, class_names: Sequence[str] | None = None) -> Dataset:
    """Read training rows, then test rows (is_test), from train-images-idx3-ubyte.gz and its three companions.

    Samples are uint8 of shape (height, width).

    Raises:
        DataError: a file is missing, damaged or longer than it says, or the contents cannot be used.
    """
    paths = {stem: _find(folder, stem) for stem in IMAGES + LABELS}
    missing = [stem for stem, path in paths.items() if path is None]
    if missing:
        raise DataError(f"{folder}: {missing[0]}.gz is missing", hint="all four IDX files belong together")
    images = [read_idx(path, 3) for stem in IMAGES if (path := paths[stem])]
    labels = [read_idx(path, 1) for stem in LABELS if (path := paths[stem])]
    for part, x, y in zip(("train", "t10k"), images, labels, strict=True):
        if len(x) != len(y):
            raise DataError(f"{folder}: {len(x)} {part} images, {len(y)} labels", hint=HINT)
    if images[0].shape[1:] != images[1].shape[1:]:
        raise DataError(f"{folder}: images of {images[0].shape[1:]} and of {images[1].shape[1:]}", hint=HINT)
    x = np.concatenate(images)
    is_test = np.arange(len(x)) >= len(images[0])
    return from_arrays(name, x, np.concatenate(labels), class_names=class_names, is_test=is_test)


def read_idx(path: Path, n_axes: int) -> NDArray[np.uint8]:
    """Read one IDX file of bytes with n_axes axes.

    Raises:
        DataError: another magic number, a size above 4 GiB, or more or fewer bytes than the header says.
    """
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rb") as packed:
                return _read(packed, path, n_axes)
        with path.open("rb") as plain:
            return _read(plain, path, n_axes)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged: {error}", hint=HINT) from error


def _read(stream: BinaryIO | gzip.GzipFile, path: Path, n_axes: int) -> NDArray[np.uint8]:
    header = stream.read(4 + 4 * n_axes)
    if len(header) != 4 + 4 * n_axes or header[:4] != bytes([0, 0, 8, n_axes]):
        raise DataError(
            f"{path}: starts with {header[:4].hex() or 'nothing'}, not with {bytes([0, 0, 8, n_axes]).hex()}",
            hint="IDX files of unsigned bytes are possible",
        )
    shape = struct.unpack(f">{n_axes}I", header[4:])
    size = prod(shape)
    if size > MAX_BYTES:
        raise DataError(f"{path}: declares {size} bytes; {MAX_BYTES} are possible", hint=HINT)
    data = stream.read(size)
    if len(data) != size or stream.read(1):
        raise DataError(
            f"{path}: {shape} needs {size} bytes, the file has {'more' if len(data) == size else len(data)}",
            hint=HINT,
        )
    return np.frombuffer(data, np.uint8).reshape(shape)


def _find(folder: Path, stem: str) -> Path | None:
    return next((path for path in (folder / f"{stem}.gz", folder / stem) if path.is_file()), None)
