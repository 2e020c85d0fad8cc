"""edgehff device and edgehff firmware, as a user runs them: on the firmware as a process, and in QEMU."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import serial
from commands import document, run

from edgehff.bench.journey import bundled, unseen_people
from edgehff.data.sources import load
from edgehff.data.stream import samples
from edgehff.model import file
from edgehff.personalize.session import PersonalSession
from firmware_bridge.boards import board
from firmware_bridge.build import build, options_for

HOST = "emulator:host_pty"

if shutil.which("gcc") is None:
    pytest.skip("gcc is not installed", allow_module_level=True)


@pytest.fixture
def model(tmp_path, monkeypatch):
    """The bundled model for small boards, alone in the present folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "armband.safetensors"
    shutil.copyfile(bundled("emg-microbit/model.safetensors"), path)
    return path


@pytest.fixture
def line(model):
    """The path of a pseudoterminal with firmware for the model on it, which keeps what it saves."""
    elf = build(
        board("host_pty"), options_for(board("host_pty"), file.load(model)), model.with_suffix(".elf")
    )
    environment = os.environ | {"FLASH_FILE": str(model.with_suffix(".flash"))}
    with subprocess.Popen(
        [elf], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment
    ) as process:
        yield process.stdout.readline().decode().strip()
        process.kill()


def learned(model, person, limit=None):
    """The same person learned on this machine alone."""
    data = load("emg-gestures")
    session = PersonalSession(file.load(model))
    for i, (sample, label) in enumerate(
        samples(data.rows((data.group == person) & ~data.is_test), "recording")
    ):
        if limit is None or i < limit:
            session.learn_one(sample, label)
    return session.network()


def test_train_on_a_board_equals_personalize_on_the_host(model, capsys, tmp_path):
    d = document(
        capsys, "device", "train", model, "--port", HOST, "--group", 25, "-o", tmp_path / "mine.safetensors"
    )
    assert d["format"] == "edgehff.device.train/1"
    assert d["samples"] == 151
    assert d["answers_equal"] == d["answers_compared"] == 151 + 2 * d["test_samples"]
    mine = file.load(tmp_path / "mine.safetensors")
    assert mine.weights_crc32 == learned(model, 25).weights_crc32
    assert mine.step == d["steps"] == 27_800 + 151
    assert d["frames"] > 151
    assert d["state_crc32"] == d["host_state_crc32"]


def test_without_a_model_a_person_is_learned_that_the_bundled_one_has_not_seen(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "device", "train", "--port", HOST, "--limit", 20)
    assert code == 0, err
    person = unseen_people(load("emg-gestures"))[0]
    assert f"group {person}: before" in out
    assert "answers equal, state" in out
    assert "emg-microbit" in err
    assert "20 samples in" in err


def test_a_session_over_several_commands(model, line, capsys, tmp_path):
    at = ("--port", line)
    said = document(capsys, "device", "hello", *at)
    assert said["name"] == "edgehff-host_pty"
    assert {"model", "storage", "factory"} <= set(said["has"])
    pushed = document(capsys, "device", "push", *at)
    assert pushed["steps"] == 27_800
    first = document(capsys, "device", "train", *at, "--group", 16, "--limit", 30, "--save")
    assert first["saved"] == 1
    second = document(capsys, "device", "train", *at, "--group", 16, "--limit", 10, "--keep")
    assert second["steps"] == 27_840
    assert document(capsys, "device", "stats", *at)["state_crc32"] == second["state_crc32"]
    target = tmp_path / "pulled.safetensors"
    assert document(capsys, "device", "pull", *at, model, "-o", target)["steps"] == 27_840
    assert file.load(target).step == 27_840
    blob = tmp_path / "pulled.ehff"
    pulled = document(capsys, "device", "pull", *at, model, "-o", blob)
    assert blob.stat().st_size == pulled["bytes"]
    assert document(capsys, "device", "load", *at)["steps"] == 27_830
    assert document(capsys, "device", "stats", *at)["state_crc32"] == first["state_crc32"]
    assert document(capsys, "device", "save", *at)["saved"] == 2
    assert document(capsys, "device", "load", "--factory", *at)["steps"] == 27_800
    answered = document(capsys, "device", "predict", *at, model, "--group", 16)
    assert answered["answers_equal"] == answered["samples"] > 100
    factory = file.load(model).to_core().predict(file.load(model).encode(rows_of(16).x))
    assert answered["accuracy"] == float(np.mean(factory == rows_of(16).y))
    assert document(capsys, "device", "load", "--before", *at)["steps"] == 27_830


