"""What every exported file says of itself: one JSON document, the same in ONNX and ExecuTorch."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import edgehff
from edgehff.errors import ModelFileError
from edgehff.export.program import Program
from edgehff.model.float_network import FloatNetwork
from edgehff.model.network import Network

FORMAT = "edgehff.artifact/1"
STEP_FORMAT = "edgehff.step/1"
"""Of files that hold one step of a spiking network; step.py has their document."""

KEY = "edgehff"
"""The key in ONNX metadata_props; in ExecuTorch the method METHOD returns the document."""

METHOD = "edgehff_metadata"
MAX_BYTES = 1 << 20


def metadata_of(network: Network | FloatNetwork, program: Program, target: dict[str, Any]) -> dict[str, Any]:
    """The document of a file.  target: name, backend, input dtype, and what else the format has to say."""
    e = network.encoding
    bits = network.proto_bits if isinstance(network, Network) else 32
    return {
        "format": FORMAT,
        "edgehff_version": edgehff.__version__,
        "weights_crc32": f"{network.weights_crc32:08x}",
        "arith": network.recipe.arith,
        "prototype_bits": bits,
        "class_names": list(network.class_names),
        "sizes": [e.n_features, *network.recipe.widths],
        "maps": [list(shape) for shape in program.maps],
        "prototypes_per_class": program.n_per_class,
        "scale": program.scale,
        "join": network.recipe.join,
        "join_shares": [layer.share for layer in program.layers],
        "norm": f"u = y * rsqrt(sum(y * y) + {program.eps:g}): a zero vector stays zero",
        "eps": program.eps,
        "encoder": {
            "in_graph": True,
            "raw": e.raw,
            "input_scale": e.input_scale,
            "features": list(e.features),
            "segments": e.segments,
            "log": e.log,
            "standardized": e.offset is not None,
            "bias": e.bias,
        },
        "sample_shape": list(program.sample_shape),
        "outputs": list(program.output_names),
        "output_meaning": "cosine of each class, -1 to 1; of all layers joined, whose largest is the answer, "
        "then of each layer alone",
        **target,
    }


def to_text(document: dict[str, Any]) -> str:
    """The document as it stands in the file."""
    return json.dumps(document, sort_keys=True)


def from_text(text: str, path: object, form: str = FORMAT) -> dict[str, Any]:
    """The document of a file, its format and the fields that are used here checked.

    form: FORMAT or STEP_FORMAT.

    Raises:
        ModelFileError: no document of ours, or of another format.
    """
    hint = "edgehff export --target onnx writes such a file"
    if not text:
        raise ModelFileError(f"{path} has no metadata of edgehff", hint=hint)
    if len(text) > MAX_BYTES:
        raise ModelFileError(f"{path}: the metadata have {len(text)} characters, too many", hint=hint)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: the metadata are damaged: {error}", hint=hint) from error
    if not isinstance(document, dict) or document.get("format") != form:
        found = document.get("format") if isinstance(document, dict) else None
        raise ModelFileError(f"{path}: the metadata have format {str(found)[:80]!r}, not {form}", hint=hint)
    for name, fits in (_FIELDS if form == FORMAT else _STEP_FIELDS).items():
        if not fits(document.get(name)):
            found = str(document.get(name))[:80]
            raise ModelFileError(f"{path}: the metadata are damaged: {name} is {found}", hint=hint)
    return document


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_map(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(_is_count, value))


def _list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and len(value) > 0 and all(map(fits, value))


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "edgehff_version": _is_text,
    "weights_crc32": _is_text,
    "arith": _is_text,
    "norm": _is_text,
    "input_dtype": lambda value: value in ("uint8", "int8", "int16", "float32"),
    "prototype_bits": lambda value: value in (8, 16, 32),
    "class_names": _list_of(_is_text),
    "outputs": _list_of(_is_text),
    "sizes": _list_of(_is_count),
    "maps": lambda value: value == [] or _list_of(_is_map)(value),
    "sample_shape": _list_of(_is_count),
    "max_batch": lambda value: value is None or _is_count(value),
    "encoder": lambda value: (
        isinstance(value, dict) and {"raw", "input_scale", "features", "log", "standardized"} <= set(value)
    ),
}
"""What is used of a document, and what it must be."""

_STEP_FIELDS: dict[str, Callable[[Any], bool]] = {
    "edgehff_version": _is_text,
    "weights_crc32": _is_text,
    "class_names": _list_of(_is_text),
    "neurons": _list_of(_is_count),
    "inputs": _list_of(_is_text),
    "input_widths": _list_of(_is_count),
    "outputs": _list_of(_is_text),
    "output_widths": _list_of(_is_count),
    "max_batch": lambda value: value is None or _is_count(value),
}
"""The same of one step."""
