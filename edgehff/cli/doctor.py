"""`edgehff doctor`: what is installed, what is missing, and how to get it."""

from __future__ import annotations

import platform
import shutil
import subprocess
from typing import Any

import click

from edgehff import __version__
from edgehff.cli.output import Output, common_options, pass_output
from edgehff.errors import DataError

EXTRAS = (
    ("matplotlib", "plots", 'pip install "edgehff[plot]"'),
    ("pillow", "folders of images", 'pip install "edgehff[images]"'),
    ("torch", "float training, ExecuTorch", 'pip install "edgehff[torch]"'),
    ("onnx", "export to ONNX", 'pip install "edgehff[onnx]"'),
    ("onnxruntime", "running ONNX files", 'pip install "edgehff[onnx]"'),
    ("snntorch", "edgehff spike train", 'pip install "edgehff[spiking]"'),
    ("nir", "spiking networks for simulators", 'pip install "edgehff[spiking]"'),
    ("aedat", "recordings of event cameras, AEDAT 4", 'pip install "edgehff[events]"'),
    ("waitress", "the page of edgehff personalize --web", 'pip install "edgehff[web]"'),
    ("executorch", "export to ExecuTorch", 'pip install "edgehff[executorch]"'),
)
TOOLS = (
    ("gcc", "building from source, firmware as a process", "apt install gcc"),
    ("clang", "a second host compiler for the tests", "apt install clang"),
    ("arm-none-eabi-gcc", "firmware of Arm boards", "apt install gcc-arm-none-eabi"),
    ("riscv64-unknown-elf-gcc", "firmware of RISC-V boards", "apt install gcc-riscv64-unknown-elf"),
    ("avr-gcc", "firmware of AVR boards", "apt install gcc-avr avr-libc"),
    ("qemu-system-arm", "Arm boards, emulated", "apt install qemu-system-arm"),
    ("qemu-system-riscv32", "RISC-V boards, emulated", "apt install qemu-system-misc"),
    ("qemu-system-avr", "AVR boards, emulated", "apt install qemu-system-misc"),
    (
        "aarch64-linux-gnu-gcc",
        "tests of the core on 64-bit Arm",
        "apt install gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
    ),
    ("qemu-aarch64-static", "64-bit Arm programs, emulated", "apt install qemu-user-static"),
)
OK, MISSING, BROKEN = "ok", "missing", "broken"
TOOL_TIMEOUT_S = 10


@click.command()
@common_options
@pass_output
def doctor(output: Output) -> None:
    """Say what is installed, what is missing, and how to get it.

    Ends with 0 whatever it finds: only Python, edgehff and its core are needed for the daily commands.
    """
    base = _base()
    checks = [*base, *_extras(), *_tools(), *_simulators()]
    if not any(check["status"] == BROKEN for check in base):  # data sets need numpy, as the core does
        checks += _folders()
    if output.json:
        output.print_document({"checks": checks})
        return
    output.table(
        "What edgehff finds here",
        ("what", "state", "found", "for", "remedy"),
        [(c["name"], c["status"], c["found"] or "", c["needed_for"], c["remedy"] or "") for c in checks],
    )
    broken = [c["name"] for c in checks if c["status"] == BROKEN]
    output.say(f"broken: {', '.join(broken)}" if broken else "all that the daily commands need is here")


def _check(
    kind: str, name: str, found: str | None, *, needed_for: str, remedy: str = "", broken: bool = False
) -> dict[str, Any]:
    status = BROKEN if broken else MISSING if found is None else OK
    return {
        "kind": kind,
        "name": name,
        "status": status,
        "found": found,
        "needed_for": needed_for,
        "remedy": None if status == OK else remedy,
    }


def _base() -> list[dict[str, Any]]:
    return [
        _check(
            "base", "python", f"{platform.python_version()} on {platform.machine()}", needed_for="everything"
        ),
        _check("base", "edgehff", __version__, needed_for="everything"),
        _core(),
    ]


def _core() -> dict[str, Any]:
    remedy = "pip install --force-reinstall edgehff"
    try:
        from edgehff.core import ABI_VERSION
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
        return _check("base", "core", found, needed_for="everything", remedy=remedy, broken=True)
    return _check("base", "core", f"ABI {ABI_VERSION}", needed_for="everything", remedy=remedy)


def _extras() -> list[dict[str, Any]]:
    from edgehff.errors import MissingToolError
    from edgehff.extras import installed, require_executorch

    checks = []
    for package, needed_for, remedy in EXTRAS:
        found = installed(package)
        if package == "executorch" and found is not None:
            try:
                require_executorch()
            except MissingToolError as error:
                checks.append(
                    _check(
                        "package",
                        package,
                        error.message,
                        needed_for=needed_for,
                        remedy=error.hint,
                        broken=True,
                    )
                )
                continue
        checks.append(_check("package", package, found, needed_for=needed_for, remedy=remedy))
    return checks


def _tools() -> list[dict[str, Any]]:
    checks = []
    for tool, needed_for, remedy in TOOLS:
        path = shutil.which(tool)
        found = None if path is None else _tool_version(path)
        checks.append(_check("tool", tool, found, needed_for=needed_for, remedy=remedy))
    return checks


def _tool_version(path: str) -> str:
    """The first line that `path --version` prints, or the path where it prints none."""
    try:
        done = subprocess.run(  # noqa: S603 (a compiler found on PATH by its fixed name)
            [path, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TOOL_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return path
    lines = done.stdout.splitlines()
    return lines[0][:80] if lines else path


def _simulators() -> list[dict[str, Any]]:
    from edgehff.spiking.environment import ENGINES, FOLDER, SIMULATORS

    checks = []
    for known, program, use in (
        (SIMULATORS, "run.py", "edgehff spike verify"),
        (ENGINES, "chip.py", "edgehff export"),
    ):
        for name, title in known.items():
            home = FOLDER / name
            complete = (home / program).is_file() and (home / "bin/python").exists()
            found = str(home) if complete else None
            remedy = f"python tools/simulators/install.py {name}"
            checks.append(_check("simulator", name, found, needed_for=f"{use}: {title}", remedy=remedy))
    return checks


def _folders() -> list[dict[str, Any]]:
    from edgehff.data.catalog import SOURCES
    from edgehff.data.sources import cache_folder, data_folder, locate

    yours = "your own copies of data sets"
    try:
        own = data_folder()
    except DataError as error:
        return [
            _check("data", "EDGEHFF_DATA", error.message, needed_for=yours, remedy=error.hint, broken=True)
        ]
    found = None if own is None else str(own)
    checks = [
        _check("data", "EDGEHFF_DATA", found, needed_for=yours, remedy="export EDGEHFF_DATA=FOLDER"),
        _check("data", "cache", str(cache_folder()), needed_for="downloaded data sets"),
    ]
    for source in SOURCES.values():
        path = locate(source.name)
        lost = source.bundled and path is not None and not path.is_file()
        checks.append(
            _check(
                "data",
                source.name,
                None if path is None else f"{path} is missing" if lost else str(path),
                needed_for=source.title,
                remedy="pip install --force-reinstall edgehff" if lost else source.obtained,
                broken=lost,
            )
        )
    return checks
