"""Signs of life for systemd: sd_notify(3), where NOTIFY_SOCKET is set."""

from __future__ import annotations

import os
import socket
import time

INTERVAL_S = 1.0


class Watchdog:
    """Tells the service manager that the process is up and at work; without one, nothing."""

    def __init__(self) -> None:
        """Take the socket from the environment."""
        path = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._last = 0.0

    def ready(self) -> None:
        """The session is open."""
        self._send("READY=1")

    def alive(self, status: str) -> None:
        """Another sample, or another second without one; told at most once a second."""
        now = time.monotonic()
        if self._address and now - self._last >= INTERVAL_S:
            self._last = now
            self._send(f"WATCHDOG=1\nSTATUS={status}")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                line.sendto(text.encode("utf-8"), self._address)
        except OSError:
            self._address = ""  # the manager is gone: there is nobody to tell
