"""Data sets that a user brings: one entry, and a module for each form a data set may have."""

from __future__ import annotations

from pathlib import Path

from edgehff.data.dataset import Dataset
from edgehff.data.folder import load_folder
from edgehff.data.idx import has_idx, load_idx
from edgehff.data.npz import load_npz
from edgehff.data.table import load_csv
from edgehff.errors import DataError

FORMS = "a .npz file, a .csv file, a folder of class folders, or a folder of IDX files"


def load_path(path: Path | str) -> Dataset:
    """Read the data set at path, whatever its form: .npz, .csv, a folder of class folders, or IDX files.

    Its name is the file name without its ending.

    Raises:
        DataError: nothing there, an unknown form, or contents that cannot be used.
        MissingToolError: images without Pillow.
    """
    path = Path(path)
    try:
        if path.is_dir():
            name = path.resolve().name
            return load_idx(path, name) if has_idx(path) else load_folder(path, name)
        if not path.exists():
            raise DataError(f"{path}: no such file or folder", hint="edgehff data list")
        if path.suffix.lower() == ".npz":
            return load_npz(path, path.stem)
        if path.suffix.lower() == ".csv":
            return load_csv(path, path.stem)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror or error}", hint="check the path and its rights"
        ) from error
    raise DataError(f"{path}: not a form of data that edgehff reads", hint=f"give {FORMS}")
