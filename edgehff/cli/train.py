"""`edgehff train`: a new network from a recipe or plain options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgehff.cli.output import Output, common_options, pass_output

if TYPE_CHECKING:
    from edgehff.data.dataset import Dataset
    from edgehff.recipe import Recipe
    from edgehff.train.events import EpochDone


@click.command()
@click.argument("recipe_path", metavar="[RECIPE]", required=False, type=click.Path(path_type=Path))
@click.option("--data", metavar="NAME|PATH", help="A named data set or a file (edgehff data list).")
@click.option("-o", "--output", "model", required=True, type=click.Path(path_type=Path), help="The model file to write.")
@click.option("--layers", metavar="128,64", help="Widths of the layers.")
@click.option("--arith", metavar="int8|int16", help="How weights are kept.")
@click.option("--epochs", type=int, help="Passes over the training rows.")
@click.option("--seed", type=int, help="Start values, order, rounding.")
@click.option("--lr", type=float, help="Rate of the weights, relative.")
@click.option("--lr-prototypes", type=float, help="Rate of the prototypes.")
@click.option("--lr-final", type=float, help="The last pass's rates as a fraction of the first's.")
@click.option("--scale", type=float, help="Scale of the softmax.")
@click.option("--margin", type=float, help="Margin taken off the own class.")
@click.option("--gate", metavar="COSINE|off", help="Learn while the own class leads by less than this.")
@click.option("--cap/--no-cap", default=None, help="Divide a step by the running mean of |y| where that is larger.")
@click.option("--revive/--no-revive", default=None, help="Let silent rows take a tenth of a step that raises them.")
@click.option("--prototypes-per-class", type=int, help="Prototypes of each class.")
@click.option("--join", metavar="sum_logp|last|weighted", help="How layers answer together.")
@click.option("--features", metavar="mav,rms,wl", help="Features of a (time, channel) window.")
@click.option("--segments", type=int, help="Parts of the window with features of their own.")
@click.option("--log/--no-log", default=None, help="Take log2 of each feature.")
@click.option("--center/--no-center", default=None, help="Subtract each feature's mean.")
@click.option("--standardize/--no-standardize", default=None, help="And divide by its deviation.")
@click.option(
    "--validation", type=float, metavar="FRACTION", help="Hold this share of the training rows out, and report on it."
)
@common_options
@pass_output
def train(
    output: Output, recipe_path: Path | None, data: str | None, model: Path, validation: float | None, **options: Any
) -> None:
    """Train a network in integers on the training rows of a data set, and save it.

    From a recipe, or from options alone; an option wins over the recipe. Test rows are not touched: measure
    them with `edgehff eval MODEL --data NAME`.

    \b
    edgehff train --data digits --layers 32 --arith int8 -o digits.safetensors
    edgehff train models/digits/recipe.toml -o digits.safetensors
    """
    from edgehff.data.sources import load  # noqa: PLC0415 (help must not load numpy)
    from edgehff.data.split import holdout, train_test  # noqa: PLC0415
    from edgehff.errors import InputError  # noqa: PLC0415
    from edgehff.model import file  # noqa: PLC0415
    from edgehff.train.events import Trained  # noqa: PLC0415

    recipe = recipe_of(recipe_path, data, options)
    if not recipe.data:
        raise InputError("no data set is named", hint="edgehff train --data digits --layers 32 -o digits.safetensors")
    whole = load(recipe.data, notice=output.say)
    rows, held = whole.rows(train_test(whole)[0]), None
    if validation is not None:
        kept, out = holdout(rows, validation, recipe.seed)
        rows, held = rows.rows(kept), rows.rows(out)
    widths = " -> ".join(map(str, recipe.layers))
    output.say(f"{whole.name}: {len(rows)} samples, {whole.n_classes} classes; layers {widths}; {recipe.arith}; seed {recipe.seed}")
    epochs, done = _train(output, recipe, rows, held)
    assert isinstance(done, Trained)
    file.save(done.network, model)
    document = {
        "model": str(model),
        "data": whole.name,
        "samples": done.samples,
        "seconds": done.seconds,
        "samples_per_second": done.samples / max(done.seconds, 1e-9),
        "online_accuracy": epochs[-1].online,
        "validation_accuracy": epochs[-1].validation,
        "updates": epochs[-1].updates,
        "updates_all": [sum(e.updates[i] for e in epochs) / len(epochs) for i in range(len(recipe.layers))],
        "saturated": epochs[-1].saturated,
        "seed": recipe.seed,
        "weights_crc32": f"{done.network.weights_crc32:08x}",
        "state_crc32": f"{done.network.state_crc32:08x}",
        "recipe": recipe.to_dict(),
    }
    if output.json:
        output.print_document(document)
        return
    shares = ", ".join(f"{share:.0%}" for share in document["updates_all"])
    output.print_text(
        f"{document['samples']} samples in {done.seconds:.1f} s ({document['samples_per_second']:.0f} a second)\n"
        f"layers learned from {shares} of them; {epochs[-1].saturated:.2%} of the weights stand at the limit\n"
        f"wrote {model}  weights {document['weights_crc32']}"
    )
    output.say(f"next: edgehff eval {model} --data {recipe.data}")


def recipe_of(path: Path | None, data: str | None, options: dict[str, Any]) -> Recipe:
    """The recipe of a file with the options that were given in place of its own."""
    from edgehff import recipe as recipes  # noqa: PLC0415 (help must not load numpy)
    from edgehff.errors import RecipeError  # noqa: PLC0415

    table = (recipes.load(path) if path else recipes.Recipe()).to_dict()
    given = {name: value for name, value in options.items() if value is not None}
    if data is not None:
        given["data"] = data
    for name, kind in (("layers", int), ("features", str)):
        if name in given:
            try:
                given[name] = [kind(part) for part in given[name].split(",") if part]
            except ValueError as error:
                raise RecipeError(f"--{name} {given[name]}: {error}", hint=f"--{name} 128,64") from error
    if "gate" in given and given["gate"] != "off":
        try:
            given["gate"] = float(given["gate"])
        except ValueError as error:
            raise RecipeError(f"--gate {given['gate']} is no number", hint="--gate 0.3, or --gate off") from error
    for name in ("features", "segments", "log", "center", "standardize"):
        if name in given:
            table["encoder"][name] = given.pop(name)
    return recipes.from_dict(table | given, "options")


def _train(output: Output, recipe: Recipe, rows: Dataset, held: Dataset | None) -> tuple[list[EpochDone], object]:
    from edgehff.train.events import Advanced, EpochDone  # noqa: PLC0415 (help must not load numpy)
    from edgehff.train.local import train as run  # noqa: PLC0415

    epochs: list[EpochDone] = []
    last: object = None
    with output.progress(recipe.epochs * len(rows), "training") as bar:
        for last in run(recipe, rows, held):
            if isinstance(last, Advanced):
                bar.update(last.samples, online=f"{epochs[-1].online:.1%}" if epochs else "-")
            elif isinstance(last, EpochDone):
                epochs.append(last)
                checked = "" if last.validation is None else f"  validation {last.validation:.2%}"
                shares = ", ".join(f"{share:.0%}" for share in last.updates)
                output.say(f"pass {last.epoch:3d}  online {last.online:.2%}{checked}  learned from {shares}")
    return epochs, last
