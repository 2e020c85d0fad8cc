"""personalize --web as a user runs it: where the page is, what is refused, and its end with the stream."""

import http.client
import json
import re
import socket
import subprocess
import sys
import threading

import pytest
from commands import run

pytest.importorskip("waitress")

from edgehff import extras


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    command = [sys.executable, "-m", "edgehff", "train", "--data", "digits", "--layers", "8", "--epochs", "1"]
    subprocess.run([*command, "-o", path], check=True, capture_output=True, timeout=120)
    return path


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("--web", "0"), 2, "--web goes with a stream"),
        (("--web", "70000", "--data", "-"), 2, "70000 is not in the range"),
        (("--web-host", "192.0.2.1", "--data", "-"), 2, "--web-host goes with --web"),
        (("--web", "0", "--data", "-", "--web-token", ""), 2, "16 characters"),
        (("--web", "0", "--data", "-", "--web-token", "x" * 15), 2, "16 characters"),
        (("--web", "0", "--data", "-", "--web-host", "192.0.2.1"), 3, "cannot listen on 192.0.2.1"),
    ],
)
def test_what_cannot_be_done_is_said(model, capsys, args, code, message):
    got, _, err = run(capsys, "personalize", model, *args)
    assert got == code, err
    assert message in err


def test_a_port_in_use_ends_with_3(model, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, err = run(capsys, "personalize", model, "--data", "-", "--web", taken.getsockname()[1])
    assert code == 3
    assert "in use" in err
    assert "port 0 for a free one" in err


@pytest.mark.parametrize("missing", ["bottle", "waitress"])
def test_a_missing_extra_is_named(model, capsys, monkeypatch, missing):
    found = extras.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == missing else found(name))
    code, _, err = run(capsys, "personalize", model, "--data", "-", "--web", "0")
    assert code == 4
    assert f"{missing} is not installed" in err
    assert 'pip install "edgehff[web]"' in err


@pytest.mark.parametrize("token", [None, "a-token-of-this-test"])
def test_the_page_is_there_for_the_time_of_the_stream(model, token):
    command = [sys.executable, "-u", "-m", "edgehff", "personalize", model, "--data", "-", "--web", "0"]
    command += ["--web-token", token] if token else []
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        bound = threading.Timer(60, process.kill)
        bound.start()
        try:
            said = process.stderr.readline().decode()
            address = re.fullmatch(r"page: http://127\.0\.0\.1:(\d+)/(\S*)\n", said)
            assert address, said
            port, query = int(address[1]), address[2]
            assert query == (f"?token={token}" if token else "")
            process.stdin.write(json.dumps({"x": [1] * 64, "id": "a"}).encode() + b"\n")
            process.stdin.flush()
            assert process.stdout.readline().strip().isdigit()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", f"/data{query}")
            view = json.loads(connection.getresponse().read())
            connection.close()
            assert [w["id"] for w in view["waiting"]] == ["a"]
            _, err = process.communicate(timeout=60)
        finally:
            bound.cancel()
            process.kill()
    assert process.returncode == 0, err
    assert b"learned 0 samples" in err
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=30)


def test_the_web_is_loaded_where_it_is_asked_for_alone(model):
    program = (
        "import sys; from edgehff.cli.main import main; code = main(sys.argv[1:]);"
        "loaded = {'bottle', 'waitress', 'edgehff.web', 'edgehff.personalize.live'} & set(sys.modules);"
        "sys.exit(f'{code} {loaded}' if code or loaded else 0)"
    )
    for args in (["--help"], ["personalize", "--help"], ["personalize", str(model), "--data", "-"]):
        sample = ",".join("1" * 64).encode() + b"\n"
        done = subprocess.run(
            [sys.executable, "-c", program, *args], input=sample, capture_output=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
