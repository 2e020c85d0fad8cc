"""A network as tensors and one JSON document, as the model file holds it, and back, every field checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import edgehff
from edgehff.core import Net
from edgehff.errors import ModelFileError
from edgehff.model.encoding import Encoding
from edgehff.model.network import Layer, Network
from edgehff.recipe import CoreConfig, from_dict

FORMAT = 1
"""Of the document; docs/reference/model-file.md is its table."""

Tensors = dict[str, NDArray[Any]]

_AGAIN = "take the file from its source again"
_FIELDS = frozenset({
    "format", "edgehff_version", "recipe", "class_names", "encoding", "sizes", "step", "proto_bits",
    "norm_sums", "weights_crc32", "state_crc32", "payload_sha256",
})  # fmt: skip
_ENCODING: dict[str, type] = {
    "raw": str,
    "shape": list,
    "features": list,
    "segments": int,
    "log": bool,
    "bias": int,
    "gain_shift": int,
    "input_scale": float,
}


def from_network(network: Network) -> tuple[Tensors, dict[str, Any]]:
    """The tensors of a network, and the document that describes them, its payload_sha256 filled in."""
    net, encoding = network.to_core(), network.encoding
    tensors: Tensors = {}
    for i, layer in enumerate(network.layers):
        tensors[f"layers.{i}.weight"] = layer.weight
        tensors[f"layers.{i}.prototypes"] = layer.prototypes
        if layer.prototype_scales is not None:
            tensors[f"layers.{i}.prototype_scales"] = layer.prototype_scales
    if encoding.offset is not None and encoding.gain is not None:
        tensors |= {"encoder.offset": encoding.offset, "encoder.gain": encoding.gain}
    document: dict[str, Any] = {
        "format": FORMAT,
        "edgehff_version": edgehff.__version__,
        "recipe": network.recipe.to_dict(),
        "class_names": list(network.class_names),
        "encoding": {name: getattr(encoding, name) for name in _ENCODING},
        "sizes": _sizes(network.config),
        "step": network.step,
        "proto_bits": network.proto_bits,
        "norm_sums": [layer.norm_sum for layer in network.layers],
        **_checksums(net),
    }
    document["payload_sha256"] = payload_sha256(tensors, document)
    return tensors, document


def to_network(tensors: Tensors, document: Mapping[str, Any]) -> Network:
    """The network of tensors and document: SHA-256, fields, sizes and both CRCs checked.

    Raises:
        ModelFileError: something was altered, is missing, unknown, or of another type.
        EdgehffError: recipe, encoder or layers refuse their values.
    """
    if set(document) != _FIELDS:
        odd = sorted(set(document) ^ _FIELDS)
        raise ModelFileError(f"the fields {', '.join(odd)} are missing or unknown", hint=_AGAIN)
    if payload_sha256(tensors, document) != document["payload_sha256"]:
        raise ModelFileError("the SHA-256 does not match: tensors or fields were altered", hint=_AGAIN)
    network = _network(tensors, document)
    found: dict[str, Any] = {"sizes": _sizes(network.config), **_checksums(network.to_core())}
    for name, value in found.items():
        if document[name] != value:
            raise ModelFileError(f"{name} is {document[name]}, the network's is {value}", hint=_AGAIN)
    return network


def payload_sha256(tensors: Tensors, document: Mapping[str, Any]) -> str:
    """SHA-256, hexadecimal, of tensors and document.

    Of each tensor in the order of the names: `[name, dtype, shape]` and a line feed, then its little-endian
    bytes; last the document without payload_sha256. Both JSON in canonical form (see `canonical`).
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(canonical([name, tensor.dtype.name, list(tensor.shape)]) + b"\n")
        digest.update(np.ascontiguousarray(tensor, dtype=tensor.dtype.newbyteorder("<")).tobytes())
    digest.update(canonical({k: v for k, v in document.items() if k != "payload_sha256"}))
    return digest.hexdigest()


def canonical(value: Any) -> bytes:
    """JSON in ASCII, keys sorted, without spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _sizes(config: CoreConfig) -> dict[str, Any]:
    return {"dims": list(config.dims), "n_classes": config.n_classes, "n_per_class": config.n_per_class}


def _checksums(net: Net) -> dict[str, str]:
    return {"weights_crc32": f"{net.weights_crc32:08x}", "state_crc32": f"{net.state_crc32:08x}"}


def _network(tensors: Tensors, document: Mapping[str, Any]) -> Network:
    recipe = from_dict(_typed(document, "recipe", dict), "recipe")
    bits = _typed(document, "proto_bits", int)
    norm_sums = _typed(document, "norm_sums", list, int)
    parts = ["weight", "prototypes"] + ["prototype_scales"] * (bits == 8)
    wanted = {f"layers.{i}.{part}" for i in range(len(recipe.layers)) for part in parts}
    odd = sorted((set(tensors) - {"encoder.offset", "encoder.gain"}) ^ wanted)
    if odd or len(norm_sums) != len(recipe.layers):
        raise ModelFileError(
            f"{len(recipe.layers)} layers have {len(norm_sums)} norm_sums; tensors missing or unknown: {odd}",
            hint=_AGAIN,
        )
    layers = tuple(
        Layer(
            weight=tensors[f"layers.{i}.weight"],
            prototypes=tensors[f"layers.{i}.prototypes"],
            norm_sum=norm_sum,
            prototype_scales=tensors.get(f"layers.{i}.prototype_scales"),
        )
        for i, norm_sum in enumerate(norm_sums)
    )
    names = tuple(_typed(document, "class_names", list, str))
    encoding = _encoding(_typed(document, "encoding", dict), tensors)
    return Network(recipe, names, encoding, layers, _typed(document, "step", int), bits)


def _encoding(plain: dict[str, Any], tensors: Tensors) -> Encoding:
    if set(plain) != set(_ENCODING):
        odd = sorted(set(plain) ^ set(_ENCODING))
        raise ModelFileError(f"encoding: the fields {', '.join(odd)} are missing or unknown", hint=_AGAIN)
    fields: dict[str, Any] = {
        name: _typed(plain, name, kind) for name, kind in _ENCODING.items() if name != "input_scale"
    }
    if plain["input_scale"] is not None:
        fields["input_scale"] = _typed(plain, "input_scale", float)
    shape = _typed(plain, "shape", list, int)
    if len(shape) != 2:
        raise ModelFileError(f"encoding: shape is {str(shape)[:80]}, not (n_time, n_channels)", hint=_AGAIN)
    fields |= {"shape": (shape[0], shape[1]), "features": tuple(_typed(plain, "features", list, str))}
    return Encoding(**fields, offset=tensors.get("encoder.offset"), gain=tensors.get("encoder.gain"))


def _typed(plain: Mapping[str, Any], name: str, kind: type, item: type | None = None) -> Any:
    """plain[name] where it has exactly this type, and its items theirs."""
    value: Any = plain[name]
    fits = type(value) is kind  # not isinstance: true is no int here
    if not fits or (item is not None and not all(type(v) is item for v in plain[name])):
        raise ModelFileError(f"{name} is {str(value)[:80]!r}, not {kind.__name__}", hint=_AGAIN)
    return value
