"""What makers copy: the scripts for Raspberry Pi and Jetson, and the service, each run as it stands."""

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from personal import drawn, small_network

from edgehff.model import file
from edgehff.personalize.replay import replay

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tools"

WAIT_S = 60


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.safetensors"
    file.save(small_network(), path)
    return path


def lines_of(process, n):
    """The next n lines of a process's output, or an error when it says nothing for long."""
    found = []
    while len(found) < n:
        assert select.select([process.stdout], [], [], WAIT_S)[0], "it says nothing"
        line = process.stdout.readline()
        assert line, process.stderr.read()
        found.append(line.decode().strip())
    return found


def test_on_a_raspberry_pi(tmp_path, model):
    leader, follower = os.openpty()
    command = [sys.executable, "-u", TOOLS / "personalize_pi.py", model, tmp_path / "s"]
    process = subprocess.Popen(
        [*command, "--serial", os.ttyname(follower)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
    )  # fmt: skip
    row = drawn(1, 5)[0].tolist()
    sample = ",".join(map(str, row)).encode() + b"\n"
    names = {"rest", "fist", "wave"}
    try:
        while (
            select.select([process.stdout], [], [], 1)[0] == []
        ):  # until the port is open, what is sent is lost
            assert process.poll() is None, process.stderr.read()
            os.write(leader, sample)
        assert lines_of(process, 1)[0] in names
        process.stdin.write(b"clap\n")
        while True:
            os.write(leader, sample)
            line = lines_of(process, 1)[0]
            if line not in names:
                break
        assert line == "learned clap; 2 events are safe"  # the class, and the sample
        os.write(leader, b"1,2\n")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=WAIT_S)
    finally:
        process.kill()
        process.wait()
        os.close(leader)
        os.close(follower)
    assert process.returncode == 130, err
    *_, end = replay(tmp_path / "s")
    assert end.learner.names[-1] == "clap"
    assert sum(end.learner.learned) == 1


def test_a_script_says_what_is_wrong(tmp_path, model):
    command = [sys.executable, TOOLS / "personalize_pi.py", model, tmp_path / "s", "--serial", "/dev/none"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert done.returncode == 1
    assert "cannot open /dev/none" in done.stderr
    assert "try: edgehff device list" in done.stderr
    assert "Traceback" not in done.stderr


def test_on_a_jetson(tmp_path):
    cv2 = pytest.importorskip("cv2")
    model = ROOT / "models" / "mnist-conv" / "model.safetensors"
    video = tmp_path / "camera.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"MJPG"), 10, (112, 112))
    picture = np.zeros((112, 112, 3), np.uint8)
    picture[20:90, 50:62] = 255
    for _ in range(40):
        writer.write(picture)
    writer.release()
    command = [
        sys.executable,
        "-u",
        TOOLS / "personalize_jetson.py",
        model,
        tmp_path / "s",
        "--camera",
        video,
    ]
    done = subprocess.run(
        command, input="stroke\n", capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "learned 10 pictures of stroke; 11 events are safe" in lines
    assert lines[-1] == "stroke"
    *_, end = replay(tmp_path / "s")
    assert end.learner.learned[-1] == 10


def test_the_service_is_a_valid_unit(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    text = (TOOLS / "edgehff-personalize.service").read_text()
    command = text.split("ExecStart=")[1].splitlines()[0].split()
    assert command[1] == "personalize"
    unit = tmp_path / "edgehff-personalize.service"
    unit.write_text(text.replace(command[0], sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "edgehff" not in done.stderr
    help_text = subprocess.run(
        [sys.executable, "-m", "edgehff", "personalize", "--help"], capture_output=True, text=True, check=True
    ).stdout
    for option in (word for word in command if word.startswith("--")):
        assert option in help_text


def test_systemd_is_told_that_it_lives(tmp_path, model):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(WAIT_S)
        process = subprocess.Popen(
            [sys.executable, "-m", "edgehff", "personalize", model, "--data", "-", "--store", tmp_path / "s"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env=os.environ | {"NOTIFY_SOCKET": str(path)},
        )  # fmt: skip
        try:
            assert manager.recv(4096) == b"READY=1"
            told = [manager.recv(4096) for _ in range(2)]  # nothing comes, and still it lives
            process.stdin.close()
            assert process.wait(WAIT_S) == 0 or process.stderr.read() == b""
        finally:
            process.kill()
            process.wait()
            process.stderr.close()
    assert told == [b"WATCHDOG=1\nSTATUS=0 learned, 0 answered"] * 2
