"""What golden vectors are made of: inputs by a rule, checksums, blobs, and networks trained by the oracle."""

from __future__ import annotations

import dataclasses
import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

from edgehff import fixedpoint
from edgehff.fixedpoint import NetState, unit
from edgehff.geometry import KINDS, POOLS
from edgehff.recipe import CoreConfig
from edgehff.recipe_check import ARITHS, JOINS

Json = dict[str, Any]
Rule = dict[str, Any]
Rules = Sequence[Rule]

LISTED = 16  # arrays up to this length are written out besides their CRC


def expand(rule: Rule, n: int) -> list[int]:
    """The n integers that a rule stands for."""
    if "cycle" in rule:
        return [rule["cycle"][i % len(rule["cycle"])] for i in range(n)]
    if "one_hot" in rule:
        return [rule["value"] if i == rule["one_hot"] else 0 for i in range(n)]
    state, out = rule["lcg"], []
    for _ in range(n):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        out.append(((state >> 16) % (2 * rule["limit"] + 1) - rule["limit"]) << rule.get("shift", 0))
    return out


def crc(values: Iterable[int], code: str, start: int = 0) -> int:
    """CRC-32 of values, each as the little-endian struct code, going on from start."""
    values = list(values)
    return zlib.crc32(struct.pack(f"<{len(values)}{code}", *values), start)


def expected(values: Sequence[int], code: str) -> Json:
    """An output array: its CRC-32, and the values where they are few."""
    out: Json = {"crc32": f"{crc(values, code):08x}"}
    return out | {"values": list(values)} if len(values) <= LISTED else out


def config_json(c: CoreConfig) -> Json:
    """A configuration with every field written out, but for empty join_weight, conv and input_shape."""
    plain = dataclasses.asdict(c)
    lists = ("join_weight", "conv", "input_shape")
    return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items() if k not in lists or v}


def weight_code(c: CoreConfig) -> str:
    """The struct code of a weight."""
    return "b" if c.arith == "int8" else "h"


def parts(state: NetState) -> Iterable[tuple[list[int], str]]:
    """Weights, prototypes and scales in the order of files and checksums, each with its struct code."""
    c = state.config
    for layer in state.layers:
        yield [w for row in layer.weight for w in row], weight_code(c)
        yield [p for row in layer.prototype for p in row], "h" if c.proto_bits == 16 else "b"
        if c.proto_bits == 8:
            yield layer.scale, "H"


def weights_crc32(state: NetState) -> int:
    """The name of a model."""
    value = 0
    for values, code in parts(state):
        value = crc(values, code, value)
    return value


def state_crc32(state: NetState) -> int:
    """weights_crc32, going on over the counters and rates."""
    c = state.config
    words = [state.step, c.seed, c.lr_w, c.lr_p, c.kappa, *(layer.norm_sum for layer in state.layers)]
    return crc(words, "I", weights_crc32(state))


def blob(state: NetState) -> bytes:
    """The board's file of a network without encoder, as firmware_bridge/MODEL_FORMAT.md lays it out."""
    c = state.config
    body = b"".join(struct.pack(f"<{len(v)}{code}", *v) for v, code in parts(state))
    layers = b"".join(
        struct.pack("<4I", len(s.weight), s.norm_sum, s.updates, w)
        for s, w in zip(state.layers, c.join_weight or (256,) * c.n_layers, strict=True)
    )
    layers += conv_table(c)
    head = struct.pack(
        "<IH6BHHIHHIHHIIII12x",
        0x46464845, 1 + bool(c.conv), c.n_layers, ARITHS.index(c.arith), JOINS.index(c.join),
        c.cap + 2 * c.revive, c.proto_bits, state.first_layer, c.n_classes, c.n_per_class, c.kappa,
        c.margin, c.gate,
        c.lr_w, c.lr_p, 0, c.seed, state.step, 64 + len(layers) + len(body), c.dims[0],
    )  # fmt: skip
    whole = head + layers + body
    return whole + struct.pack("<I", zlib.crc32(whole))


def conv_table(c: CoreConfig) -> bytes:
    """36 bytes a layer of a network with convolutions, zeros for a dense one; nothing without any."""
    out = b""
    for layer in c.shapes if c.conv else ():
        v, map_in, map_out = layer.conv, layer.map_in, layer.map_out
        if v is None or map_in is None or map_out is None:
            out += bytes(36)
            continue
        fields = [*map_in, 1 + KINDS.index(v.kind), *v.kernel, *v.stride, *v.padding]
        fields += [POOLS.index(v.pool), *v.pool_size, *v.grid, map_out[0], map_out[1], 0]
        out += struct.pack("<18H", *fields)
    return out


