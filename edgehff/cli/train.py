"""`edgehff train`: a new network from a recipe or plain options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgehff.cli.output import Output, common_options, pass_output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgehff.data.dataset import Dataset
    from edgehff.recipe import Recipe
    from edgehff.train.events import EpochDone, Trained

ENCODER_OPTIONS = ("features", "segments", "log", "center", "standardize")
AUGMENT_OPTIONS = ("flip", "warp", "shift", "cutout")
FLOAT_OPTIONS = ("optimizer", "batch_size", "weight_decay", "dropout")
SHARED_OPTIONS = ("epochs", "lr", "lr_prototypes", "lr_final")
"""Set pretrain's field where arith is "float", and the recipe's own of that name elsewhere."""


@click.command()
@click.argument("recipe_path", metavar="[RECIPE]", required=False, type=click.Path(path_type=Path))
@click.option("--data", metavar="NAME|PATH", help="A named data set or a file (edgehff data list).")
@click.option(
    "-o", "--output", "model", required=True, type=click.Path(path_type=Path), help="Model file to write."
)
@click.option("--layers", metavar="128,64", help="Widths of the layers.")
@click.option("--arith", metavar="int8|int16|float", help="How weights are kept.")
@click.option("--epochs", type=int, help="Passes over the training rows.")
@click.option("--seed", type=int, help="Start values, order, rounding.")
@click.option("--lr", type=float, help="Rate of the weights, relative.")
@click.option("--lr-prototypes", type=float, help="Rate of the prototypes.")
@click.option("--lr-final", type=float, help="The last pass's rates as a fraction of the first's.")
@click.option("--scale", type=float, help="Scale of the softmax.")
@click.option("--margin", type=float, help="Margin taken off the own class.")
@click.option("--gate", metavar="COSINE|off", help="Learn while the own class leads by less than this.")
@click.option("--cap/--no-cap", default=None, help="Divide a step by the mean of |y| where that is larger.")
@click.option(
    "--revive/--no-revive", default=None, help="Silent rows take a tenth of a step that raises them."
)
@click.option("--prototypes-per-class", type=int, help="Prototypes of each class.")
@click.option("--join", metavar="sum_logp|last|weighted", help="How layers answer together.")
@click.option("--features", metavar="mav,rms,wl", help="Features of a (time, channel) window.")
@click.option("--segments", type=int, help="Parts of the window with features of their own.")
@click.option("--log/--no-log", default=None, help="Take log2 of each feature.")
@click.option("--center/--no-center", default=None, help="Subtract each feature's mean.")
@click.option("--standardize/--no-standardize", default=None, help="And divide by its deviation.")
@click.option("--optimizer", metavar="adam|sgd", help="With float: of each layer.")
@click.option("--batch-size", type=int, help="With float: samples of one step.")
@click.option("--weight-decay", type=float, help="With float: of the weights.")
@click.option("--dropout", type=float, help="With float: share of a layer's inputs.")
@click.option("--flip/--no-flip", default=None, help="Mirror half of the maps.")
@click.option("--warp", type=int, help="Bend maps by up to so many pixels or frames.")
@click.option("--shift", type=int, help="Move maps by up to so many pixels or frames.")
@click.option("--cutout", type=int, help="Set a square of this side of each map to zero.")
@click.option("--device", default="cpu", show_default=True, metavar="cpu|cuda", help="With float: of torch.")
@click.option(
    "--validation", type=float, metavar="FRACTION", help="Hold this share of the training rows out."
)
@click.option(
    "--without-group", type=int, multiple=True, metavar="N", help="Leave this subject out. Repeatable."
)
@common_options
@pass_output
def train(
    output: Output,
    /,
    recipe_path: Path | None,
    data: str | None,
    model: Path,
    validation: float | None,
    without_group: tuple[int, ...],
    device: str,
    **options: Any,
) -> None:
    """Train a network on the training rows of a data set, and save it.

    From a recipe, or from options alone; an option wins over the recipe. Test rows are not touched: measure
    them with `edgehff eval MODEL`. In integers by the C core; with --arith float in torch, for `edgehff
    quantize` to bring into integers.

    \b
    edgehff train --data digits --layers 32 --arith int8 -o digits.safetensors
    edgehff train models/digits/recipe.toml -o digits.safetensors
    """
    from edgehff.data.sources import load
    from edgehff.data.split import holdout
    from edgehff.errors import InputError
    from edgehff.model import file

    recipe = recipe_of(recipe_path, data, options)
    if not recipe.data:
        raise InputError(
            "no data set is named", hint="edgehff train --data digits --layers 32 -o digits.safetensors"
        )
    if not model.absolute().parent.is_dir():
        raise InputError(f"the folder of {model} does not exist", hint=f"mkdir -p {model.parent}")
    whole = load(recipe.data, notice=output.say)
    rows, held = training_rows(whole, without_group), None
    if validation is not None:
        kept, out = holdout(rows, validation, recipe.seed)
        rows, held = rows.rows(kept), rows.rows(out)
    output.say(f"{whole.name}: {len(rows)} samples, {whole.n_classes} classes")
    output.say(f"layers {recipe.text}, {recipe.arith}, seed {recipe.seed}")
    epochs, done = _run(output, recipe, rows, held, device)
    file.save(done.network, model)
    document = _document(model, whole.name, epochs, done)
    if output.json:
        output.print_document(document)
        return
    shares = ", ".join(f"{share:.0%}" for share in document["updates_all"])
    limit = "" if recipe.arith == "float" else f"; {epochs[-1].saturated:.2%} of the weights at their limit"
    output.print_text(
        f"{done.samples} samples in {done.seconds:.1f} s ({document['samples_per_second']:.0f} a second)\n"
        f"layers learned from {shares} of them{limit}\n"
        f"wrote {model}  weights {document['weights_crc32']}"
    )
    if recipe.arith == "float":
        output.say(f"next: edgehff quantize {model} --arith int16 -o int16.safetensors")
    else:
        output.say(f"next: edgehff eval {model}, edgehff export --target onnx {model}")


def training_rows(data: Dataset, without_group: tuple[int, ...]) -> Dataset:
    """The training rows less those of some groups. InputError where a group does not exist."""
    import numpy as np

    from edgehff.data.split import train_test
    from edgehff.errors import InputError

    rows = data.rows(train_test(data)[0])
    if not without_group:
        return rows
    known = [] if rows.group is None else np.unique(rows.group).tolist()
    for group in without_group:
        if group not in known:
            names = ", ".join(map(str, known)) or "none"
            raise InputError(f"{data.name} has no training rows of group {group}", hint=f"groups: {names}")
    assert rows.group is not None
    return rows.rows(~np.isin(rows.group, without_group))


def recipe_of(path: Path | None, data: str | None, options: dict[str, Any]) -> Recipe:
    """The recipe of a file with the options that were given in place of its own."""
    from edgehff import recipe as recipes
    from edgehff.errors import RecipeError
    from edgehff.recipe_check import ARITHS

    table = (recipes.load(path) if path else recipes.Recipe()).to_dict()
    given = {name: value for name, value in options.items() if value is not None}
    if data is not None:
        given["data"] = data
    converters = {"layers": _integers, "features": _names, "gate": _gate}
    for name, convert in converters.items():
        if name in given:
            try:
                given[name] = convert(given[name])
            except ValueError as error:
                hint = {"layers": "--layers 128,64", "gate": "--gate 0.3, or --gate off"}.get(name, "")
                raise RecipeError(f"--{name} {given[name]} cannot be read: {error}", hint=hint) from error
    for name in ENCODER_OPTIONS:
        if name in given:
            table["encoder"][name] = given.pop(name)
    for name in AUGMENT_OPTIONS:
        if name in given:
            table.setdefault("augment", {})[name] = given.pop(name)
    arith = given.get("arith", table["arith"])
    is_float = arith == "float"
    for name in FLOAT_OPTIONS:
        if name in given and arith in ARITHS:
            option = f"--{name.replace('_', '-')}"
            raise RecipeError(f"{option} is for --arith float", hint=f"--arith float, or leave {option} out")
    for name in FLOAT_OPTIONS + SHARED_OPTIONS * is_float:
        if name in given:
            table["pretrain"][name] = given.pop(name)
    return recipes.from_dict(table | given, "options")


def checked_device(device: str) -> None:
    """InputError where this torch has no such device."""
    import torch

    from edgehff.errors import InputError

    if device != "cpu" and not (device in ("cuda", "cuda:0") and torch.cuda.is_available()):
        raise InputError(f"torch {torch.__version__} has no device {device!r} here", hint="--device cpu")


def _integers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _names(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _gate(text: str) -> float | str:
    return text if text == "off" else float(text)


def _run(
    output: Output, recipe: Recipe, rows: Dataset, held: Dataset | None, device: str
) -> tuple[list[EpochDone], Trained[Any]]:
    from edgehff.extras import require
    from edgehff.train import local
    from edgehff.train.events import Advanced, EpochDone

    epochs: list[EpochDone] = []
    done: Trained[Any] | None = None
    events: Iterator[Advanced | EpochDone | Trained[Any]]
    if recipe.arith == "float":
        require("torch", "torch")
        from edgehff.train import float as in_float

        checked_device(device)
        events, passes = in_float.train(recipe, rows, held, device=device), recipe.pretrain.epochs
    else:
        events, passes = local.train(recipe, rows, held), recipe.epochs
    with output.progress(passes * len(rows), "training") as bar:
        for event in events:
            if isinstance(event, Advanced):
                bar.update(event.samples, online=f"{epochs[-1].online:.1%}" if epochs else "-")
            elif isinstance(event, EpochDone):
                epochs.append(event)
                checked = "" if event.validation is None else f"  validation {event.validation:.2%}"
                shares = ", ".join(f"{share:.0%}" for share in event.updates)
                output.say(
                    f"pass {event.epoch:3d}  online {event.online:.2%}{checked}  learned from {shares}"
                )
            else:
                done = event
    assert done is not None
    return epochs, done


def _document(model: Path, data: str, epochs: list[EpochDone], done: Trained[Any]) -> dict[str, Any]:
    recipe, last = done.network.recipe, epochs[-1]
    return {
        "model": str(model),
        "data": data,
        "samples": done.samples,
        "seconds": done.seconds,
        "samples_per_second": done.samples / max(done.seconds, 1e-9),
        "online_accuracy": last.online,
        "validation_accuracy": last.validation,
        "updates": last.updates,
        "updates_all": [sum(e.updates[i] for e in epochs) / len(epochs) for i in range(recipe.n_layers)],
        "saturated": last.saturated,
        "seed": recipe.seed,
        "weights_crc32": f"{done.network.weights_crc32:08x}",
        "state_crc32": None if recipe.arith == "float" else f"{done.network.state_crc32:08x}",
        "recipe": recipe.to_dict(),
    }
