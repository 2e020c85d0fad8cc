"""Make the data sets that some recipes of models/ need and that nothing downloads.

make_model_data.py SOURCE_FOLDER OUT [NAME ...]

OUT gets fsdd.npz, hapt.npz, watch.npz, gas.npz, omniglot.npz, nmnist.npz and cifar10.npz, or those that are
named; then EDGEHFF_DATA=OUT lets every command find them. SOURCE_FOLDER has of each:

- fsdd_logmel.npz, of the Free Spoken Digit Dataset: X (n, 64, 40), log-mel energies of 40 bands by windows of
  32 ms (Hann) every 16 ms, the clip in the middle of 64 frames; y; speaker; is_test, the recordings 0 to 4.
- hapt_har.npz, of UCI's HAPT: X (n, 128, 6), windows of 2.56 s at 50 Hz, half overlapping, each inside one
  label, acceleration in g and angular rate in rad/s; y, 0 to 5 the six activities; subject; is_test, the nine
  test subjects of UCI's HAR; class_names. OUT has means and log amplitudes by band of 13 frames of 0.64 s.
- watch_exercise.npz, of seglearn's smartwatch exercises: X (n, 100, 6), windows of 2 s at 50 Hz, half
  overlapping, each inside one recording; y, seven exercises; subject; class_names. OUT has frames as of HAPT.
- gas_drift.npz, of UCI's Gas Sensor Array Drift: X (n, 128), features of 16 sensors; y, six gases; batch,
  from 1 in the order of months; class_names. OUT has sign(x) log(1 + |x|); group is the batch.
- omniglot_small.npz, of Omniglot's small background sets: X (n, 28, 28), uint8; y, 242 characters; writer.
  OUT has drawings as MNIST has digits: scaled to a longer side of 20, the middle of their ink in the middle.
- nmnist_small_events.npz, of N-MNIST: xyp (n events, 3), x, y and polarity on 34 x 34 pixels; t_100us;
  offset, where each recording begins; y; is_test. OUT has counts in 10 steps of 30 ms.
- cifar10_jpeg_packed.npz, of CIFAR-10 as JPEG: jpeg_train and jpeg_test, the files one after another without
  jpeg_header, which they share; off_train and off_test, where each begins; y_train, y_test; class_names.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from make_bundled_data import write
from numpy.typing import NDArray

from edgehff.data.events import EVENT, counts

Arrays = dict[str, NDArray[Any]]
ACTIVITIES = 6
FRAME, HOP = 32, 8
TEST_WRITERS = 15
"""Omniglot's writers from this one on are test rows."""
DRAWN = 20
"""The longer side of a drawing after it was scaled; as MNIST's."""
BANDS = (1, 2, 3, 5, 8, 12, 17)
"""Where bands begin, in multiples of 50 / FRAME Hz; the last number ends the last."""
FACTORY_BATCHES = 2
"""Batches of gases that a model leaves the factory with."""
SENSOR, STEPS, STEP_US = (34, 34), 10, 30_000
"""Pixels of N-MNIST's camera; steps of a recording, and microseconds of one."""
FLOOR = 0.01
"""What is added to an amplitude before its logarithm, in g and in rad/s summed over a frame."""


def fsdd(source: Any) -> Arrays:
    """Spoken digits, float32 (3000, 64, 40); group is the speaker."""
    return {
        "X": source["X"].astype(np.float32),
        "y": source["y"],
        "group": source["speaker"],
        "is_test": source["is_test"],
    }


def hapt(source: Any) -> Arrays:
    """The six activities without the transitions between them, float32 (n, 13, 42); group is the person."""
    kept = source["y"] < ACTIVITIES
    return {
        "X": frames(source["X"][kept].astype(np.float64)),
        "y": source["y"][kept],
        "group": source["subject"][kept],
        "is_test": source["is_test"][kept],
        "class_names": source["class_names"][:ACTIVITIES],
    }


def watch(source: Any) -> Arrays:
    """Seven exercises of the shoulder, float32 (n, 9, 42); group is the person."""
    return {
        "X": frames(source["X"].astype(np.float64)),
        "y": source["y"],
        "group": source["subject"],
        "is_test": source["is_test"],
        "class_names": source["class_names"],
    }


def gas(source: Any) -> Arrays:
    """Six gases over months, float32 (n, 128); group is the batch, test rows are those after the second."""
    x = source["X"].astype(np.float64)
    return {
        "X": (np.sign(x) * np.log1p(np.abs(x))).astype(np.float32),
        "y": source["y"],
        "group": source["batch"],
        "is_test": source["batch"] > FACTORY_BATCHES,
        "class_names": source["class_names"],
    }


