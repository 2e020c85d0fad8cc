"""The page's server: a thread of its own beside the one that learns, until it is closed."""

from __future__ import annotations

import ipaddress
import logging
import secrets
import socket
import threading
from types import TracebackType
from typing import Any
from urllib.parse import quote

import waitress
from waitress import wasyncore

from edgehff.errors import InputError
from edgehff.personalize.live import Live
from edgehff.web.app import MAX_BODY, Rules, make_app

LOOPBACK = "127.0.0.1"
HTTP_PORT = 80
_LIMITS = {
    "threads": 2,
    "connection_limit": 32,
    "channel_timeout": 30,
    "max_request_header_size": 16 << 10,
    "max_request_body_size": MAX_BODY + 1,
}
_CLOSE_S = 10.0


class Server:
    """A page about a session, at an address of this machine.

    url: where it is, with its token.  port: its port, found where 0 was given.
    """

    def __init__(self, live: Live, host: str = LOOPBACK, port: int = 0, token: str | None = None) -> None:
        """Serve at host and port, 0 for a free one.

        token: what every request has to bring; where the host can be reached from other machines there
            always is one, a random one where none is given.

        Raises:
            InputError: no such address, or the port is taken.
        """
        listening = _listening(host, port)
        address = ipaddress.ip_address(listening.getsockname()[0])
        self.port: int = listening.getsockname()[1]
        if token is None and not address.is_loopback:
            token = secrets.token_urlsafe()
        shown = socket.gethostname() if address.is_unspecified else _bracketed(host)
        self.url = f"http://{shown}:{self.port}/" + (f"?token={quote(token, safe='')}" if token else "")
        rules = Rules(_hosts(host, self.port) if token is None else None, token, f"edgehff-{self.port}")
        logging.getLogger("waitress").setLevel(logging.ERROR)  # a full queue is no news to a terminal
        self._map: dict[int, Any] = {}
        app = make_app(live, rules)
        self._server = waitress.create_server(app, self._map, sockets=[listening], ident=None, **_LIMITS)
        self._ends, self._closed = threading.Event(), False
        self._thread = threading.Thread(target=self._serve, name="edgehff-web", daemon=True)
        self._thread.start()

    def __enter__(self) -> Server:
        """The server itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Answer no more, and let go of the port; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._ends.set()
            self._server.pull_trigger()
            self._thread.join(_CLOSE_S)
            self._server.task_dispatcher.shutdown(timeout=_CLOSE_S)
            wasyncore.close_all(self._map)  # the trigger too, which nobody pulls any more

    def _serve(self) -> None:
        while not self._ends.is_set():
            wasyncore.loop(use_poll=True, map=self._map, count=1)


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot listen on {host}, port {port}: {reason}",
            hint="take an address of this machine and another port, or port 0 for a free one",
        ) from error


def _hosts(host: str, port: int) -> frozenset[str]:
    """What a browser on this machine may call the page."""
    names = {"localhost", LOOPBACK, "[::1]", _bracketed(host).lower()}
    return frozenset({f"{name}:{port}" for name in names} | (names if port == HTTP_PORT else set()))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
