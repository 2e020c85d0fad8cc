"""Write the golden vectors, tests/vectors/*.json, from the oracle alone: make_vectors.py [FOLDER].

Nothing of the C is imported here: edgehff.fixedpoint computes, zlib and struct lay bytes out. The C program
in tests/c runs these cases on every compiler. Long inputs are given by a rule, long outputs by a CRC-32 of
their little-endian values; tests/vectors/README.md states both.
"""

from __future__ import annotations

import dataclasses
import json
import math
import struct
import sys
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from edgehff import fixedpoint
from edgehff.fixedpoint import NetState, unit
from edgehff.recipe import ARITHS, JOINS, CoreConfig

Json = dict[str, Any]
Rule = dict[str, Any]
Rules = Sequence[Rule]

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "vectors"
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


# ---- functions ----


def unit_case(name: str, n: int, rule: Rule) -> Json:
    """One unit vector."""
    u, root, shift = unit(expand(rule, n))
    return {"name": name, "n": n, "a": rule, "u": expected(u, "h"), "root": root, "shift": shift}


def unit_cases() -> list[Json]:
    """Zeros, single elements, the largest magnitude, declared limits, and everyday vectors."""
    top = 2**30
    cases = [
        unit_case("zeros", 5, {"cycle": [0]}),
        unit_case("one-positive", 1, {"cycle": [7]}),
        unit_case("one-negative", 1, {"cycle": [-1]}),
        unit_case("one-zero", 1, {"cycle": [0]}),
        unit_case("one-largest", 1, {"cycle": [top]}),
        unit_case("largest-of-both-signs", 2, {"cycle": [top, -top]}),
        unit_case("large-beside-small", 4, {"cycle": [top, 1, -1, 65536]}),
        unit_case("three-four-five", 2, {"cycle": [3, -4]}),
        unit_case("halves-round-away", 3, {"cycle": [32767, 32767, 1]}),
        unit_case("mantissa-bounds", 6, {"cycle": [32767, 32768, 32769, 16383, -32768, -65535]}),
        unit_case("just-below-a-bit", 3, {"cycle": [65535, -65535, 65534]}),
    ]
    cases += [unit_case(f"lcg-{n}-shift-{shift}", n, {"lcg": n + shift, "limit": 16383, "shift": shift})
              for n, shift in ((2, 0), (9, 0), (16, 16), (255, 3), (256, 0))]  # fmt: skip
    for n in (255, 256, 65536):
        cases.append(unit_case(f"largest-{n}", n, {"cycle": [top]}))
        cases.append(unit_case(f"largest-alternating-{n}", n, {"cycle": [-top, top]}))
    cases.append(unit_case("ones-65536", 65536, {"cycle": [1]}))
    cases.append(unit_case("one-hot-65536", 65536, {"one_hot": 65535, "value": -3}))
    return cases


def function_vectors() -> Json:
    """The functions of the arithmetic on their own."""
    roots = [0, 1, 2, 3, 4, 15, 16, 17, 2**32 - 1, 2**32, 2**62, 2**63, 2**64 - 1]
    for r in (255, 256, 65535, 65536, 2**24 - 3, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1):
        roots += [r * r - 1, r * r, r * r + 1]
    powers = [0, 1, 1023, 1024, 2047, 2048, 32768, 65535, 65536, 65537, 98304, 15 << 16, 2**31, 2**32 - 1]
    powers += [(16 << 16) - 1, 16 << 16]
    logs = [*range(10), 31, 32, 33, 1000, 32768, 65535, 65536, 2**25, 2**31 - 1, 2**31, 2**32 - 1]
    keys = [(0, 0, 0, 0, 0), (0, 0, 0, 0, 1), (1, 0, 0, 0, 0), (0, 1, 0, 0, 0), (0, 0, 1, 0, 0)]
    keys += [(0, 0, 0, 1, 0), (1, 2, 3, 4, 5), (2**32 - 1,) * 5, (7, 2**32 - 1, 31, 65535, 65535)]
    texts = ((0, b""), (0, b"\0"), (0, b"123456789"), (0xDEADBEEF, b"\xff\x80\x01"), (0, bytes(range(256))))
    return {
        "unit": unit_cases(),
        "isqrt64": [[v, math.isqrt(v)] for v in roots if v < 2**64],
        "exp2_neg": [[z, fixedpoint.exp2_neg(z)] for z in powers],
        "log2": [[v, fixedpoint.log2(v)] for v in logs],
        "sweep": [
            sweep("exp2_neg", 0, 37, 30000),
            sweep("log2", 1, 143165, 30000),
            sweep("isqrt64", 3, 999983, 3000),
        ],
        "random": [[*k, random(*k)] for k in keys],
        "crc32": [
            {"start": start, "bytes": text.hex(), "crc32": f"{zlib.crc32(text, start):08x}"}
            for start, text in texts
        ],
    }


