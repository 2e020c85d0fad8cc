"""`edgehff inspect`: what an exported file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgehff.cli.output import Output, common_options, pass_output


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@common_options
@pass_output
def inspect(output: Output, file: Path) -> None:
    """Say what FILE, an exported .onnx or .pte, takes, gives and holds, as its runtime and metadata tell."""
    from edgehff.export.artifact import open_artifact

    artifact = open_artifact(file)
    meta = artifact.metadata
    document: dict[str, Any] = {
        "file": str(file),
        "bytes": file.stat().st_size,
        "runtime": artifact.runtime,
        **_structure(file),
        "metadata": meta,
    }
    if output.json:
        output.print_document(document)
        return
    encoder = meta["encoder"]
    shape = " x ".join(map(str, meta["sample_shape"]))
    rows = [
        ("bytes", f"{document['bytes']:,}"),
        ("runs in", artifact.runtime),
        (
            "takes",
            f"{meta['input_dtype']}, up to {artifact.max_batch or 'any number of'} sample(s) of {shape}",
        ),
        ("raw samples", f"{encoder['raw']}, encoder in the graph: {_encoder(encoder)}"),
        ("gives", f"{', '.join(meta['outputs'])}: cosines of {len(meta['class_names'])} classes"),
        ("classes", ", ".join(meta["class_names"])),
        ("layers", _layers(meta)),
        *([("maps", _maps(meta["maps"]))] if meta.get("maps") else []),
        ("arithmetic it came from", f"{meta['arith']}, prototypes of {meta['prototype_bits']} bits"),
        ("norm", meta["norm"]),
        ("weights", meta["weights_crc32"]),
        ("format", f"{meta['format']}, written by edgehff {meta['edgehff_version']}"),
    ]
    if "arena_bytes" in document:
        rows.insert(2, ("arena", f"{document['arena_bytes']:,} bytes"))
        rows.insert(3, ("delegates", str(document["delegates"])))
    counts = ", ".join(f"{n} {name}" for name, n in document["operators"].items()) or "none"
    rows.append(("operators outside of delegates" if "delegates" in document else "operators", counts))
    output.table(str(file), ("what", "is"), rows)


def _maps(maps: list[list[int]]) -> str:
    """The maps that convolutions take and give, height x width x channels."""
    return " -> ".join(" x ".join(map(str, sizes)) for sizes in maps)


def _layers(meta: dict[str, Any]) -> str:
    """Sizes in a row: of convolutions their maps, height x width x channels."""
    maps = ["x".join(map(str, sides)) for sides in meta["maps"]]
    return " -> ".join([*maps, *map(str, meta["sizes"][len(maps) :])])


def _encoder(encoder: dict[str, Any]) -> str:
    steps = [", ".join(encoder["features"]) or "one feature a value"]
    if encoder["log"]:
        steps.append("log2")
    if encoder["standardized"]:
        steps.append("offset and gain")
    return "; ".join(steps)


def _structure(file: Path) -> dict[str, Any]:
    """Operators by number, and of a program its arena and delegates."""
    if file.suffix == ".pte":
        from edgehff.export.executorch import plan_of

        plan = plan_of(file.read_bytes())
        return {
            "arena_bytes": plan.arena_bytes,
            "delegates": plan.delegates,
            "operators": plan.operators,
        }
    from collections import Counter

    from edgehff.extras import installed

    if installed("onnx") is None:
        return {"operators": {}}
    import onnx

    model = onnx.load_from_string(file.read_bytes())
    return {
        "opset": model.opset_import[0].version,
        "ir_version": model.ir_version,
        "operators": dict(Counter(node.op_type for node in model.graph.node)),
    }
