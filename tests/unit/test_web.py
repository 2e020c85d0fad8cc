"""The page's server, by real HTTP on this machine: who is answered, what is taken, how it ends."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from personal import NAMES, drawn, small_network

from edgehff.data.stream import Item
from edgehff.errors import InputError
from edgehff.model.network import Network
from edgehff.personalize.live import Live
from edgehff.personalize.run import Learned, run
from edgehff.personalize.session import PersonalSession

pytest.importorskip("bottle")
pytest.importorskip("waitress")

from edgehff.web.app import MAX_BODY, PAGE
from edgehff.web.server import Server

TOKEN = "a-token-of-this-test"  # noqa: S105
Reply = tuple[int, dict[str, str], bytes]


@pytest.fixture(scope="module")
def network() -> Network:
    return small_network()


@pytest.fixture
def session(network: Network) -> PersonalSession:
    return PersonalSession(network)


@contextmanager
def waiting(session: PersonalSession, *names: str) -> Iterator[tuple[Live, Iterator[Any]]]:
    """A live session whose samples of these names wait for their labels; and its run, which is not over."""
    live = Live(session)

    def stream() -> Iterator[Item | None]:
        for i, name in enumerate(names):
            yield Item(drawn(1, i)[0].astype("float32"), None, name)
        while True:
            yield None

    events = run(session, live.merged(stream()))
    for _ in names:
        live.take(next(events))
    yield live, events


def ask(server: Server, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
    """One request, its headers by names with _ for -; those that are "" are left out."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.putrequest(method, path, skip_host="Host" in given, skip_accept_encoding=True)
    for name, value in given.items():
        if value:
            connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    reply = connection.getresponse()
    read = reply.read()
    connection.close()
    return reply.status, {k.lower(): v for k, v in reply.getheaders()}, read


