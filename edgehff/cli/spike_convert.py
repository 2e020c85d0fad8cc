"""`edgehff spike convert`: a trained model, made to spike."""

from __future__ import annotations

from pathlib import Path

import click

from edgehff.cli.eval import check_classes, choose_rows, name_of_data
from edgehff.cli.output import Output, common_options, pass_output


@click.command("convert")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", "path", required=True, type=click.Path(path_type=Path), help="Model file to write."
)
@click.option("--data", metavar="NAME|PATH", help="Whose training rows to use; default: the model's own.")
@click.option("--steps", type=click.IntRange(1, 1024), default=8, show_default=True, help="Of a sample.")
@click.option("--code", type=click.Choice(["direct", "rate", "latency"]), default="direct", show_default=True)
@common_options
@pass_output
def convert(output: Output, model: Path, path: Path, data: str | None, steps: int, code: str) -> None:
    """Make MODEL spike: its synapses and prototypes as they are, a threshold a layer from training rows.

    \b
    edgehff spike convert models/emg-gestures/model.safetensors -o spiking.safetensors
    """
    from edgehff.cli.eval import measure
    from edgehff.data.sources import load
    from edgehff.errors import InputError
    from edgehff.model import file
    from edgehff.recipe import SpikingRecipe
    from edgehff.spiking.convert import convert as converted
    from edgehff.spiking.simulate import run

    if not path.absolute().parent.is_dir():
        raise InputError(f"the folder of {path} does not exist", hint=f"mkdir -p {path.parent}")
    network = file.load_any(model)
    whole = load(name_of_data(network, data), notice=output.say)
    check_classes(network, whole)
    spiking = converted(network, choose_rows(whole, "train", None), SpikingRecipe(steps=steps, code=code))
    rows = choose_rows(whole, "test", None)
    found = run(spiking, spiking.encode(rows.x))
    file.save(spiking, path)
    document = {
        "model": str(model),
        "file": str(path),
        "data": whole.name,
        "steps": steps,
        "code": code,
        "thresholds": [layer.threshold for layer in spiking.layers],
        "weights_crc32": f"{spiking.weights_crc32:08x}",
        "samples": len(rows),
        "accuracy": float((found.answers == rows.y).mean()),
        "accuracy_of_model": float(measure(network, rows)["accuracy"]),
        "rates": [float(rate) for rate in found.rates],
    }
    if output.json:
        output.print_document(document)
        return
    output.print_text(
        f"wrote {path}  weights {document['weights_crc32']}\n"
        f"{document['accuracy']:.2%} of {len(rows)} test rows of {whole.name} after {steps} steps;"
        f" {document['accuracy_of_model']:.2%} without spikes"
    )
    output.say(f"next: edgehff spike run {path}")