def sweep(function: str, start: int, step: int, count: int) -> Json:
    """A function at evenly spaced points; the CRC-32 is over its values as uint32."""
    f = {"exp2_neg": fixedpoint.exp2_neg, "log2": fixedpoint.log2, "isqrt64": math.isqrt}[function]
    value = crc((f(start + i * step) for i in range(count)), "I")
    return {"function": function, "start": start, "step": step, "count": count, "crc32": f"{value:08x}"}


def random(seed: int, step: int, layer: int, row: int, column: int) -> int:
    """The random bits of one weight."""
    return fixedpoint.random16(fixedpoint.row_key(fixedpoint.layer_key(seed, step, layer), row), column)


# ---- encoder ----


def encoder_case(name: str, raw: str, shape: tuple[int, int], values: Rule, **options: Any) -> Json:
    """One encoder on one sample. options: features, segments, log, bias, offset, gain (rules), gain_shift."""
    n_time, n_channels = shape
    samples = expand(values, n_time * n_channels)
    features, log = options.get("features", []), bool(options.get("log", 0))
    if features:
        rows = [samples[t * n_channels : (t + 1) * n_channels] for t in range(n_time)]
        f = fixedpoint.window_features(rows, features, options.get("segments", 1), log)
    else:
        f = fixedpoint.plain_features(samples, log)
    table = "offset" in options
    offset = expand(options["offset"], len(f)) if table else None
    gain = [abs(g) for g in expand(options["gain"], len(f))] if table else None
    x = fixedpoint.encode(f, offset, gain, options.get("gain_shift", 0), options.get("bias", 0))
    return (
        {"name": name, "raw": raw, "shape": list(shape), "values": values}
        | options
        | {"expected_features": expected(f, "i"), "expected_x": expected(x, "h")}
    )


def encoder_vectors() -> Json:
    """Raw types, logarithm, windows with all features, tables, bias, and the declared limits."""
    noise = {"lcg": 3, "limit": 120}
    wide = {"lcg": 4, "limit": 32767}
    zero, lowest, swing = {"cycle": [0]}, {"cycle": [-32768]}, {"cycle": [32767, -32768]}
    table = {"offset": {"lcg": 8, "limit": 400}, "gain": {"lcg": 9, "limit": 32767}}
    every = ["mav", "rms", "wl"]
    cases = [
        encoder_case("plain-u8", "uint8", (9, 1), {"cycle": [0, 1, 2, 127, 128, 200, 254, 255, 16]}),
        encoder_case("plain-i8", "int8", (6, 1), {"cycle": [0, -1, 1, 127, -127, -128]}),
        encoder_case("plain-i16", "int16", (7, 1), {"cycle": [0, -1, 255, 32767, -32767, -32768, 300]}),
        encoder_case("plain-log", "int16", (8, 1), {"cycle": [0, -1, 1, 2, -300, 32767, -32768, 77]}, log=1),
        encoder_case("plain-bias", "int8", (5, 2), noise, bias=64),
        encoder_case("plain-table-bias", "int16", (4, 3), wide, bias=-4096, gain_shift=9, **table),
        encoder_case("plain-table-saturates", "int16", (4, 3), wide, gain_shift=0, **table),
        encoder_case("zeros", "uint8", (4, 1), zero),
        encoder_case("window-mav", "int8", (6, 2), noise, features=["mav"], segments=3),
        encoder_case("window-rms", "int8", (6, 2), noise, features=["rms"], segments=2),
        encoder_case("window-wl", "int8", (7, 3), noise, features=["wl"]),
        encoder_case("window-all", "int16", (12, 2), wide, features=every, segments=2, log=0),
        encoder_case("window-all-log-table-bias", "int16", (12, 3), wide, features=every, segments=4, log=1,
                     bias=4096, gain_shift=4, offset={"lcg": 8, "limit": 32767, "shift": 4},
                     gain={"lcg": 9, "limit": 4095}),
        encoder_case("window-zeros-log", "int16", (8, 2), zero, features=every, segments=2, log=1, bias=1),
        encoder_case("window-rms-largest", "int16", (2048, 1), lowest, features=["mav", "rms"]),
        encoder_case("window-wl-largest", "int16", (16384, 1), swing, features=["wl"], segments=8),
        encoder_case("window-offset-largest", "int16", (2048, 1), lowest, features=["mav"], gain_shift=30,
                     offset={"cycle": [1 - 2**31]}, gain={"cycle": [65535]}),
        encoder_case("plain-largest", "int16", (32767, 2), lowest, gain_shift=30, bias=-32768,
                     offset={"cycle": [2**31 - 1]}, gain={"cycle": [65535]}),
    ]  # fmt: skip
    return {"encoders": cases}


