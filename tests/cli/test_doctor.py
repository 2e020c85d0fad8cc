"""`edgehff doctor` reports and never fails."""

from __future__ import annotations

import builtins
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import edgehff.core  # noqa: F401 (an editable install may build it on import, which needs this machine's PATH)
from edgehff import __version__, extras
from edgehff.cli import doctor
from edgehff.cli.main import main
from edgehff.spiking.environment import ENGINES, SIMULATORS


def checks(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    assert main(["doctor", "--json"]) == 0
    read = json.loads(capsys.readouterr().out)
    assert read["format"] == "edgehff.doctor/1"
    return {check["name"]: check for check in read["checks"]}


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of our own, and no folders of this machine."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("EDGEHFF_DATA", raising=False)
    return folder


def tool(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_base(tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = checks(capsys)
    assert found["edgehff"]["found"] == __version__
    assert found["python"]["found"].startswith(sys.version.split()[0])
    assert found["core"]["status"] == "ok"
    assert found["core"]["found"].startswith("ABI ")
    assert found["core"]["remedy"] is None


def test_a_numpy_that_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text("raise ImportError('libstdc++.so.6: not found')")
    command = [sys.executable, "-m", "edgehff", "doctor", "--json"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    core = next(check for check in json.loads(done.stdout)["checks"] if check["name"] == "core")
    assert core["status"] == "broken"
    assert "libstdc++" in core["found"]


def test_a_core_that_does_not_load(
    tools: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without_core(name: str, *rest: Any) -> Any:
        if name == "edgehff.core":
            raise ImportError("no _ffi")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_core)
    found = checks(capsys)
    assert found["core"]["status"] == "broken"
    assert found["core"]["found"] == "ImportError: no _ffi"
    assert found["core"]["remedy"] == "pip install --force-reinstall edgehff"
    assert main(["doctor"]) == 0
    assert "broken: core" in capsys.readouterr().err


def test_tools(tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tool(tools, "gcc", "echo gcc 12.2; echo more")
    tool(tools, "clang", "exit 3")
    tool(tools, "avr-gcc", "printf '\\377\\033[2J\\n'")
    (tools / "qemu-system-arm").write_text("not a program")
    (tools / "qemu-system-arm").chmod(0o755)
    found = checks(capsys)
    assert found["gcc"] == {
        "kind": "tool",
        "name": "gcc",
        "status": "ok",
        "found": "gcc 12.2",
        "needed_for": found["gcc"]["needed_for"],
        "remedy": None,
    }
    assert (found["clang"]["status"], found["clang"]["found"]) == ("ok", str(tools / "clang"))
    assert found["avr-gcc"]["status"] == "ok"
    assert found["qemu-system-arm"]["found"] == str(tools / "qemu-system-arm")
    assert found["arm-none-eabi-gcc"]["status"] == "missing"
    assert found["arm-none-eabi-gcc"]["remedy"] == "apt install gcc-arm-none-eabi"


def test_a_tool_that_hangs(
    tools: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(tools, "gcc", "while :; do :; done")
    monkeypatch.setattr(doctor, "TOOL_TIMEOUT_S", 0.05)
    assert checks(capsys)["gcc"]["found"] == str(tools / "gcc")


def test_packages(tools: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    packages = (
        ("click", "the command line", "pip install click"),
        ("no-such-package", "nothing", "pip install it"),
    )
    monkeypatch.setattr(doctor, "EXTRAS", packages)
    found = checks(capsys)
    assert found["click"]["status"] == "ok"
    assert found["click"]["found"][0].isdigit()
    assert found["no-such-package"]["status"] == "missing"
    assert found["no-such-package"]["remedy"] == "pip install it"


def test_extras_name_what_installs_them() -> None:
    remedies = {name: remedy for name, _, remedy in doctor.EXTRAS}
    assert {"torch", "onnx", "onnxruntime", "executorch", "snntorch"} <= set(remedies)
    assert "edgehff[executorch]" in remedies["executorch"]
    assert "edgehff[spiking]" in remedies["snntorch"]
    assert [name for name, use, _ in doctor.EXTRAS if "planned" in use] == []


def test_an_executorch_of_another_torch_is_broken(
    tools: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"executorch": "1.5.1", "torch": "2.9.0"}
    monkeypatch.setattr(extras, "find_spec", lambda name: name)
    monkeypatch.setattr(extras, "version", found.__getitem__)
    monkeypatch.setattr(doctor, "EXTRAS", (("executorch", "export", "pip install it"),))
    assert checks(capsys)["executorch"]["status"] == "broken"
    found["torch"] = "2.13.0+cpu"
    assert checks(capsys)["executorch"]["status"] == "ok"


def test_data_folders(
    tools: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    found = checks(capsys)
    assert found["EDGEHFF_DATA"]["status"] == "missing"
    assert found["cache"]["found"] == str(tmp_path / "cache" / "edgehff")
    assert found["digits"]["status"] == "ok"
    assert found["mnist"]["status"] == "missing"
    assert found["mnist"]["remedy"] == "downloaded on first use (12 MB)"
    monkeypatch.setenv("EDGEHFF_DATA", str(tmp_path))
    assert checks(capsys)["EDGEHFF_DATA"]["found"] == str(tmp_path)
    monkeypatch.setenv("EDGEHFF_DATA", str(tmp_path / "nowhere"))
    assert checks(capsys)["EDGEHFF_DATA"]["status"] == "broken"


def test_lost_bundled_data(
    tools: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr("edgehff.data.sources.BUNDLED", tmp_path)
    found = checks(capsys)["digits"]
    assert found["status"] == "broken"
    assert found["found"] == f"{tmp_path / 'digits.npz'} is missing"
    assert found["remedy"] == "pip install --force-reinstall edgehff"


def test_simulators_and_engines(tools: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.chdir(tools)
    for name, files in {
        "nest": ("bin/python", "run.py"),
        "lava": ("run.py",),
        "xylo": ("bin/python",),
    }.items():
        for file in files:
            path = tools / "build/simulators" / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    found = checks(capsys)
    assert found["nest"]["found"] == "build/simulators/nest"
    for name in ("lava", "xylo", "akida"):
        assert found[name]["status"] == "missing"
        assert found[name]["remedy"] == f"python tools/simulators/install.py {name}"
    (tools / "build/simulators/xylo/chip.py").touch()
    assert checks(capsys)["xylo"]["status"] == "ok"


def test_all_simulators_are_known() -> None:
    programs = Path(__file__).parents[2] / "tools/simulators"
    assert sorted(SIMULATORS) == sorted(p.stem.removeprefix("run_") for p in programs.glob("run_*.py"))
    assert sorted(ENGINES) == sorted(p.parent.name for p in programs.glob("*/chip.py"))


def test_as_a_table(tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tool(tools, "gcc", "printf '\\033[2Jgcc\\n'")
    assert main(["doctor"]) == 0
    shown = capsys.readouterr()
    assert "apt install gcc-avr avr-libc" in shown.out
    assert "\x1b" not in shown.out
    assert "all that the daily commands need is here" in shown.err
