"""The command line's contract: exit codes, what goes to which stream, a start that loads nothing heavy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

from edgehff import __version__
from edgehff.cli import main as main_module
from edgehff.cli.main import COMMANDS, cli, main
from edgehff.cli.output import Output, common_options, pass_output, printable
from edgehff.errors import CheckFailed, CoreError, DataError, EdgehffError, MissingToolError, RecipeError

HEAVY = (
    "rich",
    "torch",
    "pooch",
    "numpy",
    "safetensors",
    "matplotlib",
    "requests",
    "PIL",
    "cffi",
    "_cffi_backend",
)
Run = Callable[..., subprocess.CompletedProcess[str]]


UNWANTED = ("NO_COLOR", "COLUMNS", "FORCE_COLOR", "PYTHONUNBUFFERED")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in UNWANTED}


@pytest.fixture
def run() -> Run:
    """Run `python ARGUMENTS` as a user would, in an environment without colors, widths or odd buffering."""

    def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            env=ENVIRONMENT | environment,
            timeout=120,
            check=False,
        )

    return call


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Output], None]], None]:
    """Put a body in place of the command `demo`."""

    def put(body: Callable[[Output], None]) -> None:
        @click.command()
        @common_options
        @pass_output
        def demo(output: Output) -> None:
            body(output)

        monkeypatch.setattr(main_module, "demo", demo, raising=False)
        monkeypatch.setitem(COMMANDS, "demo", ("edgehff.cli.main:demo", "A body of the test."))

    return put


def raises(error: BaseException) -> Callable[[Output], None]:
    def body(output: Output) -> None:
        raise error

    return body


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_loads_and_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"Usage: edgehff {name}")
    assert shown.err == ""


def every_command(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from every_command(below, (*path, name))


@pytest.mark.parametrize("path", [*every_command(cli)], ids=" ".join)
def test_help_keeps_each_example_on_its_line(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(cli, [*path, "--help"]).output
    assert "\\b" not in shown
    examples = [line for line in shown.splitlines() if line.count("edgehff ") > 1 and "`" not in line]
    assert examples == []


def test_help_names_all_commands_and_loads_none(run: Run) -> None:
    code = (
        "import sys\n"
        "from edgehff.cli.main import main\n"
        "code = main(['--help'])\n"
        "print('LOADED', *sorted(m for m in sys.modules if m.startswith('edgehff.')))\n"
        f"print('HEAVY', *[m for m in {HEAVY!r} if m in sys.modules])\n"
        "sys.exit(code)\n"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    help_text, _, rest = done.stdout.partition("LOADED")
    assert all(f"\n  {name} " in help_text for name in COMMANDS)
    assert rest.splitlines()[0].split() == [
        "edgehff.cli",
        "edgehff.cli.main",
        "edgehff.cli.output",
        "edgehff.errors",
    ]
    assert rest.splitlines()[1].split() == ["HEAVY"]


def test_importing_edgehff_loads_nothing_heavy(run: Run) -> None:
    done = run("-c", f"import edgehff, sys; print([m for m in {HEAVY!r} if m in sys.modules])")
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    "name", ["data", "model", "doctor", "train", "eval", "personalize", "footprint", "bench", "demo"]
)
def test_help_of_a_command_loads_nothing_heavy(run: Run, name: str) -> None:
    code = (
        "import sys\n"
        "from edgehff.cli.main import main\n"
        f"main([{name!r}, '--help'])\n"
        "heavy = ('rich', 'torch', 'pooch', 'matplotlib', 'requests', 'PIL')\n"
        "print('HEAVY', *[m for m in heavy if m in sys.modules])\n"
    )
    assert run("-c", code).stdout.splitlines()[-1] == "HEAVY"


def test_python_m_edgehff(run: Run) -> None:
    done = run("-m", "edgehff", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"edgehff {__version__}\n", "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DataError("what", hint="this"), 3),
        (RecipeError("what", hint="this"), 3),
        (MissingToolError("what", hint="this"), 4),
        (CheckFailed("what", hint="this"), 7),
        (EdgehffError("what", hint="this"), 1),
    ],
)
def test_errors_of_edgehff(
    command: Any, capsys: pytest.CaptureFixture[str], error: EdgehffError, code: int
) -> None:
    command(raises(error))
    assert main(["demo"]) == code
    assert capsys.readouterr() == ("", "error: what\n  try: this\n")


def test_error_without_a_hint(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    command(raises(DataError("what")))
    assert main(["demo"]) == 3
    assert capsys.readouterr().err == "error: what\n"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (click.Abort(), 130, "interrupted\n"),
        (
            ZeroDivisionError("by zero\nand more"),
            1,
            "error: ZeroDivisionError: by zero (bug)\n  try: the same command with --debug",
        ),
        (EOFError("end"), 1, "error: EOFError: end (bug)\n"),
        (CoreError("ehff_train", -3, "shape"), 1, "error: ehff_train returned -3: shape\n"),
        (MemoryError(), 3, "error: not enough memory"),
        (PermissionError(13, "Permission denied", "out.bin"), 3, "error: out.bin: Permission denied\n"),
        (OSError("odd"), 1, "error: OSError: odd (bug)\n"),
        (click.UsageError("wrong."), 2, "error: wrong\n  try: edgehff demo --help\n"),
        (click.ClickException("other"), 3, "error: other\n"),
    ],
)
def test_other_errors(
    command: Any, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, message: str
) -> None:
    command(raises(error))
    assert main(["demo"]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(message)
    assert "Traceback" not in shown.err


@pytest.mark.parametrize("arguments", [["--debug", "demo"], ["demo", "--debug"]])
def test_debug_shows_the_traceback(
    command: Any, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    command(raises(DataError("what")))
    assert main(arguments) == 3
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback")
    assert shown.endswith("error: what\n")


@pytest.mark.parametrize("code", [0, 5])
def test_a_command_may_exit_with_a_code(command: Any, code: int) -> None:
    def leave(output: Output) -> None:
        click.get_current_context().exit(code)

    command(leave)
    assert main(["demo"]) == code


def test_a_command_that_returns_is_fine_whatever_it_returns(command: Any) -> None:
    def body(output: Output) -> Any:
        return 7

    command(body)
    assert main(["demo"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dta"], "error: no command is called 'dta'; did you mean data?\n  try: edgehff --help\n"),
        (["xyzzy"], "error: no command is called 'xyzzy'\n"),
        (["--jsn"], "error: No such option"),
        (["data", "shw"], "error: No such command 'shw'"),
        (["data", "show"], "error: Missing argument 'NAME|PATH'\n  try: edgehff data show --help\n"),
        (["data", "list", "extra"], "error: Got unexpected extra argument (extra)\n"),
        (["completion", "tcsh"], "error: Invalid value for '{bash|zsh|fish}'"),
    ],
)
def test_usage_errors(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(message)


@pytest.mark.parametrize("arguments", [[], ["data"]])
def test_a_group_alone_shows_its_help(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("Usage: edgehff")


WRITES_MUCH = """
import sys, click
from edgehff.cli import main as m
@click.command()
def demo():
    while True:
        print("x" * 1000)