# ---- networks ----


def config_json(c: CoreConfig) -> Json:
    """A configuration with every field written out, but for an empty join_weight."""
    plain = dataclasses.asdict(c)
    plain["dims"], plain["join_weight"] = list(c.dims), list(c.join_weight)
    return {k: v for k, v in plain.items() if k != "join_weight" or v}


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
    head = struct.pack(
        "<IH6BHHIHHIHHIIII12x",
        0x46464845, 1, c.n_layers, ARITHS.index(c.arith), JOINS.index(c.join), c.cap + 2 * c.revive,
        c.proto_bits, state.first_layer, c.n_classes, c.n_per_class, c.kappa, c.margin, c.gate,
        c.lr_w, c.lr_p, 0, c.seed, state.step, 64 + len(layers) + len(body), c.dims[0],
    )  # fmt: skip
    whole = head + layers + body
    return whole + struct.pack("<I", zlib.crc32(whole))


def fill(state: NetState, weights: Rules, prototypes: Sequence[Rules], scales: Rules) -> None:
    """Write weights and scales, one rule a layer, and prototypes, one rule each: a layer's last goes on."""
    n_protos = state.config.n_classes * state.config.n_per_class
    for layer, rule in zip(state.layers, weights, strict=False):
        n_in = len(layer.weight[0])
        flat = expand(rule, n_in * len(layer.weight))
        layer.weight = [flat[i * n_in : (i + 1) * n_in] for i in range(len(layer.weight))]
    for layer, rules in zip(state.layers, prototypes, strict=False):
        rows = {str(r): expand(r, len(layer.weight)) for r in rules}
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
        "layer_scores": expected(layer_scores(state, x), "i"),
        "blob_bytes": len(file),
        "blob_crc32": f"{zlib.crc32(file):08x}",
    }
    if show_blob:
        result["blob"] = file.hex()
    return case | {"expected": result}


def layer_scores(state: NetState, x: Sequence[int]) -> list[int]:
    """Each layer's logits for x."""
    out: list[int] = []
    for layer in state.layers:
        x = unit(fixedpoint.forward(state.config, layer.weight, x))[0]
        out += fixedpoint.logits(state.config, fixedpoint.cosines(state.config, layer, x))
    return out


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


