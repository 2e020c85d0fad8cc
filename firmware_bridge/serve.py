"""Firmware that runs emulated for other programs, its UART on a socket or pseudoterminal of this machine."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edgehff.errors import DeviceError, NoDeviceError
from firmware_bridge.boards import Board
from firmware_bridge.build import require_tool

START_S = 20.0


@contextmanager
def served(board: Board, elf: Path, tcp: int = 0) -> Iterator[tuple[str, Callable[[], None]]]:
    """Start the emulator; gives its URL, and a function that waits for its end.

    tcp: the port of 127.0.0.1 to listen on; 0 takes a free one. host_pty has a pseudoterminal instead.

    Raises:
        NoDeviceError: it did not start.
        MissingToolError: the emulator is not installed.
        DeviceError: while waiting, it ended by itself.
    """
    if not board.toolchain:
        process = subprocess.Popen([elf.resolve()], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)  # noqa: S603
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
    else:
        program = require_tool(board.emulator[0], board.emulator_package)
        port = tcp or _free_port()
        url = f"socket://127.0.0.1:{port}"
        machine = [part.format(elf=elf) for part in board.emulator[1:]]
        command = [program, *machine, "-nographic", "-monitor", "none"]
        command += ["-serial", f"tcp:127.0.0.1:{port},server=on,wait=off,nodelay=on"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 (QEMU from PATH)
        _await_port(process, port)

    def wait() -> None:
        code = process.wait()
        if code not in (0, -signal.SIGINT, -signal.SIGTERM):
            raise DeviceError(f"the emulator of {board.name} ended with {code}")

    try:
        yield url, wait
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _await_port(process: subprocess.Popen[bytes], port: int) -> None:
    """Until the emulator holds the port: asking it would be taken for the one connection that it serves."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            return
        time.sleep(0.05)
    process.kill()
    raise NoDeviceError("the emulator did not start", hint="another --tcp PORT, if this one is taken")
