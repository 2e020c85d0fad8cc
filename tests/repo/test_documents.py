"""What the documents name exists: make targets, commands with their options, files that links lead to."""

import re
import shlex
from pathlib import Path

import click
import pytest

from edgehff.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "firmware_bridge").rglob("*.md")]
)


def code(path):
    """The lines of code blocks and the inline code of a document."""
    text = path.read_text().replace("\\|", "|")
    blocks = re.findall(r"^```(?:sh|console|bash)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    joined = "\n".join(blocks).replace("\\\n", " ").replace("$ ", "")
    return [*joined.splitlines(), *(s.replace("\n", " ") for s in re.findall(r"`([^`]+)`", rest))]


def commands(path):
    """Each `edgehff ...` of a document as a list of words, without comments and pipes."""
    found = []
    for line in code(path):
        for part in re.split(r"\||&&|;", line.split("#")[0]):
            found += [shlex.split(part)] if part.strip().startswith("edgehff ") else []
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_named_targets_and_commands_exist(path):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {word for line in code(path) for word in re.findall(r"^make ([a-z-]+)", line.strip())}
    assert named <= targets
    context = click.Context(cli)
    for words in commands(path):
        group, rest = cli, words[1:]
        options = {name for parameter in cli.params for name in parameter.opts}
        while isinstance(group, click.Group) and rest and not rest[0].startswith(("-", "[")):
            if not re.fullmatch(r"[a-z-]+", rest[0]):
                break  # a placeholder in capitals
            command = group.get_command(context, rest[0])
            assert command is not None, f"{path.name}: {' '.join(words)}"
            options |= {
                n for parameter in command.params for n in (*parameter.opts, *parameter.secondary_opts)
            }
            group, rest = command, rest[1:]
        for word in rest:
            option = word.strip("[]").split("=")[0].split("|")[0]
            if option.startswith("-") and option != "-":
                assert option in options | {"--help", "-h"}, f"{path.name}: {' '.join(words)}"


def test_the_readme_names_its_two_commands():
    lines = [line.split("#")[0].strip() for line in code(ROOT / "README.md")]
    assert {"make demo", "make test"} <= set(lines)
    assert len(commands(ROOT / "README.md")) > 3


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"
