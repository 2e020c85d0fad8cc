"""The entry of the command line: finds the command, loads it alone, turns every outcome into an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from edgehff import __version__
from edgehff.cli.output import Output, common_options, printable
from edgehff.errors import EdgehffError, did_you_mean

COMMANDS = {
    "demo": ("edgehff.cli.demo:demo", "The main job on bundled data, end to end."),
    "train": ("edgehff.cli.train:train", "Train a network, in integers or in float, and save it."),
    "eval": ("edgehff.cli.eval:evaluate", "Measure a model: accuracy, per class, per layer, confusion."),
    "quantize": ("edgehff.cli.quantize:quantize", "Bring a float network into integers."),
    "verify": ("edgehff.cli.verify:verify", "Hold every exported form against the C core."),
    "export": ("edgehff.cli.export:export", "Export a model to a stock runtime, and prove it there."),
    "run": ("edgehff.cli.run:run", "Run an exported file in its stock runtime."),
    "inspect": ("edgehff.cli.inspect:inspect", "Say what an exported file holds."),
    "calibrate": ("edgehff.cli.calibrate:calibrate", "Find when a model's answer is unknown."),
    "personalize": ("edgehff.cli.personalize:personalize", "Let a model learn from one person's stream."),
    "replay": ("edgehff.cli.replay:replay", "Make what was learned again from its journal."),
    "spike": ("edgehff.cli.spike:spike", "Networks of spiking neurons: train, run."),
    "footprint": ("edgehff.cli.footprint:footprint", "RAM and flash that a model needs on a board."),
    "device": ("edgehff.cli.device:device", "Talk to a board that trains."),
    "firmware": ("edgehff.cli.firmware:firmware", "Build firmware, run it emulated, export the C."),
    "data": ("edgehff.cli.data:data", "List and inspect data sets."),
    "model": ("edgehff.cli.model:model", "List and fetch trained models."),
    "doctor": ("edgehff.cli.doctor:doctor", "Say what is installed, what is missing, and how to get it."),
    "bench": ("edgehff.cli.bench:bench", "Measure every figure of the documentation again."),
    "completion": ("edgehff.cli.main:completion", "Print the completion script for a shell."),
}
USAGE, BAD_INPUT, BUG, INTERRUPTED, PIPE_CLOSED = 2, 3, 1, 130, 141
COMPLETE_VAR = "_EDGEHFF_COMPLETE"


class LazyGroup(click.Group):
    """A group whose commands are modules, each imported when its command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names of the commands, in the order of the contract."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the module of that command and take the command from it."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write names and short help without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; an unknown one is a usage error that names the nearest."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"no command is called {name!r}{did_you_mean(name, COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@common_options
@click.version_option(__version__, message="edgehff %(version)s")
def cli() -> None:
    """Neural networks that keep learning after they left the factory, in integers.

    Data goes to stdout, everything else to stderr. Start with: edgehff demo
    """


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@common_options
def completion(shell: str) -> None:
    """Print the completion script for SHELL.

    For bash: edgehff completion bash > ~/.local/share/bash-completion/completions/edgehff
    """
    from click.shell_completion import get_completion_class

    complete = get_completion_class(shell)
    if complete is None:
        raise click.UsageError(f"click has no completion for {shell}")
    click.echo(complete.source_template % complete(cli, {}, "edgehff", COMPLETE_VAR).source_vars())


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code (docs/reference/exit-codes.md)."""
    output = Output()
    try:
        code = _run(list(sys.argv[1:] if args is None else args), output)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
        return PIPE_CLOSED
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
            click.echo(str(error), err=True)
            return USAGE
        code, message, hint = _outcome(error)
        if output.debug:
            import traceback

            click.echo(traceback.format_exc(), err=True, nl=False)
        word = click.style("error:", fg="red", bold=True)
        text = f"{word} {printable(message)}" if code != INTERRUPTED else message
        click.echo(text, err=True, color=False if output.plain else None)
        if hint:
            click.echo(f"  try: {printable(hint)}", err=True)
        try:
            sys.stdout.flush()
        except OSError:
            _drop_stdout()
    return code


def _run(args: list[str], output: Output) -> int:
    if COMPLETE_VAR in os.environ:
        cli.main(args, prog_name="edgehff", complete_var=COMPLETE_VAR)
    try:
        with cli.make_context("edgehff", args, obj=output) as ctx:
            cli.invoke(ctx)
    except click.exceptions.Exit as done:
        return int(done.exit_code)
    return 0


def _outcome(error: BaseException) -> tuple[int, str, str]:
    """The exit code, the message and the hint for what ended a command."""
    if isinstance(error, EdgehffError):
        return error.exit_code, error.message, error.hint
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return INTERRUPTED, "interrupted", ""
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx is not None else "edgehff"
        return USAGE, error.format_message().rstrip("."), f"{command} --help"
    if isinstance(error, click.ClickException):
        return BAD_INPUT, error.format_message(), ""
    if isinstance(error, MemoryError):
        return BAD_INPUT, "not enough memory for this data or network", "use fewer samples or smaller layers"
    if isinstance(error, OSError) and error.errno is not None:
        where = "" if error.filename is None else f"{error.filename}: "
        return BAD_INPUT, f"{where}{error.strerror}", "check the path, its rights and the free space"
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    return BUG, f"{text} (bug)", "the same command with --debug, and report what it shows"


def _drop_stdout() -> None:
    """Nobody reads stdout any more: what is left in its buffer goes nowhere, without a message at exit."""
    sink: Any = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, sys.stdout.fileno())
    except (OSError, ValueError):  # stdout is no file of the system, as under a test
        pass
    finally:
        os.close(sink)
