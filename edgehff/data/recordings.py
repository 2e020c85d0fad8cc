"""Read folders of event cameras' recordings as one data set: a sample is so many steps of counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehff.data.dataset import MAX_SAMPLE_VALUES, Dataset, from_arrays
from edgehff.data.events import counts, read
from edgehff.errors import DataError

MAX_BYTES = 4 << 30
"""Of all samples."""
PARTS = {"train": False, "test": True}
HINT = "a folder for each class, in it .bin, .aedat4 or .npy files; or such folders in Train and Test"


@dataclass(frozen=True)
class Frames:
    """How events are counted: a sensor's (height, width) in pixels, steps of step_us microseconds.

    pool: pixels a side that count as one, 1 and up; a last row or column of fewer is kept.
    """

    size: tuple[int, int]
    steps: int
    step_us: int
    pool: int = 1

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(steps, height, width, 2) of a sample."""
        height, width = (-(-side // self.pool) for side in self.size)
        return self.steps, height, width, 2


def load_recordings(folder: Path, frames: Frames) -> tuple[Dataset, float]:
    """(folder/CLASS/FILE, or folder/Train and folder/Test of such, as a data set; share of events counted).

    Classes and files in the order of their names, hidden ones left out. Events after the last step are left
    out, and of more than 255 at one place 255 are counted.

    Raises:
        DataError: no class folders or no recording in them, a file that is none, an event outside the sensor,
            samples of over 65,536 values or 4 GiB in all.
        MissingToolError: .aedat4 without the package that reads it.
    """
    values = int(np.prod(frames.shape))
    if values > MAX_SAMPLE_VALUES:
        raise DataError(
            f"{' x '.join(map(str, frames.shape))} values a sample, {MAX_SAMPLE_VALUES:,} are possible",
            hint=f"--pool {2 * frames.pool} counts {2 * frames.pool} x {2 * frames.pool} pixels as one",
        )
    found = _files(folder)
    if len(found) * values > MAX_BYTES:
        raise DataError(
            f"{folder}: samples of over {MAX_BYTES} bytes", hint="fewer steps, or a larger --pool"
        )
    names = sorted({path.parent.name for path, _ in found})
    x = np.empty((len(found), *frames.shape), np.uint8)
    events, counted = 0, 0
    for i, (path, _) in enumerate(found):
        recording = read(path)
        try:
            x[i] = counts(recording, frames.size, frames.steps, frames.step_us, frames.pool)
        except DataError as error:
            raise DataError(f"{path}: {error}", hint=error.hint) from error
        events, counted = events + len(recording), counted + int(x[i].sum())
    y = np.array([names.index(path.parent.name) for path, _ in found])
    is_test = _test_rows(found)
    return from_arrays(folder.name, x, y, class_names=names, is_test=is_test), counted / events


def _files(folder: Path) -> list[tuple[Path, bool | None]]:
    """(file, whether it is a test row; None where nothing says so)."""
    inside = _visible(folder)
    parts = {p.name.lower(): p for p in inside if p.is_dir() and p.name.lower() in PARTS}
    roots: dict[Path, bool | None] = {folder: None}
    if parts:
        others = [p.name for p in inside if p.is_dir() and p.name.lower() not in PARTS]
        if others:
            raise DataError(f"{folder}: {others[0]} beside {min(parts)}", hint=HINT)
        roots = {parts[name]: PARTS[name] for name in PARTS if name in parts}
    found = [
        (path, is_test)
        for root, is_test in roots.items()
        for of_class in _visible(root)
        if of_class.is_dir()
        for path in _visible(of_class)
    ]
    if not found:
        raise DataError(f"{folder}: no recordings in class folders", hint=HINT)
    return found


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    except OSError as error:
        raise DataError(
            f"{folder}: {error.strerror or error}", hint="check the path and its rights"
        ) from error


def _test_rows(found: list[tuple[Path, bool | None]]) -> NDArray[np.bool_] | None:
    marks = [mark for _, mark in found if mark is not None]
    return np.array(marks, np.bool_) if marks else None
