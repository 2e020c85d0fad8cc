"""Read a folder of class folders: one image or one .npy array a sample."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.data.dataset import MAX_SAMPLE_VALUES, Dataset, from_arrays
from edgehff.data.npz import read_npy
from edgehff.errors import DataError, MissingToolError

MAX_BYTES = 4 << 30
IMAGES = (".png", ".jpg", ".jpeg", ".pgm")
GRAY_FROM = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")
HINT = "a folder for each class, and in it .png, .jpg, .pgm or .npy files, one a sample"


def load_folder(folder: Path, name: str) -> Dataset:
    """Read folder/CLASS/FILE; classes and files in the order of their names, hidden ones left out.

    Images become uint8 gray of shape (height, width); arrays keep their shape and dtype. All samples have one
    shape.

    Raises:
        DataError: no class folders, a class without a sample, a file of another form or shape, a damaged one.
        MissingToolError: images without Pillow.
    """
    classes = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not classes:
        raise DataError(f"{folder}: no class folders in it", hint=HINT)
    samples: list[NDArray[Any]] = []
    labels: list[int] = []
    n_bytes = 0
    for label, class_folder in enumerate(classes):
        for path in sorted(p for p in class_folder.iterdir() if not p.name.startswith(".")):
            sample = _read(path)
            if samples and (sample.shape, sample.dtype) != (samples[0].shape, samples[0].dtype):
                raise DataError(
                    f"{path}: {sample.shape} of {sample.dtype}, the first sample is {samples[0].shape} of "
                    f"{samples[0].dtype}",
                    hint="bring all samples to one shape and dtype",
                )
            n_bytes += sample.nbytes
            if n_bytes > MAX_BYTES:
                raise DataError(
                    f"{folder}: more than {MAX_BYTES} bytes of samples", hint="split the data set"
                )
            samples.append(sample)
            labels.append(label)
    if not samples:
        raise DataError(f"{folder}: no samples in its {len(classes)} class folders", hint=HINT)
    return from_arrays(name, np.stack(samples), np.array(labels), class_names=[c.name for c in classes])


def _read(path: Path) -> NDArray[Any]:
    ending = path.suffix.lower()
    if ending in IMAGES and path.is_file():
        return read_image(path)
    if ending == ".npy" and path.is_file():
        with path.open("rb") as stream:
            sample = read_npy(stream, path.stat().st_size, str(path))
        if sample.ndim == 0 or not 1 <= sample.size <= MAX_SAMPLE_VALUES:
            raise DataError(
                f"{path}: shape {sample.shape}; 1 to {MAX_SAMPLE_VALUES} values are possible", hint=HINT
            )
        return sample
    raise DataError(f"{path}: not an image or a .npy file", hint=HINT)


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read one image as gray, shape (height, width), uint8; transparency is dropped.

    Raises:
        DataError: a damaged image, one of more than 65,536 pixels, or one of more than 8 bits a channel.
        MissingToolError: Pillow is not installed.
    """
    try:
        from PIL import Image  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise MissingToolError(
            f"{path}: reading images needs Pillow", hint='pip install "edgehff[images]"'
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG", "JPEG", "PPM")) as image:
                width, height = image.size
                if width * height > MAX_SAMPLE_VALUES:
                    raise DataError(
                        f"{path}: {width} x {height} pixels; {MAX_SAMPLE_VALUES} are possible",
                        hint="shrink the images first, to 28 x 28 for example",
                    )
                if image.mode not in GRAY_FROM:
                    raise DataError(
                        f"{path}: pixels of mode {image.mode}; 8 bits a channel are possible",
                        hint="convert the images to 8-bit gray, or save the pixels as .npy",
                    )
                return np.asarray(image.convert("L"), np.uint8)
    except DataError:
        raise
    except (
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise DataError(f"{path}: not a readable image: {error}", hint=HINT) from error
