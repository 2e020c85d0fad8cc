"""`edgehff personalize`: a model learns from one person's samples, one at a time, and can be left running."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgehff.cli import eval as evaluation
from edgehff.cli.output import Output, common_options, pass_output

if TYPE_CHECKING:
    from edgehff.data.dataset import Dataset
    from edgehff.personalize.live import Live
    from edgehff.personalize.run import Event, Tally
    from edgehff.personalize.session import PersonalSession
    from edgehff.personalize.sources import Came
    from edgehff.personalize.watchdog import Watchdog
    from edgehff.recipe import Recipe

SOURCES = ("data", "stream", "watch", "serial", "camera", "microphone")
"""Options that name where samples come from."""
MAX_TOLD = 5
"""Refusals that are told one by one; the rest are counted."""
MIN_TOKEN = 16
"""Characters of the token of a page."""


@click.command()
@click.argument("model", type=click.Path(path_type=Path), required=False)
@click.option("--data", metavar="NAME|PATH|-", help="A data set, or - for a sample a line on stdin.")
@click.option("--group", type=int, help="Learn from this subject or speaker of the data set alone.")
@click.option("--order", type=click.Choice(["recording", "shuffled"]), default="recording", show_default=True)
@click.option("--stream", type=click.Path(path_type=Path), help="Read samples from a file or a pipe.")
@click.option("--watch", type=click.Path(path_type=Path), help="Read the files that are put into a folder.")
@click.option("--serial", metavar="PORT", help="Read samples that a board writes on a serial line.")
@click.option("--camera", metavar="DEVICE", help="Pictures of a camera (0), or a video file; extra camera.")
@click.option(
    "--microphone", metavar="DEVICE", help='Windows of raw sound; "" for the system\'s; extra microphone.'
)
@click.option("--rate", type=click.IntRange(1), default=16000, show_default=True, help="Of a microphone, Hz.")
@click.option("--prompt", is_flag=True, help="A class typed on stdin is the label of the next ten samples.")
@click.option("--baud", type=click.IntRange(1), default=115200, show_default=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "binary"]),
    help="Of a stream; default: by its name, or text.",
)
@click.option("--answers", type=click.Choice(["names", "jsonl"]), default="names", show_default=True)
@click.option("--new-classes", is_flag=True, help="A label that is no class yet becomes one.")
@click.option("--idle", type=click.FloatRange(0), metavar="SECONDS", help="Stop where nothing comes so long.")
@click.option("--store", type=click.Path(path_type=Path), help="Keep what is learned in this folder.")
@click.option("--journal", type=click.IntRange(1), metavar="MIB", help="Bound of the store's journal; 64.")
@click.option(
    "--memory",
    type=click.IntRange(0),
    metavar="KIB",
    help="Samples kept to be learned again; 256 of a store.",
)
@click.option(
    "--guard", is_flag=True, help="Hold some samples back, and undo learning that answers them worse."
)
@click.option("--forget", metavar="CLASS", help="Answer this class no more, and do nothing else.")
@click.option("--exact", is_flag=True, help="With --forget: be as if its samples had never come.")
@click.option("--web", type=click.IntRange(0, 65535), metavar="PORT", help="Serve a page about a stream.")
@click.option("--web-host", metavar="ADDRESS", help="Serve it there, to those with the token; 127.0.0.1.")
@click.option(
    "--web-token", envvar="EDGEHFF_WEB_TOKEN", metavar="TEXT", help="Its token; default: a random one."
)
@click.option("--lr", type=float, help="Rate of the weights; default: the model's personal_lr.")
@click.option("--lr-prototypes", type=float, help="Rate of the prototypes; default: personal_lr_prototypes.")
@click.option(
    "-o", "--output", "target", type=click.Path(path_type=Path), help="Save the personal model here."
)
@common_options
@pass_output
def personalize(output: Output, /, model: Path | None, store: Path | None, **options: Any) -> None:
    """Let MODEL learn from a stream, one sample at a time, each once.

    From a data set it learns the training rows and is tested on the test rows, before and after. A stream
    (stdin, --stream, --watch, --serial) has a sample a line: v1,...,vn,label or {"x": [...], "label": ...,
    "id": ...}; --camera and --microphone give samples without labels. A line without a label is answered, not
    learned; {"id": ..., "label": ...} labels it later. What cannot be used is counted and passed over.

    MODEL itself is not changed. --store keeps what was learned through power loss, and goes on from there;
    then MODEL may be left out. -o saves a model file.
    """
    from edgehff.model import file

    with _session(model, store, options) as session:
        if options["forget"] is not None:
            session.forget_class(options["forget"], exact=options["exact"])
            document: dict[str, Any] = {"forgotten": options["forget"], "exact": options["exact"]}
        else:
            document = {"model": None if model is None else str(model)} | _learn(output, session, options)
        personal = session.network()
        document |= {k: v for k, v in session.metrics().items() if k in ("state_crc32", "events")}
    target = options["target"]
    if target is not None:
        file.save(personal, target)
    document |= {
        "steps": personal.step,
        "weights_crc32": f"{personal.weights_crc32:08x}",
        "output": None if target is None else str(target),
        "store": None if store is None else str(store),
    }
    if output.json:
        output.print_document(document)
        return
    if "before" in document:
        output.print_text(
            f"before {document['before']:.2%}, "
            f"after {document['samples']} samples {document['accuracy']:.2%} "
            f"(on {document['test_samples']} test rows)"
        )
    kept = [f"wrote {target}"] if target else []
    kept += [f"kept in {store}"] if store else []
    what = f"forgot {options['forget']}" if options["forget"] else f"learned {document['samples']} samples"
    output.say(f"{what}; " + (", ".join(kept) or "not saved: add --store FOLDER or -o FILE"))


def _session(model: Path | None, store: Path | None, options: dict[str, Any]) -> PersonalSession:
    """The session of a model, of a store, or of both."""
    from edgehff.model import file
    from edgehff.personalize.session import PersonalSession

    if model is None and store is None:
        raise click.UsageError("name a MODEL, or a --store that is there")
    if options["exact"] and options["forget"] is None:
        raise click.UsageError("--exact goes with --forget CLASS")
    network = None if model is None else file.load(model)
    changes = {"personal_lr": options["lr"], "personal_lr_prototypes": options["lr_prototypes"]}
    changes = {k: v for k, v in changes.items() if v is not None}
    if network is None and changes:
        raise click.UsageError("rates belong to a new store: name its MODEL too")
    recipe: Recipe | None = network.recipe.replace(**changes) if network is not None and changes else None
    memory_bytes = None if options["memory"] is None else options["memory"] << 10
    guard = options["guard"] or None
    if store is None:
        assert network is not None
        return PersonalSession(network, recipe, memory_bytes=memory_bytes, guard=guard)
    journal_bytes = None if options["journal"] is None else options["journal"] << 20
    return PersonalSession.open(store, network, recipe, journal_bytes, memory_bytes=memory_bytes, guard=guard)


def _learn(output: Output, session: PersonalSession, options: dict[str, Any]) -> dict[str, Any]:
    """Learn from what the options name; returns what was measured."""
    data = options["data"]
    given = [k for k in SOURCES if options[k] is not None]
    if len(given) > 1:
        raise click.UsageError(f"--{given[0]} and --{given[1]} name two sources; take one")
    if options["web"] is None and options["web_host"] is not None:
        raise click.UsageError("--web-host goes with --web PORT")
    if options["prompt"] and data == "-":
        raise click.UsageError("--prompt reads stdin: take samples from elsewhere")
    if data == "-" or given not in ([], ["data"]):
        return {"data": data or str(options[given[0]])} | _from_stream(output, session, options)
    if options["web"] is not None:
        raise click.UsageError(f"--web goes with a stream: --data -, or --{', --'.join(SOURCES[1:])}")
    if options["prompt"]:
        raise click.UsageError("--prompt goes with a stream that is not stdin")
    return _from_data(output, session, options)


def _from_data(output: Output, session: PersonalSession, options: dict[str, Any]) -> dict[str, Any]:
    """Learn a data set's training rows; tested on its test rows before and after."""
    from edgehff.data.sources import load
    from edgehff.data.stream import samples
    from edgehff.train.metrics import accuracy

    network = session.network()
    name = evaluation.name_of_data(network, options["data"])
    whole = load(name, notice=output.say)
    evaluation.check_classes(network, whole)
    first: Dataset = evaluation.choose_rows(whole, "train", options["group"])
    second = evaluation.choose_rows(whole, "test", options["group"])
    before = accuracy(session.predict(second.x), second.y)
    right = 0
    with output.progress(len(first), "learning") as bar:
        for sample, label in samples(first, options["order"], network.recipe.seed):
            right += session.learn_one(sample, label) == label
            bar.update()
    return {
        "data": options["data"] or network.recipe.data,
        "before": before,
        "samples": len(first),
        "online_accuracy": right / len(first),
        "order": options["order"],
        "group": options["group"],
        "accuracy": accuracy(session.predict(second.x), second.y),
        "test_samples": len(second),
    }


