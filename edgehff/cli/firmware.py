"""`edgehff firmware`: boards, firmware for them, and the C for your own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click

from edgehff.cli.footprint import _size
from edgehff.cli.output import Output, common_options, pass_output


@click.group()
def firmware() -> None:
    """Build firmware for a board, run it emulated, or take the C sources into your own."""


@firmware.command("list")
@common_options
@pass_output
def list_(output: Output) -> None:
    """List the boards that there is firmware for, and whether their tools are here."""
    from firmware_bridge.boards import boards

    found: list[dict[str, Any]] = [
        {
            "name": board.name,
            "chip": board.chip,
            "ram_bytes": board.ram_bytes,
            "flash_bytes": board.flash_bytes,
            "compiler": shutil.which(board.compiler),
            "emulator": shutil.which(board.emulator[0]) if board.toolchain else "itself",
            "packages": f"{board.package} {board.emulator_package}".strip(),
        }
        for board in boards().values()
    ]
    if output.json:
        output.print_document({"boards": found})
        return
    output.table(
        "Boards",
        ("board", "chip", "RAM KiB", "flash KiB", "compiler", "emulator", "Debian packages"),
        [
            (
                b["name"],
                b["chip"],
                "-" if b["name"] == "host_pty" else f"{b['ram_bytes'] // 1024:,}",
                "-" if b["name"] == "host_pty" else f"{b['flash_bytes'] // 1024:,}",
                "here" if b["compiler"] else "missing",
                "here" if b["emulator"] else "missing",
                b["packages"],
            )
            for b in found
        ],
    )


@firmware.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option("--board", "name", required=True, help="Which board (edgehff firmware list).")
@click.option(
    "-o", "--output", "target", type=click.Path(path_type=Path), help="ELF file; default: BOARD.elf."
)
@click.option("--arena", callback=_size, metavar="SIZE", help="For the network; default: what MODEL takes.")
@click.option("--frame", callback=_size, metavar="SIZE", help="The largest frame; default: what MODEL needs.")
@click.option("--ring", callback=_size, metavar="SIZE", help="Received bytes that wait; a power of two.")
@click.option("--window", type=click.IntRange(1, 16), help="Requests that may be under way.")
@click.option("--runner/--no-runner", default=True, show_default=True, help="MLPerf Tiny's text commands.")
@click.option("--optimize", type=click.Choice(["size", "speed"]), default="size", show_default=True)
@click.option(
    "--lean", is_flag=True, help="Only what MODEL needs to train; it comes over the line, nothing is saved."
)
@click.option("--factory/--no-factory", default=True, show_default=True, help="Keep MODEL in the firmware.")
@common_options
@pass_output
def build(
    output: Output,
    model: Path | None,
    name: str,
    target: Path | None,
    arena: int | None,
    frame: int | None,
    ring: int | None,
    window: int | None,
    runner: bool,
    optimize: str,
    lean: bool,
    factory: bool,
) -> None:
    """Build firmware for a board, sized for MODEL, which it starts with.

    MODEL is the newest model of this folder unless named.

    \b
    edgehff firmware build armband.safetensors --board microbit
    edgehff firmware build armband.safetensors --board netduinoplus2 --arena 64k --optimize speed
    """
    from edgehff.model import file
    from firmware_bridge import build as builder
    from firmware_bridge.boards import board as board_of

    board = board_of(name)
    path = model or file.default_model(Path())
    network = file.load(path)
    given: dict[str, Any] = {"arena_bytes": arena, "frame_bytes": frame, "ring_bytes": ring, "window": window}
    changes = {key: value for key, value in given.items() if value is not None}
    if not factory:
        changes["factory"] = b""
    if not lean:
        changes["runner"] = runner
    options = builder.options_for(board, network, lean=lean, optimize=optimize, **changes)
    target = target or Path(f"{board.name}.elf")
    builder.build(board, options, target)
    document = {"board": board.name, "model": str(path), "output": str(target),
                "arena_bytes": options.arena_bytes,
                "frame_bytes": options.frame_bytes, "ring_bytes": options.ring_bytes,
                "window": options.window, "factory_bytes": len(options.factory)}  # fmt: skip
    if output.json:
        output.print_document(document)
        return
    output.print_text(
        f"{target}: arena {options.arena_bytes:,} bytes, frame {options.frame_bytes}, "
        f"ring {options.ring_bytes}"
    )
    output.say(f"try it: edgehff device train {path} --port emulator:{board.name} --firmware {target}")


@firmware.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option("--board", "name", required=True, help="Which board (edgehff firmware list).")
@click.option("--firmware", "elf", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="This ELF file instead of one built for MODEL.")  # fmt: skip
@click.option(
    "--tcp", type=click.IntRange(0, 65535), default=0, help="Port of this machine; default: a free one."
)
@common_options
@pass_output
def run(output: Output, model: Path | None, name: str, elf: Path | None, tcp: int) -> None:
    """Run firmware in its emulator until Ctrl-C, its UART on a socket of this machine.

    The first line printed is its URL, for --port or any program that speaks to serial ports.
    """
    import tempfile

    from edgehff.model import file
    from firmware_bridge import build as builder
    from firmware_bridge import serve
    from firmware_bridge.boards import board as board_of

    board = board_of(name)
    with tempfile.TemporaryDirectory(prefix="edgehff-") as folder:
        if elf is None:
            network = file.load(model or file.default_model(Path()))
            elf = builder.build(board, builder.options_for(board, network), Path(folder) / "firmware.elf")
        with serve.served(board, elf, tcp) as (url, wait):
            if output.json:
                output.print_document({"board": board.name, "url": url})
            else:
                output.print_text(url)
            output.say(f"edgehff device hello --port {url} talks to it; Ctrl-C ends it")
            wait()


@firmware.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--link", is_flag=True, help="With the serial link, for a board of yours that `edgehff device` feeds."
)
@click.option("--force", is_flag=True, help="Write into a folder that has other files, too.")
@common_options
@pass_output
def export(output: Output, model: Path, folder: Path, link: bool, force: bool) -> None:
    """Write the C sources with MODEL as a static network into FOLDER.

    With manifests for CMake, Arduino, PlatformIO, Zephyr and ESP-IDF, an example, and what it takes in RAM.
    """
    from edgehff.model import file
    from firmware_bridge import export as exporter

    written = exporter.export(file.load(model), folder, link=link, force=force)
    document = {"model": str(model), "folder": str(folder), "files": [str(path) for path in written]}
    if output.json:
        output.print_document(document)
        return
    output.print_text(f"wrote {len(written)} files to {folder}; its README.md says how to use them")
