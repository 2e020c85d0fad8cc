"""Where words go: data to stdout, everything else to stderr; and the options that all commands share."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Protocol, TypeVar

import click

from edgehff import __version__

PIPE_WIDTH = 160
F = TypeVar("F", bound=Callable[..., Any])


class Progress(Protocol):
    """What `Output.progress` gives: a bar, or nothing to see."""

    def update(self, n: int = 1, **fields: object) -> None:
        """Advance by n, and show the fields beside the bar."""


@dataclass
class Output:
    """How this run prints; the options set it, commands take it with `pass_output`.

    json: one JSON document on stdout instead of tables.  quiet: nothing on stderr but errors.
    debug: tracebacks.  no_color: no colors, as with NO_COLOR in the environment.
    """

    json: bool = False
    quiet: bool = False
    debug: bool = False
    no_color: bool = False

    @property
    def plain(self) -> bool:
        """Whether colors are unwanted."""
        return self.no_color or bool(os.environ.get("NO_COLOR"))

    def print_document(self, document: Mapping[str, Any]) -> None:
        """Print one JSON document on stdout, with `format` and `edgehff_version` first.

        The format is edgehff.COMMAND/1, for `edgehff data list` edgehff.data.list/1. Numpy numbers
        and arrays are written as numbers and lists, paths as strings.

        Raises:
            ValueError: a number is NaN or infinite, which JSON has no word for.
        """
        head = {"format": f"edgehff.{_command()}/1", "edgehff_version": __version__}
        click.echo(json.dumps({**head, **document}, indent=2, allow_nan=False, default=_plain_value))

    def print_text(self, text: str) -> None:
        """Print text on stdout."""
        click.echo(printable(text))

    def say(self, text: str) -> None:
        """Print text on stderr, unless quiet."""
        if not self.quiet:
            click.echo(printable(text), err=True)

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print a table on stdout; columns whose cells are all numbers stand to the right.

        As wide as the terminal, or as COLUMNS says; where stdout is no terminal, 160 columns.
        """
        from rich import box
        from rich.console import Console
        from rich.table import Table

        cells = [[printable(str(cell)) for cell in row] for row in rows]
        width = None if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit() else PIPE_WIDTH
        console = Console(
            file=sys.stdout,
            no_color=self.plain or None,
            width=width,
            markup=False,
            highlight=False,
            emoji=False,
        )
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for i, column in enumerate(columns):
            right = bool(cells) and all(_is_number(row[i]) for row in cells)
            table.add_column(column, justify="right" if right else "left", overflow="fold")
        for row in cells:
            table.add_row(*row)
        with console.capture() as shown:
            console.print(table)
        click.echo("\n".join(line.rstrip() for line in shown.get().splitlines()))

    @contextmanager
    def progress(self, total: int | None, description: str) -> Iterator[Progress]:
        """A progress bar on stderr where that is a terminal and neither quiet nor json is set.

        total: the number of steps; None where it is not known.
        """
        if self.quiet or self.json or not sys.stderr.isatty():
            yield _NoBar()
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        console = Console(file=sys.stderr, no_color=self.plain or None, markup=False, emoji=False)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        with RichProgress(*columns, console=console, transient=True) as bars:
            task = bars.add_task(printable(description), total=total, note="")
            yield _Bar(lambda n, note: bars.update(task, advance=n, note=note))


pass_output = click.make_pass_decorator(Output, ensure=True)


def common_options(command: F) -> F:
    """Give a click command --json, -q/--quiet, --debug and --no-color; they set the Output of the run."""

    def set_flag(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value and param.name:
            setattr(ctx.ensure_object(Output), param.name, True)
            ctx.color = False if ctx.ensure_object(Output).plain else ctx.color

    for flags, text in (
        (("--no-color",), "Print without colors, as NO_COLOR does."),
        (("--debug",), "Show tracebacks."),
        (("-q", "--quiet"), "Print errors and results only."),
        (("--json",), "Print one JSON document."),
    ):
        option = click.option(*flags, is_flag=True, expose_value=False, callback=set_flag, help=text)
        command = option(command)
    return command


def printable(text: str) -> str:
    r"""The text with control characters spelled out (\x1b): names from files must not steer a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


class _NoBar:
    def update(self, n: int = 1, **fields: object) -> None:
        """Nobody watches."""


class _Bar:
    def __init__(self, advance: Callable[[int, str], None]) -> None:
        self._advance = advance

    def update(self, n: int = 1, **fields: object) -> None:
        self._advance(n, "  ".join(f"{name} {value}" for name, value in fields.items()))


def _command() -> str:
    names: list[str] = []
    ctx: click.Context | None = click.get_current_context()
    while ctx is not None and (ctx.parent is not None or not names):
        names.insert(0, ctx.info_name or "")
        ctx = ctx.parent
    return ".".join(names)


def _plain_value(value: object) -> object:
    if isinstance(value, PurePath):
        return str(value)
    to_list = getattr(value, "tolist", None)
    if to_list is None:
        raise TypeError(f"{type(value).__name__} has no JSON form")
    return to_list()


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "", 1).replace("%", "").strip().lstrip(
        "-"
    ).isdigit() or cell in ("", "-")


def last_of(output: Output, events: Iterator[dict[str, Any]], total: int, what: str) -> dict[str, Any]:
    """The last of a bench's documents; each of the others moves a progress bar."""
    last: dict[str, Any] = {}
    with output.progress(total, what) as bar:
        for event in events:
            last = event
            bar.update()
    return last
