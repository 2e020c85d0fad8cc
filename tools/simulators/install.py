"""Make the environments of the simulators that `edgehff spike verify` runs: build/simulators/NAME.

python tools/simulators/install.py            all of them, but no chip's engine
python tools/simulators/install.py norse nest

Each run_NAME.py says at its top what it needs (inline script metadata, PEP 723). NAME/chip.py is a chip's
engine, which runs what `edgehff export` wrote for the chip and no other network; it has to be named, and its
licence is its maker's.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
TARGET = HERE.parent.parent / "build" / "simulators"


def needs(script: Path) -> tuple[str, list[str]]:
    """(the Python that a script wants, as "3.11"; what pip shall install)."""
    lines = re.search(r"^# /// script\n((?:#.*\n)+?)# ///$", script.read_text(), re.MULTILINE)
    if lines is None:
        raise SystemExit(f"{script.name}: says nowhere what it needs")
    block = tomllib.loads(re.sub(r"^# ?", "", lines[1], flags=re.MULTILINE))
    return re.sub(r"[^0-9.]|\.\*", "", block["requires-python"]), block["dependencies"]


def python_of(version: str) -> str | None:
    """An interpreter of this version that starts."""
    for name in (sys.executable, f"python{version}"):
        path = shutil.which(name)
        if path is None:
            continue
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        done = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
        if done.stdout.strip() == version:
            return path
    return None


def install(name: str) -> str | None:
    """Make one environment; returns why it could not be made."""
    scripts, folder = (HERE / f"run_{name}.py", HERE / name / "chip.py"), TARGET / name
    script = next((path for path in scripts if path.is_file()), None)
    if script is None:
        return f"there is no {scripts[0].name}"
    version, packages = needs(script)
    marker = folder / "installed.txt"
    if not marker.is_file() or marker.read_text() != "\n".join(packages):
        python = python_of(version)
        if python is None:
            return f"needs Python {version}, which is not installed"
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([python, "-m", "venv", folder], check=True)
        pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for part in ([p for p in packages if p.startswith("torch==")], packages):  # this torch, no newer one
            if part and subprocess.run([*pip, *part], check=False).returncode:
                return "pip failed"
        marker.write_text("\n".join(packages))
    shutil.copyfile(script, folder / ("chip.py" if script.name == "chip.py" else "run.py"))
    return None


def main() -> None:
    """Install what is named, or all simulators; exit code 1 where something could not be."""
    names = sys.argv[1:] or sorted(path.stem.removeprefix("run_") for path in HERE.glob("run_*.py"))
    failed = False
    for name in names:
        reason = install(name)
        print(f"{name}: {reason or 'ready'}", flush=True)
        failed = failed or reason is not None
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