def fill(state: NetState, weights: Rules, prototypes: Sequence[Rules], scales: Rules) -> None:
    """Write weights and scales, one rule a layer, and prototypes, one rule each: a layer's last goes on."""
    n_protos = state.config.n_classes * state.config.n_per_class
    for layer, rule in zip(state.layers, weights, strict=False):
        n_in = len(layer.weight[0])
        flat = expand(rule, n_in * len(layer.weight))
        layer.weight = [flat[i * n_in : (i + 1) * n_in] for i in range(len(layer.weight))]
    for layer, shape, rules in zip(state.layers, state.config.shapes, prototypes, strict=False):
        rows = {str(r): expand(r, shape.head) for r in rules}
        layer.prototype = [list(rows[str(rules[min(p, len(rules) - 1)])]) for p in range(n_protos)]
    for layer, rule in zip(state.layers, scales, strict=False):
        layer.scale = expand(rule, n_protos)


def network_case(
    name: str,
    config: CoreConfig,
    samples: list[Json],
    steps: int,
    *,
    weights: Rules = (),
    prototypes: Sequence[Rules] = (),
    scales: Rules = (),
    first_layer: int = 0,
    start_step: int = 0,
    show_blob: bool = False,
) -> Json:
    """Train `steps` steps, step t on sample t modulo their number, then ask for the answer to the next."""
    state = fixedpoint.init(config)
    case: Json = {"name": name, "config": config_json(config), "samples": samples, "steps": steps}
    optional = {"weights": list(weights), "prototypes": [list(p) for p in prototypes], "scales": list(scales)}
    case |= {k: v for k, v in optional.items() if v}
    case |= {k: v for k, v in (("first_layer", first_layer), ("start_step", start_step)) if v}
    fresh = weights_crc32(state) if config.proto_bits == 16 else 0
    fill(state, weights, prototypes, scales)
    state.first_layer, state.step = first_layer, start_step
    n = config.dims[0]
    inputs = [expand(s["x"], n) if "x" in s else unit(expand(s["a"], n))[0] for s in samples]
    order = [t % len(samples) for t in range(steps + 1)]
    predictions = [fixedpoint.train(state, inputs[i], samples[i]["label"]) for i in order[:-1]]
    x = inputs[order[-1]]
    scores = fixedpoint.run(state, x)
    limit = fixedpoint.W_LIMIT[config.arith]
    file = blob(state)
    result: Json = {
        "fresh_weights_crc32": f"{fresh:08x}",
        "predictions": expected(predictions, "H"),
        "weights_crc32": f"{weights_crc32(state):08x}",
        "state_crc32": f"{state_crc32(state):08x}",
        "updates": [layer.updates for layer in state.layers],
        "saturated": [sum(abs(w) == limit for row in layer.weight for w in row) for layer in state.layers],
        "norm_sum": [layer.norm_sum for layer in state.layers],
        "answer": scores.index(max(scores)),
        "scores": expected(scores, "i"),
        "layer_scores": expected([v for row in fixedpoint.layer_logits(state, x) for v in row], "i"),
        "blob_bytes": len(file),
        "blob_crc32": f"{zlib.crc32(file):08x}",
    }
    if show_blob:
        result["blob"] = file.hex()
    return case | {"expected": result}


def everyday(n_classes: int, count: int, seed: int) -> list[Json]:
    """Random samples that come again, each with its own label: learnable, so that the gate closes."""
    return [{"a": {"lcg": seed + 7919 * i, "limit": 999}, "label": i % n_classes} for i in range(count)]


def hostile(n_in: int, n_classes: int, seed: int) -> list[Json]:
    """All zero, one-hot, all equal, alternating and random vectors, with labels that contradict."""
    rules: list[Rule] = [{"cycle": [0]}, {"one_hot": 0, "value": 5}, {"one_hot": n_in - 1, "value": -9},
                         {"cycle": [77]}, {"cycle": [-1]}, {"cycle": [255, -255]},
                         {"lcg": seed, "limit": 999}]  # fmt: skip
    return [{"a": rules[i % 7], "label": (i * 5 + i // 7) % n_classes} for i in range(14)]


def config(dims: Sequence[int], n_classes: int, **changes: Any) -> CoreConfig:
    """A configuration with every field set here, whatever the defaults become."""
    plain: Json = {
        "arith": "int8",
        "n_per_class": 1,
        "join": "sum_logp",
        "cap": True,
        "revive": True,
        "kappa": 17728,
    }
    plain |= {"margin": 0, "gate": 4915, "lr_w": 6554, "lr_p": 1638, "seed": 1}
    return CoreConfig(dims=tuple(dims), n_classes=n_classes, **(plain | changes))
