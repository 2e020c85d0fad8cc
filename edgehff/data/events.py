"""Recordings of event cameras: read from their files, and counted into steps.

Events are numpy structured arrays with fields t (microseconds), x, y and p (polarity, 0 or 1): what Tonic's
data sets give, and the `aedat` package.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.errors import DataError
from edgehff.extras import require

EVENT = np.dtype([("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")])
MAX_BYTES = 1 << 28
"""Of one recording's file."""


def read(path: Path) -> NDArray[Any]:
    """The events of one file: .bin of N-MNIST and N-Caltech101, .aedat4, or .npy of a structured array.

    Raises:
        DataError: another ending, a file that is too long or cut off, or no events in it.
        MissingToolError: .aedat4 without the package that reads it.
    """
    readers = {".bin": _bin, ".aedat4": _aedat4, ".npy": _npy}
    if path.suffix not in readers:
        raise DataError(f"{path}: no recording of events", hint=f"known endings: {', '.join(readers)}")
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path}: over {MAX_BYTES} bytes", hint="cut the recording")
    events = readers[path.suffix](path)
    if not len(events):
        raise DataError(f"{path}: no events in it", hint="leave it out")
    return events


def counts(
    events: NDArray[Any], size: tuple[int, int], steps: int, step_us: int, pool: int = 1
) -> NDArray[np.uint8]:
    """Events counted by step, pixel and polarity: uint8, (steps, height, width, 2), at most 255.

    Steps begin at the recording's first event; what comes after the last step is left out.
    pool: so many pixels a side count as one; a last row or column of fewer is kept.

    Raises:
        DataError: a field is missing, or an event lies outside the sensor.
    """
    missing = {"t", "x", "y", "p"} - set(events.dtype.names or ())
    if missing:
        raise DataError(f"events without {', '.join(sorted(missing))}", hint="fields t, x, y and p")
    height, width = size
    t = events["t"].astype(np.int64)
    step = (t - t.min(initial=np.iinfo(np.int64).max)) // step_us
    kept = events[step < steps]
    step = step[step < steps]
    if len(kept) and (kept["x"].max() >= width or kept["y"].max() >= height):
        raise DataError(
            f"an event at x = {kept['x'].max()}, y = {kept['y'].max()} of {width} x {height} pixels",
            hint="name the sensor's size, height and width",
        )
    rows, columns = -(-height // pool), -(-width // pool)
    y, x = kept["y"].astype(np.int64) // pool, kept["x"].astype(np.int64) // pool
    at = ((step * rows + y) * columns + x) * 2 + (kept["p"] > 0)
    found = np.bincount(at, minlength=steps * rows * columns * 2)
    return np.minimum(found, 255).astype(np.uint8).reshape(steps, rows, columns, 2)


def _bin(path: Path) -> NDArray[Any]:
    """Five bytes an event: x, y, one bit of polarity and 23 of microseconds (Orchard et al., 2015)."""
    data = np.fromfile(path, np.uint8)
    if len(data) % 5:
        raise DataError(f"{path}: {len(data)} bytes, events have five", hint="fetch the file again")
    parts = data.reshape(-1, 5).astype(np.int64)
    events = np.empty(len(parts), EVENT)
    events["x"], events["y"], events["p"] = parts[:, 0], parts[:, 1], parts[:, 2] >> 7
    events["t"] = (parts[:, 2] & 127) << 16 | parts[:, 3] << 8 | parts[:, 4]
    return events


def _aedat4(path: Path) -> NDArray[Any]:
    require("aedat", "events")
    import aedat  # noqa: PLC0415 (optional)

    try:
        packets = [p["events"] for p in aedat.Decoder(path) if "events" in p]
    except (RuntimeError, OSError, ValueError) as error:
        raise DataError(f"{path}: {error}", hint="is it AEDAT 4?") from error
    if not packets:
        return np.empty(0, EVENT)
    found = np.concatenate(packets)
    events = np.empty(len(found), EVENT)
    for field, theirs in (("t", "t"), ("x", "x"), ("y", "y"), ("p", "on")):
        events[field] = found[theirs]
    return events


def _npy(path: Path) -> NDArray[Any]:
    try:
        events: NDArray[Any] = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path}: {error}", hint="np.save of a structured array") from error
    return events
