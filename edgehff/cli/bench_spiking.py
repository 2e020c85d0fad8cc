"""`edgehff bench spiking`: a spiking recipe by folds."""

from __future__ import annotations

from pathlib import Path

import click

from edgehff.cli.output import Output, common_options, last_of, pass_output


@click.command("spiking")
@click.argument("recipe_path", metavar="RECIPE", type=click.Path(path_type=Path))
@click.option("--data", metavar="NAME|PATH", help="In place of the recipe's.")
@click.option("--folds", type=click.IntRange(2), default=5, show_default=True)
@click.option(
    "--by",
    type=click.Choice(["row", "person"]),
    default="row",
    show_default=True,
    help="What is held out together.",
)
@common_options
@pass_output
def spiking(output: Output, recipe_path: Path, data: str | None, folds: int, by: str) -> None:
    """RECIPE's spiking network, trained and tested by folds: accuracy, steps and operations."""
    from edgehff import recipe as recipes
    from edgehff.bench import spiking as measured
    from edgehff.data.sources import load
    from edgehff.extras import require

    require("torch", "spiking")
    require("snntorch", "spiking")
    recipe = recipes.load(recipe_path)
    whole = load(data or recipe.data, notice=output.say)
    events = measured.run(recipe, whole, folds, by == "person")
    document = last_of(output, events, folds * recipe.pretrain.epochs + 1, "passes")
    if output.json:
        output.print_document(document)
        return
    output.table(
        f"{whole.name}, {document['layers']}, {folds} folds by {by}",
        ("fold", "samples", "accuracy", "steps", "operations a sample", "slots that spike"),
        [
            (
                i + 1,
                line["samples"],
                f"{line['accuracy']:.2%}",
                f"{line['steps']:.2f}",
                f"{line['work']:,.0f}",
                ", ".join(f"{rate:.1%}" for rate in line["rates"]),
            )
            for i, line in enumerate(document["folds"])
        ],
    )
    output.print_text(
        f"{document['accuracy']:.2%} in the mean of the folds, their deviation {document['deviation']:.2%}"
    )
