"""`edgehff spike`: networks of spiking neurons, for neuromorphic targets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgehff.cli.eval import check_classes, choose_rows
from edgehff.cli.output import Output, common_options, pass_output
from edgehff.cli.spike_convert import convert
from edgehff.cli.spike_report import report
from edgehff.spiking.environment import FOLDER, SIMULATORS

if TYPE_CHECKING:
    from edgehff.model.spiking_network import SpikingNetwork
    from edgehff.spiking.simulate import Run
    from edgehff.spiking.verify import Agreement


@click.group()
@common_options
def spike() -> None:
    """Networks of spiking neurons, in integers."""


spike.add_command(convert)
spike.add_command(report)


@spike.command("train")
@click.argument("recipe_path", metavar="RECIPE", type=click.Path(path_type=Path))
@click.option("--data", metavar="NAME|PATH", help="In place of the recipe's.")
@click.option(
    "-o", "--output", "model", required=True, type=click.Path(path_type=Path), help="Model file to write."
)
@click.option(
    "--validation",
    type=float,
    metavar="FRACTION",
    help="Hold this share of the training rows out, and choose the exit margin on them.",
)
@common_options
@pass_output
def train_spikes(
    output: Output, recipe_path: Path, data: str | None, model: Path, validation: float | None
) -> None:
    """Train the spiking network of RECIPE's [spiking] on training rows, and save it in integers.

    Each layer learns while spikes come, from its own error: nothing is kept of a sample's steps.

    \b
    edgehff spike train models/digits-spiking/recipe.toml -o spiking.safetensors
    """
    from edgehff import recipe as recipes
    from edgehff.cli.train import training_rows
    from edgehff.data.sources import load
    from edgehff.data.split import holdout
    from edgehff.errors import InputError
    from edgehff.extras import require
    from edgehff.model import file

    require("torch", "spiking")
    require("snntorch", "spiking")
    from edgehff.spiking.early import choose, with_margin
    from edgehff.spiking.simulate import run
    from edgehff.spiking.train import train
    from edgehff.train.events import Advanced, EpochDone

    recipe = recipes.load(recipe_path)
    if not model.absolute().parent.is_dir():
        raise InputError(f"the folder of {model} does not exist", hint=f"mkdir -p {model.parent}")
    whole = load(data or recipe.data, notice=output.say)
    rows, held = training_rows(whole, ()), None
    if validation is not None:
        kept, out = holdout(rows, validation, recipe.seed)
        rows, held = rows.rows(kept), rows.rows(out)
    s = recipe.spiking
    output.say(f"{whole.name}: {len(rows)} samples, {whole.n_classes} classes")
    output.say(f"layers {recipe.text}, {s.steps} steps of {s.code} input, beta {s.beta:g}, reset {s.reset}")
    last: EpochDone | None = None
    with output.progress(recipe.pretrain.epochs * len(rows), "training") as bar:
        for event in train(recipe, rows, held):
            if isinstance(event, Advanced):
                bar.update(event.samples, online=f"{last.online:.1%}" if last else "-")
            elif isinstance(event, EpochDone):
                last = event
                checked = "" if event.validation is None else f"  validation {event.validation:.2%}"
                output.say(f"pass {event.epoch:3d}  online {event.online:.2%}{checked}")
            else:
                done = event
    assert last is not None
    network, early = done.network, None
    if held is not None:
        early = choose(run(network, network.encode(held.x), 0.0), held.y)
        network = with_margin(network, early.margin)
    file.save(network, model)
    document: dict[str, Any] = {
        "model": str(model),
        "data": whole.name,
        "samples": done.samples,
        "seconds": done.seconds,
        "online_accuracy": last.online,
        "validation_accuracy": last.validation,
        "saturated": last.saturated,
        "thresholds": [layer.threshold for layer in done.network.layers],
        "exit_margin": network.recipe.spiking.exit_margin,
        "exit_steps": None if early is None else early.steps,
        "exit_accuracy": None if early is None else early.accuracy,
        "weights_crc32": f"{done.network.weights_crc32:08x}",
        "recipe": network.recipe.to_dict(),
    }
    if output.json:
        output.print_document(document)
        return
    if early is not None:
        how = f"once a class leads by {early.margin:g}" if early.margin else "after all steps"
        output.print_text(
            f"answers {how}: {early.accuracy:.2%} of the held rows after {early.steps:.2f} steps in the mean"
        )
    output.print_text(
        f"{done.samples} samples in {done.seconds:.1f} s\nwrote {model}  weights {document['weights_crc32']}"
    )
    output.say(f"next: edgehff spike run {model}")


@spike.command("run")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", metavar="NAME|PATH", help="Default: what it was trained on.")
@click.option("--rows", type=click.Choice(["test", "train", "all"]), default="test", show_default=True)
@click.option("--first", type=click.IntRange(1), metavar="N", help="Only so many rows.")
@click.option(
    "--exit-margin",
    type=click.FloatRange(0, 2),
    metavar="COSINE",
    help="Answer once a class leads by this much; 0: after all steps. Default: the model's.",
)
@common_options
@pass_output
def run_spikes(
    output: Output, model: Path, data: str | None, rows: str, first: int | None, exit_margin: float | None
) -> None:
    """Simulate MODEL on rows: accuracy by steps, spikes, and synaptic operations.

    In numpy; with beta = 1 there is no rounding before the cosines.
    """
    from edgehff.cli.eval import name_of_data
    from edgehff.data.sources import load
    from edgehff.model import file
    from edgehff.spiking.simulate import run

    network = file.load_spiking(model)
    whole = load(name_of_data(network, data), notice=output.say)
    check_classes(network, whole)
    chosen = choose_rows(whole, rows, None)
    if first is not None:
        chosen = chosen.rows(range(min(first, len(chosen))))
    found = run(network, network.encode(chosen.x), exit_margin)
    document = {"model": str(model), "data": whole.name, "rows": rows, **_document(network, found, chosen.y)}
    if output.json:
        output.print_document(document)
        return
    output.print_text(
        f"{model} on {len(chosen)} rows of {whole.name} ({rows}): {document['accuracy']:.2%}"
        f" after {document['steps']:.2f} steps of {network.recipe.spiking.steps}\n"
        f"{document['work']:,.0f} operations a sample"
        + (", the constant input's products counted once" if found.once else "")
    )
    output.table(
        "Steps",
        ("after step", "accuracy"),
        [(i + 1, f"{value:.2%}") for i, value in enumerate(document["accuracy_by_step"])],
    )
    output.table(
        "One sample",
        ("layer", "spikes", "of slots", "synaptic operations", "dense"),
        [
            (i, f"{line['spikes']:.0f}", f"{line['rate']:.1%}", f"{line['operations']:.0f}", line["dense"])
            for i, line in enumerate(document["per_layer"])
        ],
    )


@spike.command("verify")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", metavar="NAME|PATH", help="Default: what it was trained on.")
@click.option(
    "--first", type=click.IntRange(1), default=100, show_default=True, metavar="N", help="Test rows."
)
@click.option("--simulator", "names", multiple=True, metavar="NAME", help="Only this one; may be repeated.")
@click.option(
    "--simulators",
    "folder",
    type=click.Path(path_type=Path),
    default=FOLDER,
    show_default=True,
    help="Folder with an environment for each, as tools/simulators/install.py makes them.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(1),
    default=3600,
    show_default=True,
    help="Seconds a simulator may take.",
)
@click.option("--markdown", is_flag=True, help="Print the table as Markdown.")
@common_options
@pass_output
def verify_spikes(
    output: Output,
    model: Path,
    data: str | None,
    first: int,
    names: tuple[str, ...],
    folder: Path,
    timeout: float,
    markdown: bool,
) -> None:
    """Run MODEL in other groups' simulators, and compare every spike with `edgehff spike run`.

    Exit code 7 where one slot of neuron and step differs, or a simulator fails.

    \b
    edgehff spike verify spiking.safetensors --first 500
    edgehff spike verify spiking.safetensors --simulator norse --simulator nest
    """
    from dataclasses import asdict

    from edgehff.cli.eval import name_of_data
    from edgehff.data.sources import load
    from edgehff.errors import CheckFailed
    from edgehff.model import file
    from edgehff.spiking.verify import simulators_in, verify

    network = file.load_spiking(model)
    simulators = simulators_in(folder, names)
    absent = sorted(set(SIMULATORS) - {path.name for path in simulators})
    if absent and not names:
        output.say(f"not installed, and so not asked: {', '.join(absent)}")
    whole = load(name_of_data(network, data), notice=output.say)
    check_classes(network, whole)
    chosen = choose_rows(whole, "test", None)
    chosen = chosen.rows(range(min(first, len(chosen))))
    found = []
    for line in verify(network, network.encode(chosen.x), simulators, timeout):
        output.say(f"{line.simulator} {line.version}: {_agreed(line)}")
        found.append(line)
    header = ("simulator", "version", "layers seen", "slots", "spikes", "differing")
    lines = [
        (
            line.simulator,
            line.version or "-",
            ", ".join(map(str, line.layers)) or "-",
            f"{line.slots:,}",
            f"{line.spikes:,}",
            line.reason or f"{line.differing:,}",
        )
        for line in found
    ]
    if output.json:
        fields = [{**asdict(line), "passed": line.passed} for line in found]
        output.print_document(
            {"model": str(model), "data": whole.name, "samples": len(chosen), "simulators": fields}
        )
    elif markdown:
        rows = [header, ("---",) * len(header), *lines]
        output.print_text("\n".join(f"| {' | '.join(row)} |" for row in rows))
    else:
        output.table(f"{model} on {len(chosen)} test rows of {whole.name}", header, lines)
    wrong = [line.simulator for line in found if not line.passed]
    if wrong:
        raise CheckFailed(
            f"{', '.join(wrong)}: not the same spikes",
            hint="the line above says where, or why there are none",
        )


def _agreed(line: Agreement) -> str:
    if line.reason:
        return line.reason
    if line.operations is not None:
        theirs, own = line.operations
        return f"{line.differing:,} slots differ; {theirs:,} synaptic operations, ours {own:,}"
    if line.first is None:
        return f"0 of {line.slots:,} slots differ"
    layer, sample, step, neuron = line.first
    where = f"layer {layer}, sample {sample}, step {step}, neuron {neuron}"
    return f"{line.differing:,} of {line.slots:,} slots differ, the first in {where}"


def _document(network: SpikingNetwork, found: Run, y: Any) -> dict[str, Any]:
    from edgehff.spiking.simulate import dense_operations

    n = len(y)
    dense = dense_operations(network)
    return {
        "samples": n,
        "accuracy": float((found.answers == y).mean()),
        "accuracy_by_step": [float((answers == y).mean()) for answers in found.by_step],
        "steps": float(found.steps.mean()),
        "synaptic_operations": float(found.operations.sum() / n),
        "work": found.work,
        "spikes": float(found.spikes.sum() / n),
        "per_layer": [
            {
                "spikes": float(found.spikes[i] / n),
                "rate": float(found.rates[i]),
                "operations": float(found.operations[i] / n),
                "dense": dense[i],
            }
            for i in range(len(dense))
        ],
    }