def rows_of(person):
    data = load("emg-gestures")
    return data.rows((data.group == person) & data.is_test)


def test_a_busy_port_and_no_port_end_with_5(model, line, capsys, tmp_path):
    with serial.Serial(line, exclusive=True):
        code, _, err = run(capsys, "device", "hello", "--port", line)
    assert code == 5
    assert "busy" in err
    code, _, err = run(capsys, "device", "hello", "--port", tmp_path / "ttyNONE")
    assert (code, "ttyNONE" in err) == (5, True)
    code, _, err = run(capsys, "device", "hello", "--port", "socket://127.0.0.1:1")
    assert code == 5


def test_bad_input_is_refused_before_anything_is_learned(model, line, capsys, tmp_path):
    code, _, err = run(capsys, "device", "load", "--before", "--port", line)
    assert (code, "nothing is saved" in err) == (6, True)
    other = tmp_path / "digits.safetensors"
    assert run(capsys, "train", "--data", "digits", "--layers", "64,64", "--epochs", 1, "-o", other)[0] == 0
    code, _, err = run(capsys, "device", "push", other, "--port", line)
    assert (code, "firmware build" in err) == (3, True)
    code, _, err = run(capsys, "device", "train", other, "--data", "emg-gestures", "--port", line)
    assert code == 3
    code, _, err = run(capsys, "device", "train", model, "--port", "emulator:nonsense")
    assert (code, "no board is called" in err) == (3, True)
    code, _, err = run(capsys, "device", "save", "--port", "emulator:microbit")
    assert (code, "--firmware" in err) == (3, True)
    code, _, err = run(capsys, "device", "hello", "--port", line, "--firmware", model)
    assert code == 3


def test_firmware_list_names_every_board_and_its_packages(capsys):
    found = {b["name"]: b for b in document(capsys, "firmware", "list")["boards"]}
    assert set(found) == {
        "microbit", "netduinoplus2", "mps2-an386", "mps3-an547", "sifive_e", "mega2560", "host_pty",
    }  # fmt: skip
    assert found["microbit"]["packages"] == "gcc-arm-none-eabi qemu-system-arm"


def test_firmware_build_and_bad_options(model, capsys, tmp_path):
    d = document(
        capsys, "firmware", "build", "--board", "host_pty", "-o", tmp_path / "f.elf", "--arena", "64k"
    )
    assert d["arena_bytes"] == 65536
    assert (tmp_path / "f.elf").stat().st_mode & 0o111
    said = document(capsys, "device", "hello", "--port", HOST, "--firmware", tmp_path / "f.elf")
    assert said["arena_bytes"] == 65536
    for bad in (("--frame", "30"), ("--arena", "10")):
        code, _, err = run(capsys, "firmware", "build", "--board", "host_pty", "-o", tmp_path / "g.elf", *bad)
        assert (code, "try:" in err) == (3, True)
    assert not (tmp_path / "g.elf").exists()
    code, _, err = run(capsys, "firmware", "build", "--board", "micro-bit")
    assert (code, "did you mean microbit?" in err) == (3, True)


def test_a_missing_compiler_is_named(model, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = run(capsys, "firmware", "build", "--board", "sifive_e")
    assert code == 4
    assert "apt install gcc-riscv64-unknown-elf" in err


def test_firmware_run_serves_until_interrupted(model, capsys, tmp_path):
    command = [sys.executable, "-m", "edgehff", "firmware", "run", "--board", "host_pty"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        url = process.stdout.readline().decode().strip()
        assert document(capsys, "device", "hello", "--port", url)["steps"] == 27_800
        process.send_signal(2)
        assert process.wait(timeout=20) == 130


@pytest.mark.qemu
def test_a_microbit_learns_an_unseen_person_from_raw_windows(tmp_path, monkeypatch, capsys):
    for tool in ("qemu-system-arm", "arm-none-eabi-gcc"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    monkeypatch.chdir(tmp_path)
    d = document(capsys, "device", "train", "--port", "emulator:microbit")
    assert d["answers_equal"] == d["answers_compared"] == 140 + 2 * 144
    assert d["state_crc32"] == d["host_state_crc32"]
    assert d["accuracy"] > d["before"] + 0.1
