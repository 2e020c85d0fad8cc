"""The pages and their rules as one WSGI application: who may see them, who may label.

With a token, every request needs it: in the query once, then in a cookie. Without one the page is for this
machine alone, and the Host header has to be an address of it: else a foreign name that was pointed here (DNS
rebinding) would do. What is posted comes from the page itself, by the Origin header, and is JSON.
"""

from __future__ import annotations

import hmac
import json
from http import HTTPStatus
from pathlib import Path
from typing import Any

import bottle

from edgehff.data.stream import parse_line
from edgehff.errors import DataError
from edgehff.personalize.live import AskError, Live

MAX_BODY = 4 << 10
"""Bytes of what is posted; the server before the application holds to it too."""
PAGE = Path(__file__).parent / "page"
_FILES = {
    "/": ("index.html", "text/html"),
    "/style.css": ("style.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_STATUS = {
    "unknown": HTTPStatus.NOT_FOUND,
    "asked": HTTPStatus.CONFLICT,
    "label": HTTPStatus.UNPROCESSABLE_ENTITY,
    "full": HTTPStatus.SERVICE_UNAVAILABLE,
    "ended": HTTPStatus.SERVICE_UNAVAILABLE,
}


class Rules:
    """Whose requests are answered.

    hosts: what the Host header may be; None: anything, where there is a token.
    token: what every request has to bring; None: nothing.  cookie: under which name it is kept.
    """

    def __init__(self, hosts: frozenset[str] | None, token: str | None, cookie: str) -> None:
        self._hosts, self._token, self._cookie = hosts, token, cookie

    def check(self) -> None:
        """Go on where the request that is being answered keeps to the rules; 403 or 415 where not."""
        request = bottle.request
        host = request.get_header("Host", "")
        if self._hosts is not None and host.lower() not in self._hosts:
            raise _refused(HTTPStatus.FORBIDDEN, "this page has another address", "open the one it was given")
        if self._token is not None:
            given = request.query.get("token")
            if not self._is_token(given or request.get_cookie(self._cookie) or ""):
                raise _refused(
                    HTTPStatus.FORBIDDEN, "the token is missing or wrong", "open the address with ?token="
                )
            if given:
                bottle.response.set_cookie(
                    self._cookie, self._token, path="/", httponly=True, samesite="strict"
                )
        if request.method == "POST":
            if request.get_header("Origin", "").lower() != f"http://{host}".lower():
                raise _refused(HTTPStatus.FORBIDDEN, "this comes from another page", "label on the page")
            if request.content_type.split(";")[0].strip().lower() != "application/json":
                raise _refused(
                    HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "this is not JSON", "Content-Type: application/json"
                )

    def _is_token(self, given: str) -> bool:
        assert self._token is not None
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._token.encode("utf-8"))


def make_app(live: Live, rules: Rules) -> Any:
    """The application: the page, `/data` for what it shows, `/label` for what it is told."""
    app = bottle.Bottle()
    files = {path: ((PAGE / name).read_bytes(), kind) for path, (name, kind) in _FILES.items()}

    def page() -> bytes:
        body, kind = files[bottle.request.path]
        bottle.response.content_type = f"{kind}; charset=utf-8"
        return body

    def no_icon() -> None:
        bottle.response.status = int(HTTPStatus.NO_CONTENT)

    def data() -> str:
        return _json(live.view())

    def label() -> Any:
        body = bottle.request.body.read(MAX_BODY + 1)
        if len(body) > MAX_BODY:
            raise _refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"over {MAX_BODY} bytes", "give an id and a label"
            )
        try:
            item = parse_line(body.decode("utf-8"), 0)
            if item.values is not None or item.sample_id is None:
                raise DataError("not an id and a label", hint='{"id": "a7", "label": "fist"}')
            live.ask(item)
        except UnicodeDecodeError:
            raise _refused(HTTPStatus.BAD_REQUEST, "this is not UTF-8", "send JSON") from None
        except AskError as error:
            raise _refused(_STATUS[error.kind], error.message, error.hint) from error
        except DataError as error:
            raise _refused(HTTPStatus.BAD_REQUEST, error.message, '{"id": "a7", "label": "fist"}') from error
        bottle.response.status = int(HTTPStatus.ACCEPTED)
        return _json({"asked": item.label})

    def finish() -> None:
        for name, value in _HEADERS.items():
            bottle.response.set_header(name, value)

    def failed(error: Any) -> str:
        bottle.response.content_type = "application/json"
        return json.dumps({"error": str(error.body), "hint": ""})

    for path in files:
        app.route(path, "GET", page)
    app.route("/favicon.ico", "GET", no_icon)  # browsers ask for one
    app.route("/data", "GET", data)
    app.route("/label", "POST", label)
    app.add_hook("before_request", rules.check)
    app.add_hook("after_request", finish)
    app.default_error_handler = failed
    return app


def _json(document: dict[str, Any]) -> str:
    bottle.response.content_type = "application/json"
    return json.dumps(document, allow_nan=False)


def _refused(status: HTTPStatus, error: str, hint: str) -> Any:
    body = json.dumps({"error": error, "hint": hint})
    return bottle.HTTPResponse(body, int(status), {"Content-Type": "application/json"})