def _from_stream(output: Output, session: PersonalSession, options: dict[str, Any]) -> dict[str, Any]:
    """Learn what has a label, answer the rest, until the stream ends or is interrupted."""
    from edgehff.errors import DataError
    from edgehff.personalize.run import Tally, run
    from edgehff.personalize.watchdog import Watchdog

    tally = Tally()
    first_reason = ""
    with (
        _page(output, session, options) as live,
        output.progress(None, "learning") as bar,
        _until_signaled() as ended,
    ):
        watchdog = Watchdog()
        watchdog.ready()
        watched = _watched(_stream(session, options), watchdog, tally)
        came: Iterable[Came] = takewhile(lambda _: not ended, watched)
        came = came if live is None else live.merged(came)
        for event in run(session, came, new_classes=options["new_classes"], idle_s=options["idle"]):
            tally.count(event)
            if live is not None:
                live.take(event)
            reason = _told(output, session, event, tally, options["answers"])
            first_reason = first_reason or reason
            bar.update()
    n_refused = sum(tally.refused.values())
    if n_refused and not tally.learned and not tally.answered:
        raise DataError(
            f"nothing in the stream could be used: {n_refused} refused; {first_reason}",
            hint='give one sample a line: v1,...,vn,label or {"x": [...], "label": 3}',
        )
    if n_refused > MAX_TOLD:
        output.say(f"{n_refused} refused in all: {dict(tally.refused)}")
    if signal.SIGINT in ended:
        session.close()
        raise KeyboardInterrupt
    return tally.to_dict()


