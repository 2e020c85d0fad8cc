"""`edgehff device`: find a board, give it a model, stream samples to it, read back what it learned."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgehff.cli.output import Output, common_options, pass_output

if TYPE_CHECKING:
    from edgehff.data.dataset import Dataset
    from edgehff.model.network import Network
    from firmware_bridge.client import Device

BAUD = 115_200
F = TypeVar("F", bound=Callable[..., Any])


def port_options(command: F) -> F:
    """--port, --baud and --firmware: where the board is."""
    for option in (
        click.option("--firmware", type=click.Path(path_type=Path, exists=True, dir_okay=False),
                     help="For an emulated board: this ELF file instead of one built for MODEL."),
        click.option("--baud", type=click.IntRange(300, 10_000_000), default=BAUD, show_default=True,
                     help="Of a serial port."),
        click.option("--port", metavar="PATH|URL|emulator:BOARD",
                     help="A serial port, socket://HOST:PORT, or an emulated board; default: the only board "
                     "that answers."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.group()
def device() -> None:
    """Talk to a board that trains.

    \b
    edgehff device list
    edgehff device train MODEL --port /dev/ttyACM0
    edgehff device train --port emulator:microbit
    """


@device.command("list")
@click.option("--probe/--no-probe", default=True, show_default=True, help="Ask who is there, with HELLO.")
@click.option("--baud", type=click.IntRange(300, 10_000_000), default=BAUD, show_default=True)
@common_options
@pass_output
def list_(output: Output, probe: bool, baud: int) -> None:
    """List the serial ports, and what answers there."""
    from firmware_bridge import connect, transport

    found = []
    for port in transport.ports():
        asked = probe and bool(port.usb)
        answer = connect.probe(port, baud) if asked else connect.Found(port, None, "not asked")
        found.append(
            asdict(port) | {"firmware": answer.hello and answer.hello.name, "problem": answer.problem}
        )
    if output.json:
        output.print_document({"ports": found})
        return
    if not found:
        output.print_text("no serial port; emulated boards: edgehff firmware list")
        return
    output.table(
        "Serial ports",
        ("port", "usb", "board", "answer"),
        [
            (p["path"], p["usb"] or "-", ", ".join(p["boards"]) or "-", p["firmware"] or p["problem"])
            for p in found
        ],
    )


@device.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@port_options
@common_options
@pass_output
def hello(output: Output, model: Path | None, port: str | None, baud: int, firmware: Path | None) -> None:
    """Say what is on a board. MODEL is what an emulated one is built for."""
    from firmware_bridge.protocol import Has

    with _device(output, model, port, baud, firmware) as (board, _):
        said = board.hello
        document = asdict(said) | {"has": [str(flag.name).lower() for flag in Has if flag in said.has]}
    if output.json:
        output.print_document(document)
        return
    output.table("Board", ("field", "value"), [(k, ", ".join(v) if isinstance(v, list) else v)
                                               for k, v in document.items()])  # fmt: skip


@device.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option("--rates", type=click.Choice(["personal", "training"]), default="personal", show_default=True)
@port_options
@common_options
@pass_output
def push(
    output: Output, model: Path | None, rates: str, port: str | None, baud: int, firmware: Path | None
) -> None:
    """Put MODEL on a board, in place of the one there; what the board has saved stays saved."""
    from firmware_bridge.build import factory_blob

    with _device(output, model, port, baud, firmware) as (board, network):
        blob = factory_blob(network, personal=rates == "personal")
        started = time.perf_counter()
        board.push(blob)
        _, state = board.crc()
        document = {"bytes": len(blob), "seconds": time.perf_counter() - started, "steps": board.steps()}
        document |= {"state_crc32": f"{state:08x}"} | _line(board)
    if output.json:
        output.print_document(document)
        return
    output.print_text(f"pushed {len(blob):,} bytes; the board has state {state:08x}")
    _say_line(output, document)


@device.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option("--data", metavar="NAME|PATH", help="Default: what MODEL was trained on.")
@click.option("--group", type=int, help="Learn from this subject or speaker alone.")
@click.option("--order", type=click.Choice(["recording", "shuffled"]), default="recording", show_default=True)
@click.option("--epochs", type=click.IntRange(1), default=1, show_default=True, help="Passes over the rows.")
@click.option("--limit", type=click.IntRange(1), help="At most so many samples a pass.")
@click.option("--rates", type=click.Choice(["personal", "training"]), default="personal", show_default=True)
@click.option("--keep", is_flag=True, help="Go on from what is on the board instead of pushing MODEL.")
@click.option("--save", is_flag=True, help="Keep what was learned in the board's flash.")
@click.option(
    "-o", "--output", "target", type=click.Path(path_type=Path), help="Save the learned model here."
)
@port_options
@common_options
@pass_output
def train(
    output: Output,
    model: Path | None,
    data: str | None,
    group: int | None,
    order: str,
    epochs: int,
    limit: int | None,
    rates: str,
    keep: bool,
    save: bool,
    target: Path | None,
    port: str | None,
    baud: int,
    firmware: Path | None,
) -> None:
    """Stream samples to a board, which trains on each; prove it against the same steps on this machine.

    The board is tested on the test rows before and after. It sees raw samples: the encoder is in the model.
    MODEL is the newest one of this folder; where there is none, the bundled one for small boards learns a
    person it has not seen.
    """
    from edgehff.data.stream import samples
    from edgehff.model import file
    from firmware_bridge.build import factory_blob
    from firmware_bridge.twin import Tally, Twin

    with _device(output, model, port, baud, firmware) as (board, network):
        if model is None and group is None and data is None:
            group = _unseen(output, network)
        learn, test = _rows(output, network, data, group)
        if keep:
            twin = Twin(network, board.pull())
        else:
            blob = factory_blob(network, personal=rates == "personal")
            board.push(blob)
            twin = Twin(network, blob)
        before, online, after = Tally(), Tally(), Tally()
        pairs = [(raw, int(label)) for raw, label in zip(test.x, test.y, strict=True)]
        _run(output, twin.predict(board, pairs, before), len(pairs), "before")
        started = time.perf_counter()
        total = epochs * min(len(learn), limit or len(learn))

        def stream() -> Iterator[Any]:
            for epoch in range(epochs):
                chosen = samples(learn, "shuffled" if order == "shuffled" else "recording", epoch)
                yield from (pair for i, pair in enumerate(chosen) if limit is None or i < limit)

        _run(output, twin.train(board, stream(), online), total, "learning")
        seconds = time.perf_counter() - started
        _run(output, twin.predict(board, pairs, after), len(pairs), "after")
        state = twin.check(board, (before, online, after))
        document = {
            "model": str(model or "bundled"), "data": learn.name, "group": group, "order": order,
            "samples": online.samples, "seconds": seconds, "steps": board.steps(),
            "before": before.accuracy, "online_accuracy": online.accuracy, "accuracy": after.accuracy,
            "test_samples": len(pairs),
            "answers_compared": before.compared + online.compared + after.compared,
            "answers_equal": before.equal + online.equal + after.equal,
            "state_crc32": f"{state:08x}", "host_state_crc32": f"{twin.state_crc32:08x}",
            "saved": board.save() if save else None, "output": None if target is None else str(target),
        } | _line(board)  # fmt: skip
        if target is not None:
            file.save(twin.network(), target)
    if output.json:
        output.print_document(document)
        return
    who = f"{learn.name}, group {group}" if group is not None else learn.name
    output.print_text(
        f"{who}: before {before.accuracy or 0:.2%}, after {online.samples} samples {after.accuracy or 0:.2%} "
        f"(on {len(pairs)} test rows)"
    )
    output.print_text(
        f"board and host: {document['answers_equal']:,} of {document['answers_compared']:,} answers equal, "
        f"state {state:08x} on both"
    )
    output.say(
        f"{online.samples} samples in {seconds:.1f} s, {online.samples / max(seconds, 1e-9):.0f} a second"
    )
    _say_line(output, document)
    if target is not None:
        output.say(f"wrote {target}")


@device.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option("--data", metavar="NAME|PATH", help="Default: what MODEL was trained on.")
@click.option("--rows", type=click.Choice(["test", "train", "all"]), default="test", show_default=True)
@click.option("--group", type=int, help="Only this subject or speaker.")
@click.option("--limit", type=click.IntRange(1), help="At most so many samples.")
@port_options
@common_options
@pass_output
def predict(
    output: Output,
    model: Path | None,
    data: str | None,
    rows: str,
    group: int | None,
    limit: int | None,
    port: str | None,
    baud: int,
    firmware: Path | None,
) -> None:
    """Let the model on a board answer samples. MODEL says how samples and classes look; it is not pushed."""
    from edgehff.cli import eval as evaluation
    from edgehff.data.sources import load
    from firmware_bridge.twin import Tally, Twin

    with _device(output, model, port, baud, firmware) as (board, network):
        whole = load(evaluation.name_of_data(network, data), notice=output.say)
        evaluation.check_classes(network, whole)
        chosen = evaluation.choose_rows(whole, rows, group)
        pairs = [(raw, int(label)) for raw, label in zip(chosen.x, chosen.y, strict=True)][:limit]
        twin, tally = Twin(network, board.pull()), Tally()
        _run(output, twin.predict(board, pairs, tally), len(pairs), "answering")
        state = twin.check(board, (tally,))
        document = {"data": chosen.name, "rows": rows, "group": group, "samples": tally.samples,
                    "accuracy": tally.accuracy, "answers_equal": tally.equal,
                    "state_crc32": f"{state:08x}"} | _line(board)  # fmt: skip
    if output.json:
        output.print_document(document)
        return
    output.print_text(
        f"{tally.samples} samples: {tally.accuracy or 0:.2%}; {tally.equal} answers equal the host's"
    )
    _say_line(output, document)


@device.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), required=True,
              help="A model file; or the board's own bytes, where the name ends with .ehff.")  # fmt: skip
@port_options
@common_options
@pass_output
def pull(
    output: Output, model: Path | None, target: Path, port: str | None, baud: int, firmware: Path | None
) -> None:
    """Read back what the board has learned. MODEL is what it started from: names and recipe come from it."""
    from edgehff.model import file
    from firmware_bridge.twin import Twin

    with _device(output, model, port, baud, firmware) as (board, network):
        blob = board.pull()
        document = {"bytes": len(blob), "steps": board.steps(), "output": str(target)} | _line(board)
    if target.suffix == ".ehff":
        file.write_atomically(target, blob)
    else:
        file.save(Twin(network, blob).network(), target)
    if output.json:
        output.print_document(document)
        return
    output.print_text(f"pulled {len(blob):,} bytes after {document['steps']} steps; wrote {target}")


@device.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@port_options
@common_options
@pass_output
def stats(output: Output, model: Path | None, port: str | None, baud: int, firmware: Path | None) -> None:
    """Say what the model on a board has been through, layer by layer."""
    with _device(output, model, port, baud, firmware) as (board, network):
        weights, state = board.crc()
        layers = [asdict(board.stats(i)) for i in range(len(network.layers))]
        document = {"steps": board.steps(), "weights_crc32": f"{weights:08x}", "state_crc32": f"{state:08x}",
                    "layers": layers, "stack_used": board.hello.stack_used} | _line(board)  # fmt: skip
    if output.json:
        output.print_document(document)
        return
    output.print_text(f"{document['steps']} steps, weights {weights:08x}, state {state:08x}")
    output.table(
        "Layers",
        ("inputs", "outputs", "learned from", "weights at their limit"),
        [(s["n_in"], s["n_out"], s["updates"], s["saturated"]) for s in layers],
    )


@device.command()
@port_options
@common_options
@pass_output
def save(output: Output, port: str | None, baud: int, firmware: Path | None) -> None:
    """Keep what the board has learned in its flash: it starts with that from now on."""
    with _device(output, None, port, baud, firmware, needs_model=False) as (board, _):
        number = board.save()
        document = {"saved": number, "steps": board.steps()} | _line(board)
    if output.json:
        output.print_document(document)
        return
    output.print_text(f"saved, number {number}, after {document['steps']} steps")


@device.command()
@click.option("--factory", "which", flag_value="FACTORY", help="The model that the firmware was built with.")
@click.option("--before", "which", flag_value="BEFORE", help="The one saved before the newest.")
@click.option("--saved", "which", flag_value="SAVED", default="SAVED", help="The newest saved one. [default]")
@port_options
@common_options
@pass_output
def load(output: Output, which: str, port: str | None, baud: int, firmware: Path | None) -> None:
    """Go back to a saved state, or to the factory's model; `edgehff device save` makes that last."""
    from firmware_bridge.protocol import Which

    with _device(output, None, port, baud, firmware, needs_model=False) as (board, _):
        number = board.load(Which[which])
        document = {"loaded": which.lower(), "number": number, "steps": board.steps()} | _line(board)
    if output.json:
        output.print_document(document)
        return
    output.print_text(f"loaded the {which.lower()} model after {document['steps']} steps")


