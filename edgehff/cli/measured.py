"""The part of `edgehff footprint` that builds firmware and measures it in the emulator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgehff.cli.output import Output
from edgehff.errors import InputError
from edgehff.report.tables import Table

if TYPE_CHECKING:
    from edgehff.data.dataset import Dataset
    from edgehff.model.network import Network
    from firmware_bridge.boards import Board
    from firmware_bridge.measure import Measurement

HOST = "host_pty"
_RAM_TEXT = {
    "arena": "arena: network, encoder's table, sample",
    "frame": "one frame of the link",
    "ring": "ring of received bytes",
    "link": "state of the link",
    "port": "the board's own files",
    "padding": "padding",
}
_FLASH_TEXT = {"program": "program and its constants", "factory_model": "model to start from"}
_PROFILED = 20
FIRST = 200


def measured(
    output: Output,
    model: Path | None,
    name: str,
    data: str | None,
    *,
    profile: bool,
    lean: bool,
    optimize: str,
    training: bool,
) -> tuple[dict[str, Any], Measurement, Board]:
    """Measure a model's firmware: what the document says of the source, the figures, and the board.

    training: the document has "training" too: a whole training on the board, from the start.

    Raises:
        InputError: there is no firmware for this board, or its data has other classes than the model.
    """
    from edgehff.cli.eval import check_classes, name_of_data
    from edgehff.data.sources import load
    from edgehff.model import file
    from firmware_bridge.boards import boards
    from firmware_bridge.measure import measure

    if name not in boards():
        raise InputError(f"there is no firmware for {name}", hint=f"one of {', '.join(boards())}")
    path = model or file.default_model(Path())
    if model is None:
        output.say(f"the newest model here: {path}")
    network = file.load(path)
    rows = load(name_of_data(network, data), notice=output.say)
    check_classes(network, rows)
    board = boards()[name]
    source = {
        "model": str(path),
        "weights_crc32": f"{network.weights_crc32:08x}",
        "dims": list(network.config.dims),
        "n_classes": network.config.n_classes,
        "arith": network.config.arith,
        "data": rows.name,
    }
    changes: dict[str, Any] = {"lean": lean, "optimize": optimize}
    found = measure(board, network, rows, profile=profile, **changes)
    if training:
        source["training"] = _whole_training(output, board, network, rows, changes)
    return source, found, board


def _whole_training(
    output: Output, board: Board, network: Network, rows: Dataset, changes: dict[str, Any]
) -> dict[str, Any]:
    from edgehff.data.split import train_test
    from edgehff.train.metrics import accuracy
    from firmware_bridge.measure import train_profile

    learn, test = (rows.rows(at) for at in train_test(rows))
    passes = network.recipe.epochs
    output.say(f"training {passes} passes over {len(learn)} samples on {board.name}: this takes minutes")
    counts, learned = train_profile(board, network, learn, passes, **changes)
    first = counts.calls[:FIRST]
    return {
        **counts.to_dict(),
        "first_mean": round(sum(first) / len(first), 1),
        "accuracy": accuracy(learned.to_core().predict(learned.encode(test.x)), test.y),
        "test_samples": len(test),
        "weights_crc32": f"{learned.weights_crc32:08x}",
    }


def training_table(training: dict[str, Any]) -> Table:
    """A whole training as a table."""
    rows = (
        (f"mean of the first {FIRST} steps", f"{training['first_mean']:,.0f}"),
        (f"mean of all {training['calls']:,} steps", f"{training['mean']:,.0f}"),
        ("largest step", f"{training['largest']:,}"),
        (f"accuracy on {training['test_samples']} test rows", f"{training['accuracy']:.2%}"),
        ("weights_crc32", training["weights_crc32"]),
    )
    return Table("Executed instructions of a training from the start", ("", ""), rows)


def tables(found: Measurement) -> list[Table]:
    """RAM, flash, instructions; the profile where there is one."""
    static = [
        (_RAM_TEXT[part], f"{found.predicted[part]:,}", f"{found.static[part]:,}") for part in found.predicted
    ]
    sums = (sum(found.predicted.values()), sum(found.static.values()))
    ram = [*static, ("static RAM", f"{sums[0]:,}", f"{sums[1]:,}")]
    if found.bound is not None:
        ram.append(("stack: a bound", "-", f"{found.bound.bytes:,}"))
        ram.append(("together", "-", f"{sum(found.ram.values()):,}"))
        ram.append(("stack: the most it took", "-", f"{found.painted:,}"))
    flash = [(_FLASH_TEXT[part], f"{size:,}") for part, size in found.flash.items()]
    made = [
        Table(f"RAM on {found.board}", ("part", "predicted", "measured"), tuple(ram)),
        Table("Flash", ("part", "bytes"), (*flash, ("together", f"{sum(found.flash.values()):,}"))),
    ]
    counted = {
        "training step": found.train,
        "training step, every layer learns": found.learn,
        "prediction": found.predict,
    }
    lines = [
        (name, f"{n.mean:,.0f}", f"{n.largest:,}", f"{n.calls[0]:,}", f"{len(n.calls):,}")
        for name, n in counted.items()
        if n is not None
    ]
    if lines:
        made.append(Table("Executed instructions", ("", "mean", "largest", "first", "calls"), tuple(lines)))
    if found.profile:
        profile = [
            (line.name, f"{line.calls:,}", f"{line.inclusive:,}", f"{line.exclusive:,}")
            for line in found.profile[:_PROFILED]
        ]
        columns = ("function", "calls", "with what it calls", "alone")
        made.append(Table("Instructions by function, of all these calls", columns, tuple(profile)))
    return made


def notes(found: Measurement) -> list[str]:
    """How the figures came about, as sentences."""
    said = [f"Compiled with {' '.join(found.flags)}."]
    if found.bound is None:
        said.append(
            "host_pty is a process of this machine: no stack and no instructions are measured for it,"
        )
        said.append("and its static RAM holds what the C library brings.")
    else:
        chain = " > ".join(f"{name} {own}" for name, own in found.bound.chain)
        said.append(
            f"The deepest chain of calls: {chain}; {found.bound.interrupt_bytes} more for an interrupt."
        )
    if found.constants_in_ram:
        said.append(f"Constants that stand in RAM and flash both: {', '.join(found.constants_in_ram)}.")
    return said
