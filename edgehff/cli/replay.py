"""`edgehff replay`: a store's state made again from its journal."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from edgehff.cli.output import Output, common_options, pass_output


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), help="Save the model there.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.png",
    help="Draw how each class drifted; needs the extra plot.",
)
@common_options
@pass_output
def replay(output: Output, store: Path, target: Path | None, plot: Path | None) -> None:
    """Make what STORE has learned again, event by event, and hold it against what it kept.

    Nothing in STORE is changed. Ends with 7 where the two differ.
    """
    from edgehff.extras import require
    from edgehff.model import file
    from edgehff.personalize import replay as audit
    from edgehff.personalize.drift import ALARM

    if plot is not None:
        require("matplotlib", "plot")
    drifts: audit.Drifts = {}
    proved: list[dict[str, Any]] = []
    end: audit.Replayed | None = None
    with output.progress(None, "replaying") as bar:
        for step in audit.replay(store, None if plot is None else partial(audit.follow, drifts)):
            if isinstance(step, audit.Proved):
                proved.append(
                    {"file": step.file, "events": step.events, "state_crc32": f"{step.state_crc32:08x}"}
                )
            elif isinstance(step, audit.Replayed):
                end = step
            else:
                bar.update()
    assert end is not None
    if target is not None:
        file.save(end.learner.network(), target)
    if plot is not None:
        from edgehff.report.drift import write

        write(plot, drifts, ALARM / 65536)
    document = {
        "store": str(store),
        "first_event": end.first_event,
        "events": end.place.sequence,
        "samples": sum(end.learner.learned),
        "state_crc32": f"{end.learner.state_crc32:08x}",
        "proved": proved,
        "trailing_bytes": end.trailing_bytes,
        "output": None if target is None else str(target),
        "plot": None if plot is None else str(plot),
    }
    if output.json:
        output.print_document(document)
        return
    for step_document in proved:
        output.print_text(
            "{file}: {state_crc32} after {events} events, as it was kept".format(**step_document)
        )
    begins = "the factory's model" if end.first_event == 0 else f"the state after {end.first_event} events"
    output.print_text(
        f"now: {document['state_crc32']} after {end.place.sequence} events, made again from {begins}"
    )
    if plot is not None:
        output.say(f"wrote {plot}")
    if end.trailing_bytes:
        output.say(f"{end.trailing_bytes} bytes behind the last whole record are left out")