def network_vectors() -> Json:
    """Small networks: every recipe, switch and way of joining, and the rates at their ends."""
    net, c, i16 = network_case, config, {"arith": "int16"}
    off = {"gate": 65535}
    fast, fastest = off | {"lr_w": 65536, "lr_p": 8192}, off | {"lr_w": 1048576, "lr_p": 8192}
    weighted = {"join": "weighted"}
    cases = [
        net("int8", c((12, 10, 6), 3), everyday(3, 9, 1), 60),
        net("int16", c((12, 10, 6), 3, **i16), everyday(3, 9, 1), 60),
        net("tiny-with-its-blob", c((3, 2), 2, margin=819, **i16), everyday(2, 4, 2), 7, show_blob=True),
        net("int8-hostile", c((7, 9, 5), 4, **fast), hostile(7, 4, 5), 70),
        net("int16-hostile", c((7, 9, 5), 4, **fast, **i16), hostile(7, 4, 5), 70),
        net("int8-margin", c((9, 8), 3, margin=1638), everyday(3, 7, 3), 40),
        net("int16-k3-margin", c((9, 8, 7), 3, n_per_class=3, margin=3277, **i16), everyday(3, 12, 4), 60),
        net("int8-k2-last", c((9, 8, 7), 3, n_per_class=2, join="last"), everyday(3, 12, 5), 40),
        net("int16-weighted", c((8, 6, 5, 4), 3, join_weight=(256, 77, 1024), **weighted, **i16),
            everyday(3, 6, 6), 40),
        net("int8-weighted-by-zero", c((8, 6, 5), 3, join_weight=(0, 300), **weighted),
            everyday(3, 6, 7), 20),
        net("int8-plain", c((10, 9, 8), 3, cap=False, revive=False), everyday(3, 8, 8), 40),
        net("int16-cap-only", c((10, 9, 8), 3, revive=False, **i16), everyday(3, 8, 8), 40),
        net("int16-revive-only", c((10, 9, 8), 3, cap=False, **off, **i16), everyday(3, 8, 9), 40),
        net("int8-gate-off", c((10, 9), 3, **off), everyday(3, 8, 10), 40),
        net("int8-gate-zero", c((10, 9), 3, gate=0), everyday(3, 8, 10), 40),
        net("int8-gate-zero-and-no-lead", c((10, 9), 3, gate=0), [{"a": {"cycle": [0]}, "label": 1}], 2),
        net("int16-gate-widest", c((10, 9), 3, gate=32768, **i16), everyday(3, 8, 10), 40),
        net("int8-width-one", c((5, 1, 3), 2, **off), everyday(2, 5, 11), 30),
        net("int16-one-input", c((1, 5), 2, **off, **i16), everyday(2, 3, 12), 30),
        net("int8-seed-0", c((9, 7), 2, seed=0), everyday(2, 5, 13), 20),
        net("int8-seed-largest", c((9, 7), 2, seed=2**32 - 1), everyday(2, 5, 13), 20),
        net("int8-step-wraps", c((9, 7), 2, **off), everyday(2, 5, 13), 6, start_step=2**32 - 3),
        net("int8-rates-largest", c((6, 5), 3, **fastest), everyday(3, 7, 14), 50),
        net("int16-rates-largest", c((6, 5), 3, **fastest, **i16), everyday(3, 7, 14), 50),
        net("int16-rates-small", c((6, 5), 3, lr_w=40, lr_p=20, **off, **i16), everyday(3, 7, 15), 50),
        net("int8-rates-zero", c((6, 5), 3, lr_w=0, lr_p=0), everyday(3, 7, 15), 10),
        net("int8-first-layer-1", c((9, 8, 7), 3, **off), everyday(3, 7, 16), 20, first_layer=1),
        net("int16-no-layer-learns", c((9, 8, 7), 3, **i16), everyday(3, 7, 16), 5, first_layer=2),
        net("int16-kappa-smallest", c((6, 5), 2, kappa=1, n_per_class=2, **off, **i16),
            everyday(2, 5, 17), 20),
        net("int16-kappa-largest", c((6, 5), 2, kappa=94548, n_per_class=2, margin=16384, **i16),
            everyday(2, 5, 17), 20),
        net("int8-k64", c((5, 4), 2, n_per_class=64, **off), everyday(2, 5, 18), 12),
        net("int16-40-classes", c((6, 12), 40, **i16), everyday(40, 40, 19), 80),
        net("int8-lengths-tiny", c((4, 6), 3, kappa=30000, gate=65535, lr_w=1048576),
            [{"x": {"cycle": [60, 0, 30, 60]}, "label": 0}, {"x": {"cycle": [0, 60, 60, 20]}, "label": 1},
             {"x": {"cycle": [60, 60, 0, 0]}, "label": 2}], 60, weights=[{"cycle": [1, -1, 0, 1, 0, 0, 1]}]),
        net("int8-one-layer-weighted", c((8, 6), 5, kappa=40, join_weight=(1,), **weighted, **off),
            everyday(5, 20, 21), 60),
        net("int8-prototypes-of-8-bits", c((8, 6, 5), 3, proto_bits=8, n_per_class=2), everyday(3, 5, 20), 0,
            prototypes=[[{"lcg": 30 + p, "limit": 127} for p in range(6)]] * 2,
            scales=[{"cycle": [24000, 23000, 25000, 23500, 24500, 22000]}, {"cycle": [25000]}]),
    ]  # fmt: skip
    return {"networks": cases}


