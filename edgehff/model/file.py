"""The model file: safetensors with one JSON document. docs/reference/model-file.md is its table.

Saving is atomic: after power loss at any moment the path holds the old file or the new one, whole. Loading
trusts nothing: whatever the bytes, the result is a checked Network or a ModelFileError. Nothing is unpickled.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from edgehff.errors import EdgehffError, ModelFileError
from edgehff.model.document import FORMAT, AnyNetwork, canonical, from_network, to_network
from edgehff.model.float_network import FloatNetwork
from edgehff.model.network import Network
from edgehff.model.spiking_network import SpikingNetwork

KEY = "edgehff"
"""The metadata key that the document stands under."""

MAX_FILE_BYTES = 1 << 30
MAX_HEADER_BYTES = 1 << 20
_AGAIN = "take the file from its source again"
_TRAIN = "edgehff train --layers 128,64 --data digits -o model.safetensors"


def save(network: AnyNetwork, path: str | Path) -> None:
    """Write network to path, replacing what is there, atomically.

    The bytes go to `PATH.tmp*` in the same folder, are synced, and take the name in one step; the folder is
    synced last. A process that dies on the way leaves path as it was, and at most a `.tmp*` file beside it.
    The file's mode is 0644 less the umask. The same network gives the same bytes.

    Raises:
        ModelFileError: the file cannot be written; then nothing is left behind.
    """
    write_atomically(Path(path), _to_bytes(network))


def write_atomically(target: Path, data: bytes) -> None:
    """Write data to target as `save` does.

    Raises:
        ModelFileError: the file cannot be written; then nothing is left behind.
    """
    temporary = target.with_name(f"{target.name}.tmp{os.getpid()}-{secrets.token_hex(4)}")
    try:
        try:
            _write_synced(temporary, data)
            os.replace(temporary, target)  # noqa: PTH105
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
    except OSError as error:
        raise ModelFileError(
            f"cannot write {target}: {error.strerror}",
            hint="check that the folder exists, may be written, and has space",
        ) from error


def load(path: str | Path) -> Network:
    """The integer network in a model file; its arrays cannot be written.

    Raises:
        ModelFileError: as load_any; or the file holds a float network.
    """
    network = load_any(path)
    if isinstance(network, FloatNetwork):
        raise ModelFileError(
            f"{path} holds a float network, this needs integers",
            hint=f"edgehff quantize {shlex.quote(str(path))} --arith int16 -o int16.safetensors",
        )
    return network


def load_any(path: str | Path) -> Network | FloatNetwork:
    """The network in a model file, integer or float; its arrays cannot be written.

    Raises:
        ModelFileError: the file is missing, larger than 1 GiB, truncated, altered, of a newer format, no
            model at all, or its parts do not fit together; or it holds a spiking network.
    """
    network = _load(path)
    if isinstance(network, SpikingNetwork):
        raise ModelFileError(
            f"{path} holds a spiking network", hint=f"edgehff spike run {shlex.quote(str(path))}"
        )
    return network


def load_spiking(path: str | Path) -> SpikingNetwork:
    """The spiking network in a model file; its arrays cannot be written.

    Raises:
        ModelFileError: as load_any; or the file holds a network that does not spike.
    """
    network = _load(path)
    if not isinstance(network, SpikingNetwork):
        raise ModelFileError(
            f"{path} holds a network that does not spike",
            hint="edgehff spike train RECIPE -o spiking.safetensors",
        )
    return network


def _load(path: str | Path) -> AnyNetwork:
    try:
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise ModelFileError(f"{path} has {size} bytes, a model has at most 1 GiB", hint=_AGAIN)
            document = _document(file, path)
            file.seek(0)
            data = file.read(size)  # what one read may take, Python sets aside at once
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}", hint=_TRAIN) from error
    try:
        tensors = safetensors.numpy.load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise ModelFileError(f"{path} is truncated or altered: {error}", hint=_AGAIN) from error
    try:
        return to_network(tensors, document)
    except (EdgehffError, OverflowError) as error:
        raise ModelFileError(
            f"{path} holds no valid network: {error}", hint=f"{_AGAIN}, or pip install -U edgehff"
        ) from error


def read_header(path: str | Path) -> dict[str, Any]:
    """The JSON document of a model file, of a format that is read here; the tensors are not looked at.

    Raises:
        ModelFileError: the file is missing, no safetensors file of edgehff, or of a newer format.
    """
    try:
        with Path(path).open("rb") as file:
            return _document(file, path)
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}", hint=_TRAIN) from error


def is_spiking(path: str | Path) -> bool:
    """Whether a model file holds a spiking network, by its header.

    Raises:
        ModelFileError: as read_header.
    """
    return "thresholds" in read_header(path)


def default_model(folder: str | Path) -> Path:
    """The newest model file in a folder, by modification time; files that are no models are passed over.

    Raises:
        ModelFileError: there is none.
    """
    found = [(p.stat().st_mtime_ns, p.name, p) for p in Path(folder).glob("*.safetensors") if p.is_file()]
    for _, _, path in sorted(found, reverse=True):
        try:
            read_header(path)
        except ModelFileError:
            continue
        return path
    others = f", only {len(found)} .safetensors files that are none" if found else ""
    raise ModelFileError(f"no model in {folder}{others}", hint=_TRAIN)


def _to_bytes(network: AnyNetwork) -> bytes:
    tensors, document = from_network(network)
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    data = safetensors.numpy.save(contiguous, {KEY: canonical(document).decode("ascii")})
    (header_bytes,) = struct.unpack("<Q", data[:8])
    if len(data) > MAX_FILE_BYTES or header_bytes > MAX_HEADER_BYTES:
        raise ModelFileError(
            f"the model takes {len(data)} bytes, its header {header_bytes}; 1 GiB and 1 MiB are possible",
            hint="take narrower layers or shorter class names",
        )
    return data


def _write_synced(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _document(file: BinaryIO, path: str | Path) -> dict[str, Any]:
    """The document, with its format checked: nothing longer than MAX_HEADER_BYTES is read or parsed."""
    first = file.read(8)
    header_bytes = struct.unpack("<Q", first)[0] if len(first) == 8 else 0
    if not 2 <= header_bytes <= MAX_HEADER_BYTES:
        raise ModelFileError(
            f"{path} is no safetensors file: its header would have {header_bytes} bytes", hint=_AGAIN
        )
    text = file.read(header_bytes)
    if len(text) < header_bytes:
        raise ModelFileError(f"{path} ends inside its header of {header_bytes} bytes", hint=_AGAIN)
    try:
        header = json.loads(text.decode("utf-8"))
        metadata = header.get("__metadata__") if isinstance(header, dict) else None
        inner = metadata.get(KEY) if isinstance(metadata, dict) else None
        document = json.loads(inner, parse_constant=_no_constant) if isinstance(inner, str) else None
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} is altered or no safetensors file: {error}", hint=_AGAIN) from error
    if not isinstance(document, dict):
        raise ModelFileError(f"{path} is no model: its metadata has no {KEY!r}", hint=_TRAIN)
    version = document.get("format")
    if type(version) is not int or version < 1:
        raise ModelFileError(f"{path}: format is {str(version)[:80]}, not a number from 1", hint=_AGAIN)
    if version > FORMAT:
        raise ModelFileError(
            f"{path} has format {version}, this edgehff reads up to {FORMAT}", hint="pip install -U edgehff"
        )
    return document


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of a model file")