def label(server: Server, document: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    """Post a label as the page does; returns status and document."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    usual = {"Origin": f"http://127.0.0.1:{server.port}", "Content_Type": "application/json"}
    status, _, read = ask(server, "POST", "/label", body, **(usual | headers))
    return status, json.loads(read)


def test_the_page_its_files_and_data(session: PersonalSession) -> None:
    with waiting(session, "a") as (live, _), Server(live) as server:
        assert server.url == f"http://127.0.0.1:{server.port}/"
        kinds = {"/": "text/html", "/style.css": "text/css", "/page.js": "text/javascript"}
        for path, kind in kinds.items():
            status, headers, body = ask(server, "GET", path)
            assert status == 200
            assert headers["content-type"] == f"{kind}; charset=utf-8"
            assert headers["content-security-policy"].startswith("default-src 'self';")
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert body
        status, headers, body = ask(server, "GET", "/data")
        assert (status, headers["content-type"]) == (200, "application/json")
        assert headers["cache-control"] == "no-store"
        view = json.loads(body)
        assert view["waiting"][0]["id"] == "a"
        assert {"server", "set-cookie"} & set(headers) == set()
        assert ask(server, "GET", "/favicon.ico")[0] == 204


def test_a_label_is_learned(session: PersonalSession) -> None:
    with waiting(session, "a", "b") as (live, events), Server(live) as server:
        assert label(server, {"id": "a", "label": "wave"}) == (202, {"asked": "wave"})
        event = next(events)
        assert isinstance(event, Learned)
        assert (event.sample_id, NAMES[event.label]) == ("a", "wave")


def test_what_is_no_label_is_refused_with_the_reason(session: PersonalSession) -> None:
    with waiting(session, "a", "b") as (live, events), Server(live) as server:
        for document, expected in (
            (b"", 400),
            (b"{", 400),
            (b"\xff{}", 400),
            (b"[" * 4000, 400),
            ([1], 400),
            ({"id": "a"}, 400),
            ({"label": "fist"}, 400),
            ({"id": 7, "label": "fist"}, 400),
            ({"id": "a" * 256, "label": "fist"}, 400),
            ({"id": "a", "label": True}, 400),
            ({"id": "a", "label": "fist", "x": []}, 400),
            ({"id": "zzz", "label": "fist"}, 404),
            ({"id": "a", "label": "clap"}, 422),
            ({"id": "a", "label": 1}, 422),
            (b" " * (MAX_BODY - 30) + b'{"id": "a", "label": "fist"}', 202),
            ({"id": "a", "label": "fist"}, 409),
        ):
            status, reply = label(server, document)
            assert status == expected, (document, reply)
            assert (set(reply) == {"asked"}) == (expected == 202)
            assert reply.get("error", "-")
        events.close()  # type: ignore[attr-defined]
        status, reply = label(server, {"id": "b", "label": "fist"})
        assert (status, reply["error"]) == (503, "the stream is over")
        assert session.metrics()["samples"] == 0


@pytest.mark.parametrize("size", [MAX_BODY + 1, MAX_BODY + 2, 100_000, 1 << 40])
def test_a_long_body_is_refused_before_it_is_read(session: PersonalSession, size: int) -> None:
    with waiting(session, "a") as (live, _), Server(live) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as line:
            head = f"Host: 127.0.0.1:{server.port}\r\nOrigin: http://127.0.0.1:{server.port}\r\n"
            head += f"Content-Type: application/json\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
            line.sendall(b"POST /label HTTP/1.1\r\n" + head.encode())
            assert re.match(rb"HTTP/1.1 413 ", line.recv(1000))
        assert live.view()["waiting"][0]["asked"] is None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": ""}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "https://127.0.0.1:{port}"}, 403),
        ({"Origin": "http://localhost:{port}"}, 403),
        ({"Origin": "http://localhost:{port}", "Host": "localhost:{port}"}, 202),
        ({"Origin": "http://evil.example:{port}", "Host": "evil.example:{port}"}, 403),
        ({"Content_Type": ""}, 415),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content_Type": "application/json; charset=utf-8"}, 202),
    ],
)
def test_a_label_comes_from_the_page_itself(
    session: PersonalSession, headers: dict[str, str], status: int
) -> None:
    with waiting(session, "a") as (live, _), Server(live) as server:
        filled = {name: value.format(port=server.port) for name, value in headers.items()}
        assert label(server, {"id": "a", "label": "fist"}, **filled)[0] == status
        assert (live.view()["waiting"][0]["asked"] == "fist") == (status == 202)


@pytest.mark.parametrize("path", ["/", "/data", "/page.js", "/none"])
@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("127.0.0.1:{port}", True),
        ("LocalHost:{port}", True),
        ("[::1]:{port}", True),
        ("evil.example:{port}", False),
        ("127.0.0.1", False),
        ("127.0.0.1:1", False),
        ("127.0.0.1.evil.example:{port}", False),
        ("", False),
    ],
)
def test_a_foreign_name_that_leads_here_is_refused(
    session: PersonalSession, path: str, host: str, known: bool
) -> None:
    with waiting(session) as (live, _), Server(live) as server:
        status, _, body = ask(server, "GET", path, Host=host.format(port=server.port))
        assert status == (403 if not known else 404 if path == "/none" else 200)
        assert known or json.loads(body)["error"] == "this page has another address"


def test_other_paths_and_methods(session: PersonalSession) -> None:
    with waiting(session) as (live, _), Server(live) as server:
        for method, path, expected in (
            ("GET", "/none", 404),
            ("GET", "/app.py", 404),
            ("GET", "/page/index.html", 404),
            ("GET", "/../app.py", 404),
            ("GET", "/label", 405),
            ("DELETE", "/data", 405),
        ):
            status, headers, body = ask(server, method, path)
            assert status == expected
            assert json.loads(body)["error"]
            assert "content-security-policy" in headers
        assert ask(server, "HEAD", "/")[::2] == (200, b"")


@pytest.mark.parametrize("token", [TOKEN, None])
def test_other_machines_need_the_token(session: PersonalSession, token: str | None) -> None:
    with waiting(session, "a") as (live, _), Server(live, "0.0.0.0", 0, token) as server:  # noqa: S104
        own = server.url.partition("?token=")[2]
        assert own == TOKEN if token else len(own) >= 43
        assert server.url.startswith(f"http://{socket.gethostname()}:{server.port}/")
        name = f"edgehff-{server.port}"
        for path in ("/", "/data", "/style.css", "/none", "/favicon.ico"):
            for wrong in ("", "?token=", f"?token={own}x", f"?token={own[:-1]}", "?token=%FF", "?x=1"):
                status, headers, body = ask(server, "GET", path + wrong)
                assert (status, json.loads(body)["error"]) == (403, "the token is missing or wrong")
                assert "set-cookie" not in headers
            assert ask(server, "GET", path, Cookie=f"{name}=wrong")[0] == 403
            assert ask(server, "GET", path, Cookie=f"other={own}")[0] == 403
        document = {"id": "a", "label": "fist"}
        assert label(server, document)[0] == 403
        status, headers, _ = ask(server, "GET", f"/?token={own}")
        assert status == 200
        cookie, *attributes = headers["set-cookie"].split("; ")
        assert cookie == f"{name}={own}"
        assert {a.lower() for a in attributes} == {"httponly", "path=/", "samesite=strict"}
        status, headers, _ = ask(server, "GET", "/data", Cookie=cookie)
        assert (status, "set-cookie" in headers) == (200, False)
        assert ask(server, "GET", "/data", Cookie=cookie, Host="a-name.example:80")[0] == 200
        assert label(server, document, Cookie=cookie, Origin="http://evil.example")[0] == 403
        assert live.view()["waiting"][0]["asked"] is None
        assert label(server, document, Cookie=cookie)[0] == 202


def test_a_token_on_this_machine_is_needed_too(session: PersonalSession) -> None:
    with waiting(session) as (live, _), Server(live, token=TOKEN) as server:
        assert ask(server, "GET", "/")[0] == 403
        assert ask(server, "GET", f"/?token={TOKEN}")[0] == 200
        assert server.url.endswith(f"/?token={TOKEN}")


def test_it_ends_and_lets_go_of_its_port(session: PersonalSession) -> None:
    with waiting(session) as (live, _):
        server = Server(live)
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as idle:
            assert ask(server, "GET", "/")[0] == 200
            server.close()
            server.close()
            assert idle.recv(1) == b""
        assert not server._thread.is_alive()
        with pytest.raises(OSError, match="refused"):
            ask(server, "GET", "/")
        with Server(live, port=server.port) as again:
            assert ask(again, "GET", "/")[0] == 200


def test_it_ends_while_requests_end_too(session: PersonalSession) -> None:
    """300 times: the thread that serves wakes up by itself while it is told to end."""
    with waiting(session) as (live, _):
        for _ in range(300):
            with Server(live) as server:
                assert ask(server, "GET", "/", Host="evil.example")[0] == 403


def test_an_address_that_cannot_be_had_is_an_error(session: PersonalSession) -> None:
    with waiting(session) as (live, _), Server(live) as server:
        for host, port, why in (
            ("127.0.0.1", server.port, "in use"),
            ("192.0.2.1", 0, "assign"),
            ("a" * 80 + ".example", 0, "cannot listen on aaa"),
        ):
            with pytest.raises(InputError, match=why) as caught:
                Server(live, host, port)
            assert "port 0" in caught.value.hint


def test_the_page_takes_nothing_from_elsewhere_and_no_markup_from_names() -> None:
    text = {path.name: path.read_text() for path in PAGE.iterdir()}
    assert set(text) == {"index.html", "style.css", "page.js"}
    addresses = {a for t in text.values() for a in re.findall(r"\w+://[^\"'\s]+", t)}
    assert addresses == {"http://www.w3.org/2000/svg"}
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|Function\(", text["page.js"]
    )
    assert not re.search(r"\son\w+=|\sstyle=|<style|<script(?! src)", text["index.html"])
    ids = set(re.findall(r'\bid="([\w-]+)"', text["index.html"]))
    assert set(re.findall(r'(?:\$|setText)\("([\w-]+)"', text["page.js"])) <= ids
