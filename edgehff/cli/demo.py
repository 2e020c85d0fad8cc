"""`edgehff demo`: a network trained on other people learns unseen ones, in integers, sample by sample."""

from __future__ import annotations

import click

from edgehff.cli.bench import measure_personalize, print_personalize
from edgehff.cli.output import Output, common_options, pass_output


@click.command()
@click.option("--workers", type=int, help="Processes; default: one a core.")
@common_options
@pass_output
def demo(output: Output, workers: int | None) -> None:
    """Train on other people's muscle signals, then learn an unseen person's gestures in one pass.

    Bundled data: an armband of eight muscle sensors, six gestures, two series a person. Integers only, no
    torch. The table says, over all people, how well their second series is recognized before and after the
    network learned their first, each sample once.
    """
    from edgehff.data.sources import load

    output.say("Learning unseen people, one sample at a time, in integers.")
    output.say("Each network (128 and 64 units) is trained from scratch on the other people of its fold.")
    document = measure_personalize(output, load("emg-gestures"), workers)
    if output.json:
        output.print_document(document)
        return
    print_personalize(output, document)
    before, after = (document["results"][f"int16_{name}"]["mean"] for name in ("before", "recording"))
    output.say(
        f"One pass took the mean person from {before:.1%} to {after:.1%}, in recording order, in int16."
    )
    output.say("next: edgehff train --help, docs/tutorials/first-model.md")
