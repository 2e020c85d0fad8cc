"""Turn golden vectors into one C header, at build time: vectors_to_c.py OUTPUT VECTORS.json...

tests/c/vectors.h declares the types; the tables come out in the order of the files.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Json = dict[str, Any]

RECIPES = {"int8": "EHFF_INT8", "int16": "EHFF_INT16"}
JOINS = {"sum_logp": "EHFF_JOIN_SUM_LOGP", "last": "EHFF_JOIN_LAST", "weighted": "EHFF_JOIN_WEIGHTED"}
RAW = {"uint8": "EHFF_RAW_U8", "int8": "EHFF_RAW_I8", "int16": "EHFF_RAW_I16"}
FEATURES = {"mav": "EHFF_FEAT_MAV", "rms": "EHFF_FEAT_RMS", "wl": "EHFF_FEAT_WL"}


KINDS = ("dense", "conv", "depthwise")
POOLS = ("none", "max", "mean")


class Header:
    """Lines of C, with a fresh name for every array."""

    def __init__(self) -> None:
        self.lines = ["/* Made by tools/vectors_to_c.py. */"]
        self._count = 0

    def array(self, kind: str, items: Iterable[str]) -> str:
        """Declare a constant array and return its name; NULL where it is empty."""
        body = list(items)
        if not body:
            return "NULL"
        self._count += 1
        name = f"v{self._count}"
        self.lines.append(f"static const {kind} {name}[{len(body)}] = {{{', '.join(body)}}};")
        return name

    def table(self, kind: str, name: str, items: Sequence[str]) -> None:
        """Declare a table that the program loops over, and its length."""
        self.lines.append(f"#define N_{name.upper()} {len(items)}u")
        body = ",\n".join(f"    {{{item}}}" for item in items) or "    {0}"
        self.lines.append(f"static const {kind} {name}[] = {{\n{body}\n}};")

    def rule(self, rule: Json) -> str:
        """A rule's initializer: kind, value or seed or index, limit, shift, period, cycle."""
        if "cycle" in rule:
            cycle = rule["cycle"]
            return f"RULE_CYCLE, 0, 0, 0, {len(cycle)}, {self.array('int32_t', map(signed, cycle))}"
        if "one_hot" in rule:
            return f"RULE_ONE_HOT, {rule['one_hot']}u, {rule['value']}, 0, 0, NULL"
        return f"RULE_LCG, {rule['lcg']}u, {rule['limit']}, {rule.get('shift', 0)}, 0, NULL"

    def rules(self, rules: Sequence[Json]) -> str:
        """An array of rules."""
        return self.array("rule", [f"{{{self.rule(r)}}}" for r in rules])


def signed(v: int) -> str:
    """An int32 literal that is no expression of a larger type."""
    return "INT32_MIN" if v == -(2**31) else str(v)


def crc_of(array: Json) -> str:
    """The CRC-32 of an expected array."""
    return f"0x{array['crc32']}u"


def unsigned(values: Iterable[int]) -> list[str]:
    """Literals of uint32."""
    return [f"{v}u" for v in values]


def functions(h: Header, files: Sequence[Json]) -> None:
    """The tables of single functions."""

    def every(key: str) -> list[Any]:
        return [case for file in files for case in file.get(key, [])]

    h.table(
        "unit_case",
        "unit_cases",
        [
            f'"{c["name"]}", {c["n"]}u, {{{h.rule(c["a"])}}}, {crc_of(c["u"])}, {c["root"]}u, {c["shift"]}'
            for c in every("unit")
        ],
    )
    h.table("isqrt_case", "isqrt_cases", [f"UINT64_C({v}), {r}u" for v, r in every("isqrt64")])
    for name in ("exp2_neg", "log2"):
        h.table("point_case", f"{name}_cases", [f"{a}u, {v}u" for a, v in every(name)])
    h.table(
        "sweep_case",
        "sweep_cases",
        [
            f'"{c["function"]}", {c["start"]}u, {c["step"]}u, {c["count"]}u, 0x{c["crc32"]}u'
            for c in every("sweep")
        ],
    )
    h.table("random_case", "random_cases", [", ".join(unsigned(row)) for row in every("random")])
    crcs = []
    for c in every("crc32"):
        data = bytes.fromhex(c["bytes"])
        array = h.array("uint8_t", map(str, data or b"0"))
        crcs.append(f"{c['start']}u, {len(data)}u, {array}, 0x{c['crc32']}u")
    h.table("crc_case", "crc_cases", crcs)


