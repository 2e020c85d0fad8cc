"""`edgehff spike report`: what a spiking network does, as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from edgehff.cli.eval import check_classes, choose_rows, name_of_data
from edgehff.cli.output import Output, common_options, pass_output

if TYPE_CHECKING:
    from edgehff.data.dataset import Dataset
    from edgehff.model.spiking_network import SpikingNetwork

INPUTS = {
    "direct": "Each step brings the same graded current, which has to be multiplied only once.",
    "rate": "At each step an input spikes with a probability of its share of the largest.",
    "latency": "Each input spikes once, the earlier the larger.",
    "events": "Each step brings its own events.",
    "delta": "Each step brings rises and falls of a stream.",
}


@click.command("report")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", "file", required=True, type=click.Path(path_type=Path), help="HTML to write.")
@click.option("--data", metavar="NAME|PATH", help="Default: what it was trained on.")
@click.option("--first", type=click.IntRange(1), metavar="N", help="Only so many test rows.")
@click.option(
    "--beside",
    type=click.Path(path_type=Path),
    metavar="MODEL",
    help="A model that does not spike, whose multiplications are counted.",
)
@common_options
@pass_output
def report(
    output: Output, model: Path, file: Path, data: str | None, first: int | None, beside: Path | None
) -> None:
    """Accuracy, early answers, operations, spikes and energy of MODEL on test rows, in one HTML file.

    \b
    edgehff spike report spiking.safetensors -o report.html --beside model.safetensors
    """
    from edgehff.data.sources import load
    from edgehff.errors import InputError
    from edgehff.extras import require
    from edgehff.model import file as files

    require("matplotlib", "plot")
    from edgehff.report import spiking as pages

    if not file.absolute().parent.is_dir():
        raise InputError(f"the folder of {file} does not exist", hint=f"mkdir -p {file.parent}")
    network = files.load_spiking(model)
    whole = load(name_of_data(network, data), notice=output.say)
    check_classes(network, whole)
    rows = choose_rows(whole, "test", None)
    if first is not None:
        rows = rows.rows(range(min(first, len(rows))))
    document = {"model": model.name, "data": whole.name, **measured(network, rows, beside)}
    one = network.encode(rows.x[:1])
    files.write_atomically(file, pages.page(document, *_of_one(network, one)).encode())
    if output.json:
        output.print_document({**document, "file": str(file)})
        return
    output.print_text(f"wrote {file}  {file.stat().st_size:,} bytes")


def measured(network: SpikingNetwork, rows: Dataset, beside: Path | None) -> dict[str, Any]:
    """The report's numbers."""
    from edgehff.spiking.chain import elements
    from edgehff.spiking.early import MARGINS, exit_with
    from edgehff.spiking.simulate import dense_operations, run

    x, n, s = network.encode(rows.x), len(rows), network.recipe.spiking
    whole = run(network, x, 0.0)
    found = run(network, x) if s.exit_margin else whole
    shapes, dense = network.recipe.shapes(network.n_in), dense_operations(network)
    return {
        "samples": n,
        "layers": network.recipe.text,
        "weights_crc32": f"{network.weights_crc32:08x}",
        "input": INPUTS[s.code],
        "most_steps": s.steps,
        "exit_margin": s.exit_margin,
        "accuracy": float((found.answers == rows.y).mean()),
        "steps": float(found.steps.mean()),
        "work": found.work,
        "accuracy_all_steps": float((whole.answers == rows.y).mean()),
        "work_all_steps": whole.work,
        "accuracy_by_step": [float((answers == rows.y).mean()) for answers in whole.by_step],
        "exits": [vars(exit_with(whole, rows.y, margin)) for margin in MARGINS],
        "per_layer": [
            {
                "neurons": elements(shape)[1],
                "spikes": float(found.spikes[i] / n),
                "rate": float(found.rates[i]),
                "operations": float(found.operations[i] / n),
                "dense": dense[i] * s.steps,
            }
            for i, shape in enumerate(shapes)
        ],
        "beside": None if beside is None else _beside(beside, rows),
        "note": "An operation is an addition where an input is a spike, and a multiplication where it is a"
        " graded current; by layer they are counted at every step, as NeuroBench does.",
    }


def _beside(path: Path, rows: Dataset) -> dict[str, Any]:
    from edgehff.cli.eval import measure
    from edgehff.model import file as files
    from edgehff.report.operations import multiplications

    network = files.load_any(path)
    check_classes(network, rows)
    counted = multiplications(network, rows.x)
    answers = measure(network, rows)
    return {
        "model": path.name,
        "accuracy": float(answers["accuracy"]),
        "dense": sum(d for d, _ in counted),
        "effective": sum(e for _, e in counted),
    }


def _of_one(network: SpikingNetwork, x: Any) -> tuple[list[Any], list[Any]]:
    """(spikes, membranes in multiples of the threshold) of one sample, each layer's (steps, neurons)."""
    from edgehff.spiking.chain import trains_of
    from edgehff.spiking.simulate import membranes_of

    trains = [layer[0] for layer in trains_of(network, x)]
    steps = [[u.reshape(-1) for u in step] for step in membranes_of(network, x)]
    membranes = [
        np.stack([step[i] for step in steps]) / (layer.threshold + 0.5)
        for i, layer in enumerate(network.layers)
    ]
    return trains, membranes
