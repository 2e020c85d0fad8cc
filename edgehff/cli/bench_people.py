"""`edgehff bench personalize` and `bench classes`: figures over people and over new classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgehff.cli.calibrate import false_alarms_option, score_option
from edgehff.cli.output import Output, common_options, last_of, pass_output

MOST_CLASSES = 20
"""Lines of a table; --json has all."""
_CLASS_COLUMNS = ("new", "before", "after", "drop", "flagged", "false_alarms")


@click.command()
@click.argument("recipe_path", metavar="RECIPE", type=click.Path(path_type=Path))
@click.option("--data", metavar="NAME|PATH", help="In place of the recipe's; with groups.")
@click.option("--folds", type=click.IntRange(0), default=5, show_default=True, help="0: each person is one.")
@click.option(
    "--own",
    type=click.IntRange(1),
    metavar="N",
    help="Samples of a person that are learned, all others are tested. Default: training and test rows, or"
    " the first 60 % and the last 30 % of each class.",
)
@click.option(
    "--factory", multiple=True, type=int, metavar="GROUP", help="Train on these groups alone; repeatable."
)
@click.option(
    "--memory", type=click.IntRange(0), metavar="BYTES", help="Of own samples, learned again. Default: 65536."
)
@click.option("--method", "methods", multiple=True, metavar="NAME", help="Of these alone; repeatable.")
@click.option(
    "--plot", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.png", help="Draw it; extra plot."
)
@click.option("--workers", type=int, help="Processes; default: one a core.")
@common_options
@pass_output
def personalize(
    output: Output,
    /,
    recipe_path: Path,
    data: str | None,
    factory: tuple[int, ...],
    methods: tuple[str, ...],
    plot: Path | None,
    workers: int | None,
    **options: Any,
) -> None:
    """Learn people whom RECIPE's network never saw: a session beside other ways, in equal bytes.

    Needs the extras torch and bench. What each way learns with is chosen on other people, fold by fold.
    """
    from edgehff import recipe as recipes
    from edgehff.bench import personalize as measured
    from edgehff.bench.methods import METHODS
    from edgehff.data.sources import load
    from edgehff.extras import require

    for package, extra in (("torch", "torch"), ("river", "bench")):
        require(package, extra)
    if plot is not None:
        require("matplotlib", "plot")
    recipe = recipes.load(recipe_path)
    whole = load(data or recipe.data, notice=output.say)
    p = measured.Protocol(
        n_folds=options["folds"],
        own=options["own"],
        factory=factory,
        memory_bytes=measured.MEMORY_BYTES if options["memory"] is None else options["memory"],
        methods=(measured.OURS, *(m for m in methods if m != measured.OURS)) if methods else tuple(METHODS),
    )
    total = p.n_folds or len(set([] if whole.group is None else whole.group.tolist()) - set(factory))
    found = last_of(output, measured.run(whole, recipe, p, workers), total, "folds of people")
    document = {"data": whole.name, "recipe": str(recipe_path), **options, **found}
    if plot is not None:
        from edgehff.report.people import write

        write(plot, document)
    if output.json:
        output.print_document(document)
        return
    print_people(output, document)
    if plot is not None:
        output.say(f"wrote {plot}")


def print_people(output: Output, document: dict[str, Any]) -> None:
    """A table for each order."""
    for order in ("shuffled", "recording"):
        output.table(
            f"{document['data']}: {document['people']} unseen people, {document['samples']:.0f} samples each,"
            f" {order}: accuracy %",
            ("", "before", "after", "95 % interval", "worst", "edgehff ahead by", "RAM"),
            [
                (
                    name,
                    f"{100 * m['before']:.1f}",
                    f"{100 * m[order]['mean']:.1f}",
                    _interval(m[order]["interval"]),
                    f"{100 * m[order]['worst']:.0f}",
                    "-" if "edgehff_minus_it" not in m[order] else _ahead(m[order]["edgehff_minus_it"]),
                    f"{m['ram_bytes']:,}",
                )
                for name, m in document["methods"].items()
            ],
        )
    output.table(
        "recording order, class by class, in points",
        ("", "ACC", "BWT", "forgetting"),
        [
            (name, *(f"{100 * m['continual'][key]:.1f}" for key in ("acc", "bwt", "forgetting")))
            for name, m in document["methods"].items()
        ],
    )
    output.table(
        "recording order, by bytes of memory: accuracy % (RAM)",
        ("memory", *(name for name, m in document["methods"].items() if m["budgets"])),
        [
            (f"{line[0]['memory_bytes']:,}", *(f"{100 * b['mean']:.1f} ({b['ram_bytes']:,})" for b in line))
            for line in zip(
                *(m["budgets"] for m in document["methods"].values() if m["budgets"]), strict=True
            )
        ],
    )


def _interval(interval: list[float]) -> str:
    low, high = interval
    return f"{100 * low:.1f} to {100 * high:.1f}"


def _ahead(spread: dict[str, Any]) -> str:
    low, high = spread["interval"]
    return f"{100 * spread['mean']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


@click.command()
@click.argument("recipe_path", metavar="RECIPE", type=click.Path(path_type=Path))
@click.option("--data", metavar="NAME|PATH", help="In place of the recipe's.")
@click.option("--by", type=click.Choice(["person", "split"]), default="person", show_default=True)
@click.option("--shots", type=click.IntRange(1), default=10, show_default=True, help="Of the new class.")
@click.option(
    "--own", type=click.IntRange(1), default=10, show_default=True, help="Of each old class, before."
)
@click.option(
    "--ways", type=click.IntRange(0), default=0, metavar="N", help="Old classes of one session; default: all."
)
@score_option
@false_alarms_option(5.5)
@click.option("--validation", is_flag=True, help="On what settings are chosen on.")
@click.option("--workers", type=int, help="Processes; default: one a core.")
@common_options
@pass_output
def classes(
    output: Output, /, recipe_path: Path, data: str | None, workers: int | None, **options: Any
) -> None:
    """A class that RECIPE's network never saw, each in turn: from a few samples, and unknown before."""
    from edgehff import recipe as recipes
    from edgehff.bench import classes as measured
    from edgehff.data.sources import load

    recipe = recipes.load(recipe_path)
    whole = load(data or recipe.data, notice=output.say)
    by_person = options.pop("by") == "person"
    if by_person and options["ways"]:
        raise click.UsageError("--ways goes with --by split: people have the classes that they have")
    asked = options.pop("false_alarms") / 100
    p = measured.Protocol(**options, false_alarms=asked)
    total = len(measured.plan(whole.n_classes, by_person, p))
    found = last_of(output, measured.run(whole, recipe, by_person, p, workers), total, "networks")
    document = {"data": whole.name, "recipe": str(recipe_path), **options, "asked": asked, **found}
    if output.json:
        output.print_document(document)
        return
    each = [line for line in found["per_class"] if len(line) > 1]
    output.table(
        f"{whole.name}: {found['cases']} cases, {p.shots} samples of the new class",
        ("new class", "on it", "old before", "old after", "drop", "flagged before", "false alarms"),
        [
            (line["class"], *(f"{100 * line[name]:.1f}" for name in _CLASS_COLUMNS))
            for line in [*each[:MOST_CLASSES], found | {"class": "mean"}]
        ],
    )