def encoders(h: Header, files: Sequence[Json]) -> None:
    """The table of encoders."""
    rows = []
    for file in files:
        for c in file.get("encoders", []):
            features = [FEATURES[f] for f in c.get("features", [])]
            kind = "EHFF_ENC_WINDOW" if features else "EHFF_ENC_PLAIN"
            fields = [RAW[c["raw"]], kind, " | ".join(features) or "0", c.get("log", 0)]
            fields += [
                c.get("gain_shift", 0),
                c.get("bias", 0),
                *c["shape"],
                c.get("segments", 1),
                "NULL",
                "NULL",
            ]
            table = "offset" in c
            offset, gain = (f"{{{h.rule(c[k] if table else {'cycle': [0]})}}}" for k in ("offset", "gain"))
            rows.append(
                f'"{c["name"]}", {{{", ".join(map(str, fields))}}}, {{{h.rule(c["values"])}}}, {int(table)}, '
                f"{offset}, {gain}, {crc_of(c['expected_features'])}, {crc_of(c['expected_x'])}"
            )
    h.table("encoder_case", "encoder_cases", rows)


def convs(h: Header, c: Json) -> str:
    """The table of convolutions of a configuration, a row a layer; NULL where there are none."""
    rows = []
    for i, v in enumerate(c.get("conv", [])):
        fields = [
            *(c["input_shape"] if i == 0 else (0, 0, 0)),
            KINDS.index(v["kind"]),
            *v["kernel"],
            *v["stride"],
        ]
        fields += [*v["padding"], POOLS.index(v["pool"]), *v["pool_size"], *v["grid"], 0, 0, 0]
        rows.append(f"{{{', '.join(map(str, fields))}}}")
    empty = f"{{{', '.join('0' * 18)}}}"
    return h.array("ehff_conv", rows + [empty] * (len(c["dims"]) - 1 - len(rows)) if rows else [])


def networks(h: Header, files: Sequence[Json]) -> None:
    """The table of networks."""
    rows = []
    for file in files:
        for case in file.get("networks", []):
            c, want = case["config"], case["expected"]
            fields = [
                h.array("uint32_t", unsigned(c["dims"])),
                convs(h, c),
                h.array("uint16_t", map(str, c.get("join_weight", []))),
                len(c["dims"]) - 1,
                RECIPES[c["arith"]],
                JOINS[c["join"]],
                c["cap"] + 2 * c["revive"],
                *(c[k] for k in ("proto_bits", "n_classes", "n_per_class")),
                *(f"{c[k]}u" for k in ("kappa", "margin", "gate", "lr_w", "lr_p", "seed")),
            ]
            samples = [
                f"{{{int('x' in s)}, {s['label']}, {{{h.rule(s.get('x', s.get('a')))}}}}}"
                for s in case["samples"]
            ]
            prototypes = case.get("prototypes", [])
            blob = bytes.fromhex(want.get("blob", ""))
            row = [
                f'"{case["name"]}"',
                f"{{{', '.join(map(str, fields))}}}",
                h.rules(case.get("weights", [])),
                h.rules([rule for layer in prototypes for rule in layer]),
                len(prototypes[0]) if prototypes else 0,
                h.rules(case.get("scales", [])),
                f"{len(samples)}u",
                h.array("sample", samples),
                f"{case['steps']}u",
                case.get("first_layer", 0),
                f"{case.get('start_step', 0)}u",
                *(f"0x{want[k + '_crc32']}u" for k in ("fresh_weights", "weights", "state", "blob")),
                *(crc_of(want[k]) for k in ("predictions", "scores", "layer_scores")),
                *(h.array("uint32_t", unsigned(want[k])) for k in ("updates", "saturated", "norm_sum")),
                want["answer"],
                f"{want['blob_bytes']}u",
                h.array("uint8_t", map(str, blob)),
            ]
            rows.append(", ".join(map(str, row)))
    h.table("network_case", "network_cases", rows)


def main(output: str, *paths: str) -> None:
    """Write the header."""
    files = [json.loads(Path(p).read_text(encoding="utf-8")) for p in paths]
    h = Header()
    functions(h, files)
    encoders(h, files)
    networks(h, files)
    Path(output).write_text("\n".join(h.lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
