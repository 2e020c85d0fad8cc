"""Read numpy archives and arrays that came from outside: no pickles, and no more memory than was declared."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from edgehff.data.dataset import Dataset, from_arrays
from edgehff.errors import DataError

MAX_BYTES = 4 << 30
GROUP_NAMES = ("group", "subject", "speaker")
HINT = "save it again with numpy.savez_compressed(path, X=..., y=...)"


def load_npz(path: Path, name: str) -> Dataset:
    """Read an archive of X and y, or of X_train, y_train, X_test and y_test; letters may be of either case.

    Optional arrays: group (or subject, speaker), is_test, class_names; others are left unread.

    Raises:
        DataError: no archive, a damaged one, one that declares more than 4 GiB, a missing array, an array of
            objects, or contents that `from_arrays` refuses.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _assemble(name, _read_arrays(archive, path))
    except DataError:
        raise
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError) as error:
        raise DataError(f"{path}: not a readable .npz file: {error}", hint=HINT) from error


def read_npy(stream: IO[bytes], n_bytes: int, what: str) -> NDArray[Any]:
    """Read one .npy array from stream, which holds n_bytes in all.

    Raises:
        DataError: no .npy, an array of objects, or a header that asks for more than n_bytes.
    """
    try:
        version = npy_format.read_magic(stream)
        read_header = (
            npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        )
        shape, by_column, dtype = read_header(stream)
    except (
        Exception
    ) as error:  # numpy lets through what its parser of Python literals raises: TokenError and more
        raise DataError(f"{what}: not a numpy array: {error}", hint=HINT) from error
    if dtype.kind not in "biufUS" or dtype.itemsize == 0:
        raise DataError(
            f"{what}: an array of {dtype} objects, which would need pickle",
            hint="save numbers, or strings with dtype str",
        )
    size = prod(shape) * dtype.itemsize
    if size > n_bytes or min(shape, default=0) < 0:
        raise DataError(f"{what}: {shape} of {dtype} needs {size} bytes, the file has {n_bytes}", hint=HINT)
    data = stream.read(size)
    if len(data) != size:
        raise DataError(f"{what}: truncated: {len(data)} of {size} bytes", hint=HINT)
    try:
        return np.frombuffer(data, dtype).reshape(shape, order="F" if by_column else "C")
    except ValueError as error:
        raise DataError(f"{what}: shape {shape} is impossible: {error}", hint=HINT) from error


def _read_arrays(archive: zipfile.ZipFile, path: Path) -> dict[str, NDArray[Any]]:
    declared = sum(info.file_size for info in archive.infolist())
    if declared > MAX_BYTES:
        raise DataError(
            f"{path}: declares {declared} bytes; {MAX_BYTES} are possible", hint="split the data set"
        )
    wanted = {
        "x",
        "y",
        "is_test",
        "class_names",
        *GROUP_NAMES,
        *(f"{a}_{b}" for a in "xy" for b in ("train", "test")),
    }
    arrays: dict[str, NDArray[Any]] = {}
    for info in archive.infolist():
        key = info.filename.removesuffix(".npy").lower()
        if key not in wanted:
            continue
        if key in arrays:
            raise DataError(f"{path}: two arrays are called {key}", hint="keep one of them")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{path}: {info.filename} is packed by method {info.compress_type}", hint=HINT)
        with archive.open(info) as stream:
            arrays[key] = read_npy(stream, info.file_size, f"{path}: {info.filename.removesuffix('.npy')}")
    return arrays


def _assemble(name: str, arrays: dict[str, NDArray[Any]]) -> Dataset:
    is_test = arrays.get("is_test")
    parts = [f"{a}_{b}" for a in "xy" for b in ("train", "test")]
    if "x" in arrays and "y" in arrays:
        x, y = arrays["x"], arrays["y"]
    elif all(part in arrays for part in parts):
        x = _join(name, arrays["x_train"], arrays["x_test"], "X")
        y = _join(name, arrays["y_train"], arrays["y_test"], "y")
        is_test = np.arange(len(x)) >= len(arrays["x_train"])
        if len(arrays["x_train"]) != len(arrays["y_train"]):
            raise DataError(
                f"{name}: X_train has {len(arrays['x_train'])} rows, y_train {len(arrays['y_train'])}",
                hint=HINT,
            )
    else:
        found = ", ".join(sorted(arrays)) or "none that edgehff knows"
        raise DataError(
            f"{name}: needs arrays X and y (or X_train, y_train, X_test, y_test); it has {found}", hint=HINT
        )
    groups = [arrays[key] for key in GROUP_NAMES if key in arrays]
    return from_arrays(
        name, x, y, class_names=_names(name, arrays), group=groups[0] if groups else None, is_test=is_test
    )


def _join(name: str, train: NDArray[Any], test: NDArray[Any], what: str) -> NDArray[Any]:
    if train.ndim == 0 or train.shape[1:] != test.shape[1:] or train.dtype.kind != test.dtype.kind:
        raise DataError(
            f"{name}: {what}_train is {train.shape} {train.dtype}, {what}_test is {test.shape} {test.dtype}",
            hint="give both the same sample shape and dtype",
        )
    return np.concatenate([train, test])


def _names(name: str, arrays: dict[str, NDArray[Any]]) -> Sequence[str] | None:
    names = arrays.get("class_names")
    if names is None:
        return None
    if names.dtype.kind != "U" or names.ndim != 1:
        raise DataError(
            f"{name}: class_names is {names.dtype} of shape {names.shape}, not a list of strings",
            hint="save np.array(class_names, dtype=str)",
        )
    return [str(c) for c in names]