m.demo = demo
m.COMMANDS["demo"] = ("edgehff.cli.main:demo", "Writes without end.")
sys.exit(m.main(["demo"]))
"""


@pytest.mark.parametrize("arguments", [("-m", "edgehff", "data", "list", "-q"), ("-c", WRITES_MUCH)])
def test_a_closed_pipe_is_quiet(arguments: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            stdout=writer,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            text=True,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [("-m", "edgehff", "data", "list", "-q"), ("-c", WRITES_MUCH)])
def test_a_full_disk_is_no_bug(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            text=True,
            check=False,
        )
    assert done.returncode == 3
    assert done.stderr.splitlines()[0] == "error: No space left on device"
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    assert main(["completion", shell]) == 0
    assert f"_EDGEHFF_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_completion_knows_commands_and_options(run: Run) -> None:
    asked = {"_EDGEHFF_COMPLETE": "bash_complete", "COMP_CWORD": "1"}
    assert run("-m", "edgehff", **asked, COMP_WORDS="edgehff foot").stdout == "plain,footprint\n"
    asked["COMP_CWORD"] = "2"
    assert "plain,--json" in run("-m", "edgehff", **asked, COMP_WORDS="edgehff doctor --").stdout.splitlines()


@pytest.mark.parametrize("arguments", [["--json", "demo"], ["demo", "--json"]])
def test_json_before_and_after_the_command(
    command: Any, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    def body(output: Output) -> None:
        assert output.json
        output.print_document(
            {"accuracy": np.float32(0.5), "steps": np.int64(3), "confusion": np.eye(2, dtype=int)}
        )
        output.say("beside it")

    command(body)
    assert main(arguments) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {
        "format": "edgehff.demo/1",
        "edgehff_version": __version__,
        "accuracy": 0.5,
        "steps": 3,
        "confusion": [[1, 0], [0, 1]],
    }
    assert shown.err == "beside it\n"


@pytest.mark.parametrize("value", [float("nan"), np.float64("inf")])
def test_json_has_no_nan(command: Any, capsys: pytest.CaptureFixture[str], value: float) -> None:
    command(lambda output: output.print_document({"accuracy": value}))
    assert main(["demo", "--json"]) == 1
    assert capsys.readouterr().out == ""


def test_quiet_leaves_data_and_errors(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def body(output: Output) -> None:
        output.say("chatter")
        output.print_text("data")
        raise DataError("what")

    command(body)
    assert main(["demo", "-q"]) == 3
    assert capsys.readouterr() == ("data\n", "error: what\n")


def test_tables_are_plain_off_a_terminal(
    command: Any, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    rows = [("a[red]" + "x" * 90, 1), ("\x1b[31mb", 22.5)]
    command(lambda output: output.table("Title", ("name", "value"), rows))
    assert main(["demo"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Title"
    assert lines[4].split() == ["a[red]" + "x" * 90, "1"]
    assert lines[5].split() == ["\\x1b[31mb", "22.5"]
    assert all(line == line.rstrip() for line in lines)
    assert lines[4].index("1", 96) + 1 == len(lines[5])


def test_columns_bounds_the_width(command: Any, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    command(lambda output: output.table("Title", ("name", "value"), [("x" * 90, 1)]))
    assert main(["demo"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 40


class Terminal:
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True


def _work(output: Output) -> None:
    with output.progress(4, "learning") as bar:
        for i in range(4):
            bar.update(accuracy=i)


@pytest.mark.parametrize("option", [[], ["--quiet"], ["--json"]])
def test_progress_is_seen_on_a_terminal_alone(
    command: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    command(_work)
    assert main(["demo", *option]) == 0
    assert capsys.readouterr() == ("", "")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    assert main(["demo", *option]) == 0
    assert ("learning" in terminal.text and "accuracy 3" in terminal.text) == (not option)


@pytest.mark.parametrize(
    ("arguments", "variable", "colored"),
    [
        (["demo"], None, True),
        (["demo", "--no-color"], None, False),
        (["--no-color", "demo"], None, False),
        (["demo"], "1", False),
    ],
)
def test_colors_on_a_terminal(
    command: Any, monkeypatch: pytest.MonkeyPatch, arguments: list[str], variable: str | None, colored: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if variable:
        monkeypatch.setenv("NO_COLOR", variable)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    command(raises(DataError("what")))
    assert main(arguments) == 3
    assert ("\x1b[" in terminal.text) == colored
    assert "error:" in terminal.text


def test_names_from_files_cannot_steer_the_terminal(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    command(raises(DataError("bad \x1b]0;title\x07 name é")))
    main(["demo"])
    assert capsys.readouterr().err == "error: bad \\x1b]0;title\\x07 name é\n"
    assert printable("a\tb\nc\r") == "a\tb\nc\\x0d"


def test_nested_commands_have_dotted_formats(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["format"] == "edgehff.data.list/1"


def test_the_group_is_usable_without_main() -> None:
    done = CliRunner().invoke(cli, ["data", "list", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["datasets"]
