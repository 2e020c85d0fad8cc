"""The commands of README and tutorial, run as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def commands():
    for name in ("README.md", "docs/tutorials/first-model.md"):
        for block in re.findall(r"```sh\n(.*?)```", (ROOT / name).read_text(), re.DOTALL):
            for line in block.splitlines():
                if line.startswith("edgehff "):
                    yield line.split("#")[0].split(";")[0].split("|")[0].strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("readme")
    (made / "models").symlink_to(ROOT / "models")
    tutorial = (ROOT / "docs" / "tutorials" / "first-model.md").read_text()
    rows = re.search(r"printf '(.+)' > mine.csv", tutorial).group(1)
    (made / "mine.csv").write_text(rows.replace("\\n", "\n"))
    return made


def test_the_commands_of_readme_and_tutorial_run(folder):
    seen = list(commands())
    assert len(seen) >= 10
    for command in seen:
        over = "--budget-ram" in command
        done = subprocess.run(
            [sys.executable, "-m", *command.split()],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == (7 if over and "16k" in command else 0), f"{command}\n{done.stderr}"