def omniglot(source: Any) -> Arrays:
    """242 characters of 8 alphabets, uint8 (4840, 28, 28), each of one size and in the middle."""
    return {
        "X": np.stack([in_the_middle(image) for image in source["X"]]),
        "y": source["y"],
        "is_test": source["writer"] >= TEST_WRITERS,
    }


def nmnist(source: Any) -> Arrays:
    """Digits before a moving event camera, uint8 (1100, 10, 34, 34, 2)."""
    events = np.empty(len(source["t_100us"]), EVENT)
    events["t"] = source["t_100us"].astype(np.int64) * 100
    for i, field in enumerate(("x", "y", "p")):
        events[field] = source["xyp"][:, i]
    parts = [events[a:b] for a, b in pairwise(source["offset"])]
    return {
        "X": np.stack([counts(part, SENSOR, STEPS, STEP_US) for part in parts]),
        "y": source["y"],
        "is_test": source["is_test"],
    }


def in_the_middle(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A drawing, light on dark, whose longer side is DRAWN pixels and whose center of ink is the map's."""
    ink = image > np.iinfo(np.uint8).max // 4
    sides = [np.ptp(np.flatnonzero(ink.any(axis))) + 1 for axis in (1, 0)]
    step = max(sides) / DRAWN
    rows, columns = (
        np.average(np.arange(n), weights=image.sum(axis, dtype=np.float64))
        + step * (np.arange(n) - (n - 1) / 2)
        for n, axis in zip(image.shape, (1, 0), strict=True)
    )
    drawn = _between(_between(image.astype(np.float64), rows).T, columns).T
    found: NDArray[np.uint8] = np.rint(drawn).astype(np.uint8)
    return found


def _between(lines: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lines at fractional numbers, between their two neighbors; beyond the ends it is dark."""
    padded = np.pad(lines, ((1, 1), (0, 0)))
    at = np.clip(at + 1, 0, len(padded) - 1)
    low = np.minimum(at.astype(int), len(padded) - 2)
    part = (at - low)[:, None]
    found: NDArray[np.float64] = padded[low] * (1 - part) + padded[low + 1] * part
    return found


def frames(x: NDArray[np.float64]) -> NDArray[np.float32]:
    """Windows (n, time, channels) as frames (n, frames, (1 + bands) * channels): means, then log amplitudes.

    A frame is FRAME samples, HOP after the one before. Its means keep where gravity points; the amplitudes
    are of what moves around them.
    """
    out = []
    for start in range(0, x.shape[1] - FRAME + 1, HOP):
        part = x[:, start : start + FRAME]
        mean = part.mean(axis=1)
        swing = np.abs(np.fft.rfft((part - mean[:, None]) * np.hanning(FRAME)[:, None], axis=1))
        bands = [np.log(swing[:, low:high].mean(axis=1) + FLOOR) for low, high in pairwise(BANDS)]
        out.append(np.concatenate([mean, *bands], axis=1))
    return np.stack(out, axis=1).astype(np.float32)


def cifar10(source: Any) -> Arrays:
    """60,000 images of ten classes, uint8 (32, 32, 3)."""
    from PIL import Image  # noqa: PLC0415 (only this one needs Pillow)

    header = source["jpeg_header"].tobytes()
    arrays: Arrays = {"class_names": source["class_names"]}
    for part in ("train", "test"):
        data, at = source[f"jpeg_{part}"].tobytes(), source[f"off_{part}"]
        files = (header + data[a:b] for a, b in pairwise(at))
        arrays[f"X_{part}"] = np.stack([np.asarray(Image.open(io.BytesIO(f)).convert("RGB")) for f in files])
        arrays[f"y_{part}"] = source[f"y_{part}"]
    return arrays


SETS: dict[str, tuple[str, Callable[[Any], Arrays]]] = {
    "fsdd": ("fsdd_logmel.npz", fsdd),
    "hapt": ("hapt_har.npz", hapt),
    "watch": ("watch_exercise.npz", watch),
    "gas": ("gas_drift.npz", gas),
    "omniglot": ("omniglot_small.npz", omniglot),
    "nmnist": ("nmnist_small_events.npz", nmnist),
    "cifar10": ("cifar10_jpeg_packed.npz", cifar10),
}


def main() -> None:
    """Make what is named."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SETS)}; default: all")
    args = parser.parse_args()
    for name in args.names or SETS:
        if name not in SETS:
            parser.error(f"{name} is none of {', '.join(SETS)}")
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.names or SETS:
        file, convert = SETS[name]
        with np.load(args.source / file, allow_pickle=False) as source:
            write(args.out / f"{name}.npz", convert(source))


if __name__ == "__main__":
    main()
