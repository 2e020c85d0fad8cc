"""What every exported file says of itself: one JSON document, the same in ONNX and ExecuTorch."""

from __future__ import annotations

import json
from typing import Any

import edgehff
from edgehff.errors import ModelFileError
from edgehff.export.program import Program
from edgehff.model.float_network import FloatNetwork
from edgehff.model.network import Network

FORMAT = "edgehff.artifact/1"
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
        "sizes": [e.n_features, *network.recipe.layers],
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


def from_text(text: str, path: object) -> dict[str, Any]:
    """The document of a file, its format and the fields that are used here checked.

    Raises:
        ModelFileError: no document of ours, or of another format.
    """
    hint = "edgehff export --target onnx writes such a file"
    try:
        document = json.loads(text) if len(text) <= MAX_BYTES else None
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: the metadata are damaged: {error}", hint=hint) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else None
        raise ModelFileError(f"{path}: the metadata have format {str(found)[:80]!r}, not {FORMAT}", hint=hint)
    wanted = {"class_names": list, "sample_shape": list, "input_dtype": str, "sizes": list, "outputs": list}
    for name, kind in wanted.items():
        if not isinstance(document.get(name), kind):
            raise ModelFileError(f"{path}: the metadata have no {name}", hint=hint)
    return document
