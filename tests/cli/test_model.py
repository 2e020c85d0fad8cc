"""`edgehff model list` and `edgehff model get`, from folders and from a server of our own."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from commands import document, run

from edgehff import download
from edgehff.model.catalog import RELEASES, Release

CONTENTS = bytes(range(256)) * 600  # more than two chunks, and no whole number of them
ENDLESS = 64 << 20
TINY = Release(
    name="tiny-net",
    title="A network of the test",
    file="tiny-net-v1.safetensors",
    bytes=len(CONTENTS),
    sha256=hashlib.sha256(CONTENTS).hexdigest(),
)
Serve = Callable[[BaseHTTPRequestHandler], None]
Capture = pytest.CaptureFixture[str]


class Server:
    """Answers every request with `serve`; `base` is its address, `paths` what was asked for."""

    def __init__(self) -> None:
        self.serve: Serve = partial(send, CONTENTS)
        self.paths: list[str] = []
        self.closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.paths.append(self.path)
                outer.serve(self)

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.http.server_port}/models"


def send(body: bytes, handler: BaseHTTPRequestHandler, *, length: int | None = None) -> None:
    """A whole answer; length is what it announces, where that is not the truth."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.closing.set()
    made.http.shutdown()
    made.http.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to write into; TINY in the catalog; no address and no proxy of this machine."""
    for name in ("EDGEHFF_MODELS", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(RELEASES, TINY.name, TINY)
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder in which TINY lies."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    (folder / TINY.file).write_bytes(CONTENTS)
    return folder


def refused(capsys: Capture, out: Path, *args: str | Path) -> tuple[str, str]:
    """Message and hint of a `model get` that must end with 3 and leave nothing behind."""
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    code, shown, err = run(capsys, "model", "get", TINY.name, "-o", out / "m.safetensors", "--quiet", *args)
    assert (code, shown) == (3, "")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    lines = err.splitlines()
    assert len(lines) == 2
    return lines[0], lines[1]


def test_list(capsys: Capture) -> None:
    code, shown, err = run(capsys, "model", "list")
    assert code == 0
    line = next(line for line in shown.splitlines() if TINY.name in line)
    assert line.split() == [TINY.name, *TINY.title.split(), "153,600", TINY.sha256]
    assert "edgehff model get NAME -o FILE" in err
    read = document(capsys, "model", "list")
    assert read["format"] == "edgehff.model.list/1"
    assert [entry["name"] for entry in read["models"]] == list(RELEASES)
    assert read["models"][-1] == {
        "name": TINY.name,
        "title": TINY.title,
        "file": TINY.file,
        "bytes": len(CONTENTS),
        "sha256": TINY.sha256,
    }


def test_the_catalog_is_well_formed() -> None:
    for name, release in RELEASES.items():
        assert name == release.name
        assert re.fullmatch(r"[a-z0-9][\w-]*\.safetensors", release.file)
        assert re.fullmatch(r"[0-9a-f]{64}", release.sha256)
        assert 0 < release.bytes <= 1 << 30
        assert "\n" not in release.title


@pytest.mark.parametrize("slash", ["", "/"])
def test_get_from_a_server(
    server: Server, out: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, slash: str
) -> None:
    monkeypatch.setenv("EDGEHFF_MODELS", server.base + slash)
    target = out / "m.safetensors"
    read = document(capsys, "model", "get", TINY.name, "-o", target)
    assert target.read_bytes() == CONTENTS
    assert [path.name for path in out.iterdir()] == ["m.safetensors"]
    assert server.paths == [f"/models/{TINY.file}"]
    assert read["format"] == "edgehff.model.get/1"
    assert {name: read[name] for name in ("name", "model", "from", "bytes", "sha256")} == {
        "name": TINY.name,
        "model": str(target),
        "from": f"{server.base}/{TINY.file}",
        "bytes": len(CONTENTS),
        "sha256": TINY.sha256,
    }


def test_get_from_a_folder_says_what_it_does(shelf: Path, out: Path, capsys: Capture) -> None:
    target = out / "m.safetensors"
    code, shown, err = run(capsys, "model", "get", TINY.name, "--from", shelf, "-o", target)
    assert code == 0
    assert target.read_bytes() == CONTENTS
    assert shown == f"wrote {target}  153,600 bytes, SHA-256 {TINY.sha256}\n"
    assert f"fetching {TINY.title} (153,600 bytes) from {shelf / TINY.file}\n" in err
    assert f"next: edgehff eval {target}" in err


def test_from_comes_before_the_environment(
    shelf: Path, out: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEHFF_MODELS", str(out))
    read = document(capsys, "model", "get", TINY.name, "--from", shelf, "-o", out / "m.safetensors")
    assert read["from"] == str(shelf / TINY.file)


@pytest.mark.parametrize("value", [None, ""])
def test_no_address_names_both_ways_on(
    out: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is not None:
        monkeypatch.setenv("EDGEHFF_MODELS", value)
    message, hint = refused(capsys, out)
    assert message == f"error: where {TINY.file} lies is not known"
    assert "set EDGEHFF_MODELS to a folder or an http(s):// address" in hint
    assert f"edgehff train models/{TINY.name}/recipe.toml -o {TINY.file}" in hint


@pytest.mark.parametrize("address", ["nowhere/at/all", "ftp://127.0.0.1/models"])
def test_an_address_that_is_none(
    out: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    message, _ = refused(capsys, out, "--from", address)
    assert message == f"error: --from is {address}, no folder and no http(s):// address"
    monkeypatch.setenv("EDGEHFF_MODELS", address)
    message, _ = refused(capsys, out)
    assert message == f"error: EDGEHFF_MODELS is {address}, no folder and no http(s):// address"


@pytest.mark.parametrize(("name", "near"), [("tiny-ned", "; did you mean tiny-net?"), ("zzz", "")])
def test_no_such_model(shelf: Path, out: Path, capsys: Capture, name: str, near: str) -> None:
    code, _, err = run(capsys, "model", "get", name, "--from", shelf, "-o", out / "m.safetensors")
    assert code == 3
    assert err == f"error: no model to fetch is called {name!r}{near}\n  try: edgehff model list\n"


def test_wrong_digest(server: Server, shelf: Path, out: Path, capsys: Capture) -> None:
    other = CONTENTS[:-1] + b"\0"
    (shelf / TINY.file).write_bytes(other)
    server.serve = partial(send, other)
    for address in (str(shelf), server.base):
        message, hint = refused(capsys, out, "--from", address)
        digest = hashlib.sha256(other).hexdigest()
        assert message == (
            f"error: {address}/{TINY.file} is not tiny-net: its SHA-256 is {digest}, not {TINY.sha256}"
        )
        assert "EDGEHFF_MODELS" in hint


def test_too_short_a_body(server: Server, shelf: Path, out: Path, capsys: Capture) -> None:
    (shelf / TINY.file).write_bytes(CONTENTS[:-1])
    server.serve = partial(send, CONTENTS[:-1])
    for address in (str(shelf), server.base):
        message, _ = refused(capsys, out, "--from", address)
        assert message.endswith(f"{TINY.file} has 153599 bytes, tiny-net has 153600")


def test_too_long_a_body(server: Server, shelf: Path, out: Path, capsys: Capture) -> None:
    (shelf / TINY.file).write_bytes(CONTENTS + b"\0")
    server.serve = partial(send, CONTENTS + b"\0")
    for address in (str(shelf), server.base):
        message, _ = refused(capsys, out, "--from", address)
        assert message.endswith(f"from {address}/{TINY.file}: more than 153600 bytes")


def test_a_body_without_end_is_left(server: Server, out: Path, capsys: Capture) -> None:
    sent: list[int] = []
    left = threading.Event()

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(ENDLESS >> 16):
                handler.wfile.write(bytes(65536))
                sent.append(65536)
        except OSError:
            left.set()

    server.serve = endless
    message, _ = refused(capsys, out, "--from", server.base)
    assert message.endswith("more than 153600 bytes")
    assert left.wait(10)
    assert sum(sent) < ENDLESS


def test_an_announced_length_is_believed_before_it_comes(server: Server, out: Path, capsys: Capture) -> None:
    server.serve = partial(send, CONTENTS, length=len(CONTENTS) + 1)
    message, _ = refused(capsys, out, "--from", server.base)
    assert message.endswith("more than 153600 bytes")


def test_a_connection_that_breaks(server: Server, out: Path, capsys: Capture) -> None:
    server.serve = partial(send, CONTENTS[:100_000], length=len(CONTENTS))
    message, hint = refused(capsys, out, "--from", server.base)
    assert message.startswith(f"error: tiny-net could not be fetched from {server.base}/{TINY.file}: ")
    assert "EDGEHFF_MODELS" in hint


@pytest.mark.parametrize("answered", [False, True], ids=["silent", "half-way"])
def test_a_server_that_stalls(
    server: Server, out: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, answered: bool
) -> None:
    def stall(handler: BaseHTTPRequestHandler) -> None:
        if answered:
            send(CONTENTS[:70_000], handler, length=len(CONTENTS))
        server.closing.wait(5)

    monkeypatch.setattr(download, "TIMEOUT_S", 0.2)
    server.serve = stall
    message, _ = refused(capsys, out, "--from", server.base)
    assert "timed out" in message


def test_a_file_that_is_not_there(
    server: Server, shelf: Path, out: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.serve = lambda handler: handler.send_error(404)
    message, _ = refused(capsys, out, "--from", server.base)
    assert "404" in message
    (shelf / TINY.file).unlink()
    message, _ = refused(capsys, out, "--from", shelf)
    assert message == f"error: tiny-net could not be fetched from {shelf / TINY.file}: no such file"
    message, _ = refused(capsys, out, "--from", "http://127.0.0.1:1")
    assert message.startswith("error: tiny-net could not be fetched from http://127.0.0.1:1/")


def test_an_existing_file_is_replaced_by_the_right_one_only(
    server: Server, shelf: Path, out: Path, capsys: Capture
) -> None:
    out.mkdir(exist_ok=True)
    target = out / "mine.safetensors"
    target.write_bytes(b"mine")
    (shelf / TINY.file).write_bytes(b"x" * TINY.bytes)
    assert run(capsys, "model", "get", TINY.name, "--from", shelf, "-o", target)[0] == 3
    assert target.read_bytes() == b"mine"
    assert run(capsys, "model", "get", TINY.name, "--from", server.base, "-o", target)[0] == 0
    assert target.read_bytes() == CONTENTS


def test_no_folder_to_write_into(server: Server, out: Path, capsys: Capture) -> None:
    target = out / "new" / "m.safetensors"
    code, _, err = run(capsys, "model", "get", TINY.name, "--from", server.base, "-o", target)
    assert code == 3
    assert err.splitlines()[1] == f"  try: mkdir -p {out / 'new'}"
    assert server.paths == []


def test_a_name_that_cannot_be_taken_leaves_nothing(
    shelf: Path, out: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        assert source.parent == target.parent
        assert source.read_bytes() == CONTENTS
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    message, _ = refused(capsys, out, "--from", shelf)
    assert message == f"error: cannot write {out / 'm.safetensors'}: No space left on device"
