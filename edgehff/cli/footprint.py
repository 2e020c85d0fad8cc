"""`edgehff footprint`: what a network takes in RAM and flash, and whether that fits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgehff.cli import measured as measured_part
from edgehff.cli.measured import HOST
from edgehff.cli.output import Output, common_options, pass_output
from edgehff.errors import CheckFailed
from edgehff.report.boards import BOARDS

if TYPE_CHECKING:
    from edgehff.model.encoding import Encoding
    from edgehff.recipe import CoreConfig
    from edgehff.report.footprint import Footprint
    from firmware_bridge.measure import Measurement


_UNITS = {"": 1, "k": 1024, "m": 1024 * 1024}


def _size(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Bytes as people write them: 16384, 16k, 16KiB, 1.5M; k is 1,024. A usage error where it is no size."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)\s*(?:([km])i?)?b?", value.strip().lower())
    if found is None:
        raise click.BadParameter(f"{value!r} is no size; write 16384, 16k or 1.5M", ctx, param)
    return int(float(found[1]) * _UNITS[found[2] or ""])


@click.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option("--layers", metavar="128,64", help="Widths of a network that need not exist, instead of MODEL.")
@click.option("--inputs", type=click.IntRange(1, 65536), help="With --layers: uint8 values of one sample.")
@click.option("--classes", type=click.IntRange(2, 1024), help="With --layers: number of classes.")
@click.option(
    "--arith", type=click.Choice(["int8", "int16"]), help="With --layers: how weights are kept [int16]."
)
@click.option(
    "--board",
    type=click.Choice([*BOARDS, HOST]),
    help="Take this board's memory as the budgets.",
)
@click.option(
    "--budget-ram", callback=_size, metavar="SIZE", help="Fail where RAM exceeds this, such as 16k."
)
@click.option(
    "--budget-flash", callback=_size, metavar="SIZE", help="Fail where flash exceeds this, such as 64k."
)
@click.option("--measured", is_flag=True, help="Build MODEL's firmware for --board, and measure it emulated.")
@click.option("--data", metavar="NAME|PATH", help="With --measured: other rows than those of its data set.")
@click.option("--lean", is_flag=True, help="With --measured: the smallest firmware that trains this model.")
@click.option(
    "--optimize", type=click.Choice(["size", "speed"]), default="size", help="With --measured. [size]"
)
@click.option(
    "--training", is_flag=True, help="With --measured: a whole training on the board too (minutes)."
)
@click.option("--profile", is_flag=True, help="With --measured: instructions by function too.")
@click.option("--markdown", is_flag=True, help="Print Markdown tables.")
@common_options
@pass_output
def footprint(
    output: Output,
    model: Path | None,
    board: str | None,
    budget_ram: int | None,
    budget_flash: int | None,
    measured: bool,
    data: str | None,
    lean: bool,
    optimize: str,
    training: bool,
    profile: bool,
    markdown: bool,
    layers: str | None,
    inputs: int | None,
    classes: int | None,
    arith: str | None,
) -> None:
    """Say what MODEL takes in RAM and flash while it learns, beside the same network under backpropagation.

    MODEL is the newest model of this folder unless named. Over a budget, the exit code is 7.

    \b
    edgehff footprint digits.safetensors --board microbit
    edgehff footprint digits.safetensors --board microbit --measured
    edgehff footprint --layers 32 --inputs 64 --classes 10 --arith int8 --budget-ram 16k
    """
    from edgehff.report import footprint as report  # help must not load numpy
    from edgehff.report.tables import markdown as as_markdown

    sizes = {"layers": layers, "inputs": inputs, "classes": classes, "arith": arith}
    given = {
        "--data": data,
        "--lean": lean,
        "--training": training,
        "--profile": profile,
        HOST: board == HOST,
    }
    if not measured and any(given.values()):
        raise click.UsageError(f"{next(k for k, v in given.items() if v)} goes with --measured")
    if measured and (board is None or any(value is not None for value in sizes.values())):
        raise click.UsageError("--measured needs --board and a MODEL to build firmware for")
    found: Footprint | Measurement
    memory: tuple[str, int, int] | None = None
    if measured:
        source, measurement, firmware = measured_part.measured(
            output, model, str(board), data, profile=profile, lean=lean, optimize=optimize, training=training
        )
        found, memory = measurement, (firmware.chip, firmware.ram_bytes, firmware.flash_bytes)
        document = source | measurement.to_dict()
        tables, notes = measured_part.tables(measurement), measured_part.notes(measurement)
        if training:
            tables.append(measured_part.training_table(source["training"]))
    else:
        source, config, encoding = _network(output, model, sizes)
        found = predicted = report.footprint(config, encoding)
        document = source | predicted.to_dict() | {"board": board}
        tables, notes = predicted.tables(), predicted.notes()
        if board is not None:
            known = BOARDS[board]
            memory = (known.chip, known.ram_bytes, known.flash_bytes)
    if memory is not None:
        budget_ram = memory[1] if budget_ram is None else budget_ram
        budget_flash = memory[2] if budget_flash is None else budget_flash
    over = report.exceeded(found, budget_ram, budget_flash)
    if output.json:
        budgets = {"ram_bytes": budget_ram, "flash_bytes": budget_flash}
        output.print_document(document | {"budgets": budgets, "passed": not over})
    elif markdown:
        output.print_text(as_markdown(tables) + "\n\n" + "\n".join(f"- {note}" for note in notes))
    else:
        for table in tables:
            output.table(table.title, table.columns, table.rows)
        output.print_text("\n".join(notes))
    if over:
        raise CheckFailed("; ".join(over), hint=_smaller(document))
    if memory is not None:
        output.say(
            f"fits the memory of {board} ({memory[0]}): "
            f"{budget_ram or 0:,} bytes of RAM, {budget_flash or 0:,} of flash"
        )


def _network(
    output: Output, model: Path | None, sizes: dict[str, Any]
) -> tuple[dict[str, Any], CoreConfig, Encoding]:
    """What the document says of the source, configuration and encoder, of a file or of plain sizes."""
    from edgehff.model import file  # help must not load numpy
    from edgehff.model.encoding import Encoding
    from edgehff.recipe import Recipe, from_dict

    given = [name for name, value in sizes.items() if value is not None]
    if model is not None and given:
        raise click.UsageError(f"MODEL has its own sizes: leave --{given[0]} out")
    if not given:
        path = model or file.default_model(Path())
        if model is None:
            output.say(f"the newest model here: {path}")
        network = file.load(path)
        crc = f"{network.weights_crc32:08x}"
        return {"model": str(path), "weights_crc32": crc}, network.config, network.encoding
    missing = [f"--{name}" for name in ("layers", "inputs", "classes") if sizes[name] is None]
    if missing:
        raise click.UsageError(f"without MODEL, {', '.join(missing)} must be given too")
    if not re.fullmatch(r"\d{1,9}(,\d{1,9})*", sizes["layers"]):
        raise click.UsageError(f"--layers {sizes['layers']} is no list of widths; write 128,64")
    widths = [int(width) for width in sizes["layers"].split(",")]
    recipe = from_dict({"layers": widths, "arith": sizes["arith"] or Recipe().arith}, "options")
    encoding = Encoding("uint8", (sizes["inputs"], 1) if sizes["inputs"] < 65536 else (32768, 2))
    return (
        {"model": None, "weights_crc32": None},
        recipe.core_config(sizes["inputs"], sizes["classes"]),
        encoding,
    )


def _smaller(document: dict[str, Any]) -> str:
    """A command with the next smaller network: int8 first, then half the widths; of convolutions, advice."""
    from edgehff.model import file  # help must not load numpy

    if document["model"] is not None and file.load(document["model"]).config.conv:
        int8 = "" if document["arith"] == "int8" else 'arith = "int8", '
        return f"{int8}fewer channels, more pooling or a smaller grid in the recipe"
    n_in, *widths = document["dims"]
    if document["arith"] == "int8":
        widths = [max(1, width // 2) for width in widths]
    return (
        f"edgehff footprint --layers {','.join(map(str, widths))} --inputs {n_in} "
        f"--classes {document['n_classes']} --arith int8"
    )