def limit_vectors() -> Json:
    """Networks at the declared limits: widths, classes, rates, and every entry at its largest."""
    cases = []

    def add(name: str, dims: Sequence[int], samples: list[Json], steps: int, n_classes: int = 2,
            signs: Sequence[int] = (1,), rules: Json | None = None, **changes: Any) -> None:  # fmt: skip
        largest = {"kappa": 94548, "margin": 16384, "gate": 65535, "lr_w": 1048576, "lr_p": 8192}
        c = config(dims, n_classes, **(largest | changes))
        weights = [{"cycle": [fixedpoint.W_LIMIT[c.arith] * s for s in signs]}] * c.n_layers
        cases.append(network_case(name, c, samples, steps, weights=weights, **(rules or {})))

    def same(v: int) -> Rule:
        return {"cycle": [v]}

    # 65 * sqrt(65536) = 1040 * sqrt(256) = 8320 * sqrt(4) = 16640, the longest vector that is let in
    wide: list[Json] = [
        {"x": same(65), "label": 0},
        {"x": {"cycle": [65, -65]}, "label": 1},
        {"x": same(65), "label": 1},
    ]
    both: list[Json] = [{"x": same(11766), "label": 0}, {"x": same(11766), "label": 1}]
    square: list[Json] = [{"x": same(1040), "label": 0}, {"x": same(1024), "label": 1}]
    few: list[Json] = [{"x": {"cycle": [8320, -8320, 8320, 8320]}, "label": 0}, {"x": same(8320), "label": 1}]
    longest = [[same(8320), {"one_hot": 1, "value": -16640}, {"cycle": [8320, -8320]}, same(-8320)]]
    for arith in ("int8", "int16"):
        add(f"{arith}-65536-inputs", (65536, 2), wide, 3, arith=arith)
        add(f"{arith}-65536-inputs-alternating", (65536, 2), wide[1:2], 2, signs=(1, -1), arith=arith)
        add(
            f"{arith}-65536-outputs",
            (2, 65536),
            both,
            3,
            rules={"prototypes": [[same(-65), same(65)]]},
            arith=arith,
        )
        for n in (255, 256):
            opposed = {"prototypes": [[same(-1040), same(1040)]] * 2}
            add(f"{arith}-{n}-square", (n, n, n), square, 3, rules=opposed, arith=arith)
    add("int16-4096-prototypes-of-64-classes", (4, 4), few, 3, 64, (1, -1), {"prototypes": longest},
        n_per_class=64, arith="int16")  # fmt: skip
    add(
        "int8-4096-prototypes-of-1024-classes",
        (4, 4),
        few,
        3,
        1024,
        (1,),
        {"prototypes": longest},
        n_per_class=4,
    )
    deep: Json = {"join": "weighted", "join_weight": (1024,) * 32}
    add("int8-32-layers", (4,) * 33, few, 4, signs=(1, 1, -1), **deep)
    # int8 prototypes may be sqrt(3/2) longer: the largest logits, and through 32 layers the largest sums
    add("int8-prototypes-of-8-bits-65536-outputs", (2, 65536), both, 0, proto_bits=8,
        rules={"prototypes": [[same(80), same(-80)]], "scales": [same(254)]})  # fmt: skip
    add("int8-prototypes-of-8-bits-32-layers", (4,) * 33, few[1:], 0, proto_bits=8, **deep,
        rules={"prototypes": [[same(127), same(-127)]] * 32, "scales": [same(20540)] * 32})  # fmt: skip
    return {"networks": cases}


# ---- files ----


def dump(value: Any, indent: str = "") -> str:
    """JSON with an object over several lines where it does not fit one."""
    line = json.dumps(value)
    if len(indent) + len(line) <= 110 or not value or not isinstance(value, (dict, list)):
        return line
    inner = indent + " "
    if isinstance(value, dict):
        body = [f"{inner}{json.dumps(k)}: {dump(v, inner)}" for k, v in value.items()]
        return "{\n" + ",\n".join(body) + f"\n{indent}}}"
    if all(isinstance(v, int) for v in value):
        return line
    return "[\n" + ",\n".join(inner + dump(v, inner) for v in value) + f"\n{indent}]"


def vectors() -> dict[str, str]:
    """Each file's text by its name."""
    makers = {"functions": function_vectors, "encoders": encoder_vectors, "networks": network_vectors}
    makers["limits"] = limit_vectors
    return {f"{name}.json": dump(make()) + "\n" for name, make in makers.items()}


def main(folder: Path = FOLDER) -> None:
    """Write the files into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in vectors().items():
        (folder / name).write_text(text, encoding="utf-8")
        print(f"{name}: {len(text):,} bytes")


if __name__ == "__main__":
    main(*(Path(a) for a in sys.argv[1:2]))
