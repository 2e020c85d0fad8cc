"""Write the golden vectors, tests/vectors/*.json, from the oracle alone: make_vectors.py [FOLDER].

Nothing of the C is imported here: edgehff.fixedpoint computes, zlib and struct lay bytes out. The C program
in tests/c runs these cases on every compiler. Long inputs are given by a rule, long outputs by a CRC-32 of
their little-endian values; tests/vectors/README.md states both.
"""

from __future__ import annotations

import json
import math
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conv_vectors import convolution_limits, convolution_vectors
from vector_cases import Json, Rule, config, crc, everyday, expand, expected, hostile, network_case

from edgehff import fixedpoint, fixedpoint_encoder
from edgehff.fixedpoint import unit

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "vectors"


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
        f = fixedpoint_encoder.window_features(rows, features, options.get("segments", 1), log)
    else:
        f = fixedpoint_encoder.plain_features(samples, log)
    parts = 1 if features else options.get("segments", 1)
    table = "offset" in options
    offset = expand(options["offset"], len(f)) if table else None
    gain = [abs(g) for g in expand(options["gain"], len(f))] if table else None
    x = fixedpoint_encoder.encode(
        f, offset, gain, options.get("gain_shift", 0), options.get("bias", 0), parts
    )
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
        encoder_case("plain-bias-segments", "int8", (5, 2), noise, bias=64, segments=5),
        encoder_case("plain-table-bias-segments", "int16", (4, 3), wide, bias=-4096, segments=4,
                     gain_shift=9, **table),
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
    makers |= {"limits": limit_vectors, "convolutions": convolution_vectors}
    makers["convolution_limits"] = convolution_limits
    return {f"{name}.json": dump(make()) + "\n" for name, make in makers.items()}


def main(folder: Path = FOLDER) -> None:
    """Write the files into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in vectors().items():
        (folder / name).write_text(text, encoding="utf-8")
        print(f"{name}: {len(text):,} bytes")


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    main(*(Path(a) for a in sys.argv[1:2]))
