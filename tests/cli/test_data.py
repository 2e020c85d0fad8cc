"""`edgehff data list`, `edgehff data show` and `edgehff data events`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgehff.cli.main import main
from edgehff.data.catalog import SOURCES


@pytest.fixture(autouse=True)
def own_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEHFF_DATA", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == 0
    read: dict[str, Any] = json.loads(capsys.readouterr().out)
    return read


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list"]) == 0
    shown = capsys.readouterr()
    for source in SOURCES.values():
        assert source.name in shown.out
    assert "downloaded on first use (12 MB)" in shown.out
    assert "edgehff data show NAME|PATH" in shown.err


def test_list_as_json(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = document(capsys, "data", "list")
    assert read["format"] == "edgehff.data.list/1"
    entries = {entry["name"]: entry for entry in read["datasets"]}
    assert list(entries) == list(SOURCES)
    assert entries["digits"]["path"].endswith("digits.npz")
    assert entries["digits"]["shape"] == [8, 8]
    assert entries["mnist"]["path"] is None
    np.savez(tmp_path / "mnist.npz", X=np.zeros((10, 4), np.uint8), y=np.arange(10))
    monkeypatch.setenv("EDGEHFF_DATA", str(tmp_path))
    entries = {entry["name"]: entry for entry in document(capsys, "data", "list")["datasets"]}
    assert entries["mnist"]["path"] == str(tmp_path / "mnist.npz")


def test_show_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    read = document(capsys, "data", "show", "emg-gestures")
    assert read["format"] == "edgehff.data.show/1"
    assert read["shape"] == [50, 8]
    assert read["features"] == 400
    assert read["dtype"] == "int8"
    assert (read["minimum"], read["maximum"]) == (-128, 127)
    assert read["groups"] == 33
    assert (read["samples"], read["test_samples"]) == (9313, 4808)
    assert [c["samples"] for c in read["classes"]] == [1544, 1513, 1550, 1565, 1575, 1566]
    assert read["classes"][1] == {"index": 1, "name": "fist", "samples": 1513}
    assert "CC BY 4.0" in read["license"]


def test_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", "digits"]) == 0
    shown = capsys.readouterr().out
    for words in (["shape", "8", "x", "8"], ["samples", "1797"], ["test_samples", "360"], ["9", "9", "180"]):
        assert words in [line.split() for line in shown.splitlines()]
    assert "groups" not in shown


def test_show_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("0.5,1,left\n0.25,2,right\n")
    read = document(capsys, "data", "show", str(path))
    assert read["name"] == "mine"
    assert read["dtype"] == "float32"
    assert (read["minimum"], read["maximum"]) == (0.25, 2.0)
    assert read["groups"] is None
    assert read["test_samples"] is None
    assert "license" not in read


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("digit", "error: no data set is called 'digit'; did you mean digits?", "edgehff data list"),
        ("nowhere/mine.csv", "error: nowhere/mine.csv: no such file or folder", "edgehff data list"),
    ],
)
def test_show_what_is_not_there(
    capsys: pytest.CaptureFixture[str], name: str, message: str, hint: str
) -> None:
    assert main(["data", "show", name, "--json"]) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[0] == message
    assert shown.err.splitlines()[1].startswith(f"  try: {hint}")


def test_show_a_broken_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("1,2,0\n1,nan,1\n")
    assert main(["data", "show", str(path)]) == 3
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {path}: line 2, column 2: 'nan' is not a finite number\n  try: ")


def test_class_names_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, X=np.zeros((2, 1), np.uint8), y=[0, 1], class_names=["\x1b[2J[bold]", "b"])
    assert main(["data", "show", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\\x1b[2J[bold]" in shown


def test_recordings_of_events_become_a_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part, label in (("Train", "0"), ("Train", "1"), ("Test", "0"), ("Test", "1")):
        (tmp_path / "camera" / part / label).mkdir(parents=True)
        path = tmp_path / "camera" / part / label / "1.bin"
        path.write_bytes(bytes([3, int(label), 0x80, 0, 0, 3, 1, 0x80, 0x0A, 0xBE]))  # 2.75 ms apart
    file = tmp_path / "camera.npz"
    given = ["data", "events", str(tmp_path / "camera"), "-o", str(file), "--steps", "2", "--step-ms", "1.3"]
    assert main([*given, "--size", "4", "6"]) == 0
    shown = capsys.readouterr()
    assert "4 recordings of 2 classes, 2 x 4 x 6 x 2" in shown.out
    assert "50.0% of the events are counted" in shown.out
    assert "steps = 2" in shown.err
    read = document(capsys, *given, "--size", "4", "6", "--pool", "2")
    assert read["format"] == "edgehff.data.events/1"
    assert read["shape"] == [2, 2, 3, 2]
    assert read["test_samples"] == 2
    assert (read["counted"], read["filled"]) == (0.5, 1 / 24)
    again = document(capsys, "data", "show", str(file))
    assert again["test_samples"] == 2
    assert again["classes"][1] == {"index": 1, "name": "1", "samples": 2}
    wide = [*given[:-1], "1.4", "--size", "4", "6"]
    assert document(capsys, *wide)["counted"] == 1
    assert main([*given, "--size", "1", "6"]) == 3
    assert "an event at x = 3, y = 1 of 6 x 1 pixels" in capsys.readouterr().err
    for wrong, why in ((tmp_path / "a.npy", "does not end in"), (tmp_path / "none" / "a.npz", "mkdir -p")):
        assert main([*given[:2], "nowhere", "-o", str(wrong), *given[5:], "--size", "4", "6"]) == 3
        assert why in capsys.readouterr().err
