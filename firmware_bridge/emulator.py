"""Boards that QEMU emulates, and the firmware as a process: lines to them, and their end."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from edgehff.errors import NoDeviceError
from firmware_bridge.boards import Board
from firmware_bridge.build import require_tool
from firmware_bridge.transport import CHUNK, LineLost, SerialTransport

START_S = 20.0
STOP_S = 5.0


class EmulatorTransport:
    """A board in QEMU, its UART on a local socket. Opening it again starts it anew, as a power cycle does.

    board: which one; not host_pty.  elf: its firmware.  arguments: further ones for QEMU.
    process: the running QEMU, or None.
    """

    def __init__(self, board: Board, elf: Path, arguments: Sequence[str] = ()) -> None:
        self.name = f"emulator:{board.name}"
        self.process: subprocess.Popen[bytes] | None = None
        self._board, self._elf, self._arguments = board, elf, tuple(arguments)
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Start QEMU. NoDeviceError where it does not come up, MissingToolError where it is not installed."""
        self.close()
        program = require_tool(self._board.emulator[0], self._board.emulator_package)
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(0.1)
            port = server.getsockname()[1]
            machine = [part.format(elf=self._elf) for part in self._board.emulator[1:]]
            command = [program, *machine, "-nographic", "-monitor", "none"]
            command += ["-serial", f"tcp:127.0.0.1:{port},nodelay=on", *self._arguments]
            self.process = subprocess.Popen(  # noqa: S603 (QEMU from PATH, arguments as a list)
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            deadline = time.monotonic() + START_S
            while self._socket is None:
                try:
                    self._socket, _ = server.accept()
                except TimeoutError:
                    if self.process.poll() is not None or time.monotonic() > deadline:
                        raise NoDeviceError(
                            f"{self.name} did not start: {self._last_words()}",
                            hint=f"{' '.join(command[:3])} -serial stdio ... shows why",
                        ) from None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)

    def _last_words(self) -> str:
        process = self.process
        if process is None or process.stderr is None:
            return "no message"
        process.kill()
        _, text = process.communicate(timeout=STOP_S)
        return text.decode(errors="replace").strip()[-300:] or "no message"

    def close(self) -> None:
        """End QEMU."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self.process is not None:
            self.process.kill()
            self.process.communicate(timeout=STOP_S)
            self.process = None

    def read(self, timeout: float) -> bytes:
        """See Transport."""
        line = self._line()
        ready, _, _ = select.select([line], [], [], timeout)
        if not ready:
            return b""
        try:
            data = line.recv(CHUNK)
        except OSError as error:
            raise LineLost(f"{self.name}: the emulator ended: {error}") from error
        if not data:
            raise LineLost(f"{self.name}: the emulator ended")
        return data

    def write(self, data: bytes, timeout: float) -> None:
        """See Transport."""
        line, deadline = self._line(), time.monotonic() + timeout
        while data:
            _, ready, _ = select.select([], [line], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise LineLost(f"{self.name} takes no more bytes")
            try:
                data = data[line.send(data) :]
            except OSError as error:
                raise LineLost(f"{self.name}: the emulator ended: {error}") from error

    def _line(self) -> socket.socket:
        if self._socket is None:
            raise LineLost(f"{self.name} is not running")
        return self._socket


class ProcessTransport(SerialTransport):
    """The firmware as a process of this machine, its UART a pseudoterminal.

    elf: firmware of host_pty.  flash: the file of its two slots, or None for a board without.
    """

    def __init__(self, elf: Path, flash: Path | None = None) -> None:
        super().__init__(f"emulator:host_pty ({elf.name})")
        self.process: subprocess.Popen[bytes] | None = None
        self._elf, self._flash = elf, flash
        self._label = self.name

    def open(self) -> None:
        """Start the process where it does not run, and open its line."""
        super().close()
        if self.process is None or self.process.poll() is not None:
            environment = dict(os.environ)
            environment.pop("FLASH_FILE", None)
            if self._flash is not None:
                environment["FLASH_FILE"] = str(self._flash)
            self.process = subprocess.Popen(  # noqa: S603 (our own build)
                [self._elf], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment
            )
            assert self.process.stdout is not None
            ready, _, _ = select.select([self.process.stdout], [], [], START_S)
            path = self.process.stdout.readline().decode().strip() if ready else ""
            if not path:
                self.close()
                raise NoDeviceError(f"{self._label} did not start", hint="run the file to see why")
            self.name = path
        super().open()

    def close(self) -> None:
        """Close the line and end the process."""
        super().close()
        self.kill()

    def kill(self) -> None:
        """End the process at once, as a power cut does; the line stays open, and broken."""
        if self.process is not None:
            self.process.kill()
            if self.process.stdout is not None:
                self.process.stdout.close()
            self.process.wait(timeout=STOP_S)
            self.process = None


def emulated(board: Board, elf: Path, flash: Path | None = None) -> EmulatorTransport | ProcessTransport:
    """A line to firmware of this board, emulated."""
    return EmulatorTransport(board, elf) if board.toolchain else ProcessTransport(elf, flash)


def workspace() -> tempfile.TemporaryDirectory[str]:
    """A folder for firmware that is built to be run once."""
    return tempfile.TemporaryDirectory(prefix="edgehff-firmware-")
