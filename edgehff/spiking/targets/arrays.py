"""Files of chips' networks: numpy arrays in a .npz, none of them pickled."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from edgehff.errors import ModelFileError
from edgehff.model.spiking_network import SpikingNetwork

Arrays = dict[str, NDArray[Any]]


def pack(arrays: Mapping[str, Any]) -> bytes:
    """The bytes of a file."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def of_model(model: SpikingNetwork, x: NDArray[np.int16], spikes: Sequence[NDArray[np.bool_]]) -> Arrays:
    """What a file tells of its model: facts, prototypes, and spikes on inputs x, (n, steps, n_in)."""
    arrays: Arrays = {
        "class_names": np.array(model.class_names),
        "edgehff": np.array(json.dumps(model.facts)),
        "samples": x,
    }
    for i, (layer, fired) in enumerate(zip(model.layers, spikes, strict=True)):
        arrays |= {f"prototypes_{i}": layer.prototypes, f"spikes_{i}": fired.astype(np.uint8)}
    return arrays


@contextmanager
def opened(data: bytes, chip: str, target: str) -> Iterator[Mapping[str, NDArray[Any]]]:
    """The arrays of a file's bytes; ModelFileError where they are none, or not what the block wants of them.

    chip, target: its name in the message, and `edgehff export`'s for it.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            yield file
    except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise ModelFileError(
            f"no network for {chip}: {error}", hint=f"edgehff export --target {target} MODEL"
        ) from error


def matrices(arrays: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.int16], ...]:
    """weights_0, weights_1, ..., int16 of two axes. ValueError where there are none."""
    found = tuple(arrays[f"weights_{i}"] for i in range(sum(name.startswith("weights_") for name in arrays)))
    if not found or any(w.dtype != np.int16 or w.ndim != 2 for w in found):
        raise ValueError("no weights in it")
    return found
