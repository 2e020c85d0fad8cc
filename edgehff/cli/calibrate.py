"""`edgehff calibrate`: when a model's answer is unknown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from edgehff.cli import eval as evaluation
from edgehff.cli.output import Output, common_options, pass_output

score_option = click.option(
    "--score",
    type=click.Choice(["nearest", "answer"]),
    default="nearest",
    show_default=True,
    help="nearest: to samples that a session keeps; answer: how sure the answer is.",
)


def false_alarms_option(default: float) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """--false-alarms, in percent of the rows that a threshold is found on."""
    return click.option(
        "--false-alarms",
        type=click.FloatRange(0, 50, min_open=True),
        default=default,
        show_default=True,
        metavar="PERCENT",
        help="Known samples that may be called unknown.",
    )


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", "target", required=True, type=click.Path(path_type=Path), help="Model file to write."
)
@click.option("--data", metavar="NAME|PATH", help="Default: what the model was trained on.")
@score_option
@false_alarms_option(6.0)
@click.option(
    "--samples",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Of each class, that a session has learned.",
)
@common_options
@pass_output
def calibrate(
    output: Output, model: Path, target: Path, data: str | None, score: str, false_alarms: float, samples: int
) -> None:
    """Find when MODEL is to answer "unknown", and write it with that.

    Each person of the data begins a session and gives a few training rows of each class; the threshold is
    where so many of their test rows would be called unknown. Take rows that the model is not judged by later.
    """
    from edgehff.data.sources import load
    from edgehff.model import file
    from edgehff.personalize.calibrate import calibrate as find

    network = file.load(model)
    whole = load(evaluation.name_of_data(network, data), notice=output.say)
    evaluation.check_classes(network, whole)
    found = find(network, whole, score, false_alarms / 100, samples)
    file.save(found.network, target)
    document = {
        "model": str(model),
        "data": whole.name,
        "score": score,
        "threshold": found.network.recipe.unknown.threshold,
        "false_alarms": false_alarms / 100,
        "people": found.n_people,
        "samples": found.n_rows,
        "output": str(target),
    }
    if output.json:
        output.print_document(document)
        return
    output.print_text(
        f"unknown below {document['threshold']:.4f} ({score}): {false_alarms:g} % of "
        f"{found.n_rows} test rows of {found.n_people} people"
    )
    output.say(f"wrote {target}")