@contextmanager
def _device(
    output: Output,
    model: Path | None,
    port: str | None,
    baud: int,
    firmware: Path | None,
    *,
    needs_model: bool = True,
) -> Iterator[tuple[Device, Network]]:
    """A connected device, and the model that the command is about."""
    from firmware_bridge import connect

    network = _network(output, model) if needs_model else None
    if port is not None and port.startswith(connect.EMULATOR) and firmware is None:
        output.say(f"building firmware for {port.removeprefix(connect.EMULATOR)}")
    with connect.device_at(port, baud=baud, network=network, firmware=firmware) as board:
        yield board, network  # type: ignore[misc] # commands without a model do not look at it


def _network(output: Output, model: Path | None) -> Network:
    from edgehff.bench.journey import bundled
    from edgehff.errors import ModelFileError
    from edgehff.model import file

    if model is not None:
        return file.load(model)
    try:
        path = file.default_model(Path())
        output.say(f"the newest model here: {path}")
    except ModelFileError:
        path = bundled("emg-microbit/model.safetensors")
        output.say("no model here: the bundled one for small boards, emg-microbit")
    return file.load(path)


def _unseen(output: Output, network: Network) -> int | None:
    """The first person that the bundled model was not trained on."""
    from edgehff.bench.journey import unseen_people
    from edgehff.data.sources import load as load_data

    if network.recipe.data != "emg-gestures":
        return None
    person = unseen_people(load_data("emg-gestures"))[0]
    output.say(f"learning person {person}, whom the bundled model has not seen; --group N takes another")
    return person


def _rows(output: Output, network: Network, data: str | None, group: int | None) -> tuple[Dataset, Dataset]:
    from edgehff.cli import eval as evaluation
    from edgehff.data.sources import load as load_data

    whole = load_data(evaluation.name_of_data(network, data), notice=output.say)
    evaluation.check_classes(network, whole)
    return evaluation.choose_rows(whole, "train", group), evaluation.choose_rows(whole, "test", group)


def _run(output: Output, tallies: Iterator[Any], total: int, what: str) -> None:
    with output.progress(total, what) as bar:
        for tally in tallies:
            bar.update(right=f"{tally.accuracy:.1%}")


def _line(board: Device) -> dict[str, Any]:
    return asdict(board.line.counts)


def _say_line(output: Output, document: dict[str, Any]) -> None:
    output.say(
        f"line: {document['frames']:,} frames, {document['resent']} sent again, "
        f"{document['bytes_out']:,} bytes out, {document['bytes_in']:,} in, "
        f"{document['bad_replies']} broken, {document['restored']} boards restored"
    )