def _told(output: Output, session: PersonalSession, event: Event, tally: Tally, answers: str) -> str:
    """Print what an event is worth; returns the reason of a refusal, "" for others."""
    import json

    from edgehff.personalize.run import Answered, Learned, Refused, Saved

    line: dict[str, Any] = {}
    reason = ""
    if isinstance(event, Refused):
        reason = f"{event.where}: {event.reason}"
        if sum(tally.refused.values()) <= MAX_TOLD:
            output.say(f"passed over {reason}")
        line = {"refused": event.kind, "where": event.where, "reason": event.reason}
    elif isinstance(event, Answered):
        answer = event.answer
        line = {"id": event.sample_id, "answer": session.name_of(answer.label)}
        if answer.familiarity is not None:
            line |= {"unknown": answer.unknown, "familiarity": round(answer.familiarity, 4)}
    elif isinstance(event, Learned):
        names = {"learned": session.name_of(event.label), "answer": session.name_of(event.answer)}
        line = {"id": event.sample_id, **names}
    elif isinstance(event, Saved):
        line = {"saved": event.events}
    if answers == "jsonl" and not output.json:
        output.print_text(json.dumps({k: v for k, v in line.items() if v is not None}))
        sys.stdout.flush()
    elif isinstance(event, Answered) and not output.json:
        output.print_text("unknown" if event.answer.unknown else line["answer"])
        sys.stdout.flush()
    return reason


def _watched(stream: Iterator[Came], watchdog: Watchdog, tally: Tally) -> Iterator[Came]:
    for came in stream:
        watchdog.alive(f"{tally.learned} learned, {tally.answered} answered")
        yield came


def _stream(session: PersonalSession, options: dict[str, Any]) -> Iterator[Came]:
    """The stream that the options name."""
    import numpy as np

    from edgehff.personalize import sensors, sources

    if options["prompt"]:
        return sensors.prompted(_stream(session, options | {"prompt": False}), sensors.typed())
    if options["camera"] is not None:
        return sensors.pictures(options["camera"], session.sample_shape)
    if options["microphone"] is not None:
        rate, name = options["rate"], options["microphone"]
        return sensors.sounds(name, rate, session.sample_width, session.sample_dtype)
    width, dtype = session.sample_width, np.dtype(session.sample_dtype)
    if options["watch"] is not None:
        return sources.folder(options["watch"], sources.by_suffix(width, dtype))
    form = options["form"]
    if options["serial"] is not None:
        source: sources.ByteSource = sources.SerialPort(options["serial"], options["baud"])
    elif options["stream"] is not None and str(options["stream"]) != "-":
        source = sources.Descriptor.open(options["stream"])
        form = form or ("binary" if options["stream"].suffix == ".bin" else "text")
    else:
        source = sources.Descriptor(sys.stdin.fileno())
    return sources.parser(form or "text", width, dtype)(source)


@contextmanager
def _page(output: Output, session: PersonalSession, options: dict[str, Any]) -> Iterator[Live | None]:
    """Serve a page about the session for the time of a stream, where --web asks for it."""
    if options["web"] is None:
        yield None
        return
    from edgehff.extras import require

    require("bottle", "web")
    require("waitress", "web")
    from edgehff.personalize.live import Live
    from edgehff.web.server import LOOPBACK, Server

    token = options["web_token"]
    if token is not None and len(token) < MIN_TOKEN:
        raise click.UsageError(f"a token has {MIN_TOKEN} characters at least")
    live = Live(session, new_classes=options["new_classes"])
    with Server(live, options["web_host"] or LOOPBACK, options["web"], token) as server:
        output.say(f"page: {server.url}")
        yield live


@contextmanager
def _until_signaled() -> Iterator[list[int]]:
    """SIGTERM and the first SIGINT end a stream between two samples; gives the list of what came."""
    came: list[int] = []

    def note(number: int, _: object) -> None:
        if number in came and number == signal.SIGINT:
            raise KeyboardInterrupt
        came.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
