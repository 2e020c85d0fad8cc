"""A network as tensors and one JSON document, as the model file holds it, and back, every field checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import edgehff
from edgehff.errors import ModelFileError
from edgehff.model.encoding import Encoding
from edgehff.model.float_network import FloatLayer, FloatNetwork
from edgehff.model.network import Layer, Network
from edgehff.model.spiking_network import SpikingLayer, SpikingNetwork
from edgehff.recipe import from_dict

FORMAT = 1
"""Of the document; docs/reference/model-file.md is its table."""

Tensors = dict[str, NDArray[Any]]
AnyNetwork = Network | FloatNetwork | SpikingNetwork

_AGAIN = "take the file from its source again"
_FIELDS = frozenset({
    "format", "edgehff_version", "recipe", "class_names", "encoding", "sizes", "step", "weights_crc32",
    "payload_sha256",
})  # fmt: skip
_INTEGER_FIELDS = _FIELDS | {"proto_bits", "norm_sums", "state_crc32"}
_FLOAT_FIELDS = _FIELDS | {"norm_means"}
_SPIKING_FIELDS = _FIELDS | {"thresholds", "gain"}
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


def from_network(network: AnyNetwork) -> tuple[Tensors, dict[str, Any]]:
    """The tensors of a network, and the document that describes them, its payload_sha256 filled in."""
    encoding = network.encoding
    tensors: Tensors = {}
    document: dict[str, Any] = {
        "format": FORMAT,
        "edgehff_version": edgehff.__version__,
        "recipe": network.recipe.to_dict(),
        "class_names": list(network.class_names),
        "encoding": {name: getattr(encoding, name) for name in _ENCODING},
        "step": network.step,
    }
    layers: tuple[Layer | FloatLayer | SpikingLayer, ...] = network.layers
    for i, layer in enumerate(layers):
        tensors[f"layers.{i}.weight"] = layer.weight
        tensors[f"layers.{i}.prototypes"] = layer.prototypes
        if isinstance(layer, Layer) and layer.prototype_scales is not None:
            tensors[f"layers.{i}.prototype_scales"] = layer.prototype_scales
    if encoding.offset is not None and encoding.gain is not None:
        tensors |= {"encoder.offset": encoding.offset, "encoder.gain": encoding.gain}
    if isinstance(network, Network):
        document["proto_bits"] = network.proto_bits
        document["norm_sums"] = [layer.norm_sum for layer in network.layers]
    elif isinstance(network, SpikingNetwork):
        document["thresholds"] = [layer.threshold for layer in network.layers]
        document["gain"] = float(network.gain)
    else:
        document["norm_means"] = [float(layer.norm_mean) for layer in network.layers]
    document |= _derived(network)
    document["payload_sha256"] = payload_sha256(tensors, document)
    return tensors, document


def to_network(tensors: Tensors, document: Mapping[str, Any]) -> AnyNetwork:
    """The network of tensors and document: SHA-256, fields, sizes and checksums checked.

    Raises:
        ModelFileError: something was altered, is missing, unknown, or of another type.
        EdgehffError: recipe, encoder or layers refuse their values.
    """
    recipe = document.get("recipe")
    is_float = isinstance(recipe, dict) and recipe.get("arith") == "float"
    wanted = _FLOAT_FIELDS if is_float else _INTEGER_FIELDS
    if "thresholds" in document:
        wanted = _SPIKING_FIELDS
    if set(document) != wanted:
        odd = sorted(set(document) ^ wanted)
        raise ModelFileError(f"the fields {', '.join(odd)} are missing or unknown", hint=_AGAIN)
    if payload_sha256(tensors, document) != document["payload_sha256"]:
        raise ModelFileError("the SHA-256 does not match: tensors or fields were altered", hint=_AGAIN)
    network = _network(tensors, document)
    for name, value in _derived(network).items():
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


def _derived(network: AnyNetwork) -> dict[str, Any]:
    """What follows from the network: its sizes and checksums."""
    recipe = network.recipe
    n_in = network.n_in if isinstance(network, SpikingNetwork) else network.encoding.n_features
    out: dict[str, Any] = {
        "sizes": {
            "dims": [n_in, *recipe.widths],
            "n_classes": len(network.class_names),
            "n_per_class": recipe.prototypes_per_class,
        }
    }
    if not isinstance(network, Network):
        return out | {"weights_crc32": f"{network.weights_crc32:08x}"}
    net = network.to_core()
    return out | {"weights_crc32": f"{net.weights_crc32:08x}", "state_crc32": f"{net.state_crc32:08x}"}


def _network(tensors: Tensors, document: Mapping[str, Any]) -> AnyNetwork:
    recipe = from_dict(_typed(document, "recipe", dict), "recipe")
    is_float, is_spiking = recipe.arith == "float", "thresholds" in document
    name, kind = ("norm_means", float) if is_float else ("norm_sums", int)
    if is_spiking:
        name, kind = "thresholds", int
    norms = _typed(document, name, list, kind)
    bits = 16 if is_float or is_spiking else _typed(document, "proto_bits", int)
    parts = ["weight", "prototypes"] + ["prototype_scales"] * (bits == 8)
    wanted = {f"layers.{i}.{part}" for i in range(recipe.n_layers) for part in parts}
    odd = sorted((set(tensors) - {"encoder.offset", "encoder.gain"}) ^ wanted)
    if odd or len(norms) != recipe.n_layers:
        raise ModelFileError(
            f"{recipe.n_layers} layers have {len(norms)} {name}; tensors missing or unknown: {odd}",
            hint=_AGAIN,
        )
    names = tuple(_typed(document, "class_names", list, str))
    encoding = _encoding(_typed(document, "encoding", dict), tensors)
    step = _typed(document, "step", int)
    arrays = [(tensors[f"layers.{i}.weight"], tensors[f"layers.{i}.prototypes"]) for i in range(len(norms))]
    if is_spiking:
        spiking = tuple(SpikingLayer(w, n, p) for (w, p), n in zip(arrays, norms, strict=True))
        return SpikingNetwork(recipe, names, encoding, spiking, _typed(document, "gain", float), step)
    if is_float:
        layers = tuple(FloatLayer(w, p, norm) for (w, p), norm in zip(arrays, norms, strict=True))
        return FloatNetwork(recipe, names, encoding, layers, step)
    integers = tuple(
        Layer(w, p, norm, tensors.get(f"layers.{i}.prototype_scales"))
        for i, ((w, p), norm) in enumerate(zip(arrays, norms, strict=True))
    )
    return Network(recipe, names, encoding, integers, step, bits)


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
