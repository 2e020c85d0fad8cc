"""Lines to a board: a serial port, a socket, a pseudoterminal, an emulator. The client sees no difference."""

from __future__ import annotations

import contextlib
import errno
from dataclasses import dataclass
from typing import Protocol

import serial
from serial.tools import list_ports

from edgehff.errors import DeviceError, NoDeviceError
from firmware_bridge.boards import boards

BAUD = 115_200
CHUNK = 4096


class LineLost(DeviceError):  # noqa: N818 (what happened)
    """The line broke: the board was unplugged, or what carries the line ended."""


class Transport(Protocol):
    """A line of bytes that may be opened again after it broke.

    name: for messages.
    """

    name: str

    def open(self) -> None:
        """Open the line, closed or broken before. NoDeviceError where that cannot be."""

    def close(self) -> None:
        """Close the line; closing it again does nothing."""

    def read(self, timeout: float) -> bytes:
        """What has come, at most 4,096 bytes; waits for the first at most timeout seconds. LineLost."""

    def write(self, data: bytes, timeout: float) -> None:
        """Send all of data. LineLost where the line broke or takes no more for timeout seconds."""


class SerialTransport:
    """A serial port by its path, a pseudoterminal, or any URL that pyserial knows, such as socket://host:port."""

    def __init__(self, url: str, baud: int = BAUD) -> None:
        self.name, self._baud = url, baud
        self._serial: serial.SerialBase | None = None

    def open(self) -> None:
        """Open the port for this process alone."""
        SerialTransport.close(self)
        try:
            port = serial.serial_for_url(self.name, self._baud, timeout=0, do_not_open=True)
            if "://" not in self.name:
                port.exclusive = True
            port.open()
        except (serial.SerialException, OSError, ValueError) as error:
            raise _no_device(self.name, error) from error
        self._serial = port

    def close(self) -> None:
        """Close the port."""
        if self._serial is not None:
            inner = getattr(self._serial, "_socket", None)
            with contextlib.suppress(OSError):
                self._serial.close()
            if inner is not None:  # pyserial leaves it open where the other side closed first
                inner.close()
            self._serial = None

    def read(self, timeout: float) -> bytes:
        """Wait for one byte, then take what is there."""
        port = self._open_port()
        try:
            port.timeout = timeout
            first = bytes(port.read(1))
            if not first:
                return b""
            port.timeout = 0
            return first + bytes(port.read(CHUNK - 1))
        except (serial.SerialException, OSError, TypeError) as error:
            raise LineLost(f"{self.name}: the line broke: {error}", hint="plug the board in again") from error

    def write(self, data: bytes, timeout: float) -> None:
        """Send data."""
        port = self._open_port()
        try:
            port.write_timeout = timeout
            port.write(data)
        except (serial.SerialException, OSError, TypeError) as error:
            raise LineLost(f"{self.name}: cannot send: {error}", hint="plug the board in again") from error

    def _open_port(self) -> serial.SerialBase:
        if self._serial is None:
            raise LineLost(f"{self.name} is not open")
        return self._serial


def _no_device(name: str, error: Exception) -> NoDeviceError:
    number = getattr(error, "errno", None)
    text = str(error)
    if number in (errno.EBUSY, errno.EAGAIN) or "lock port" in text:
        return NoDeviceError(f"{name} is busy: another program has it open", hint="close the other program")
    if number == errno.EACCES:
        return NoDeviceError(
            f"{name} may not be opened by this user",
            hint='sudo usermod -aG dialout "$USER", then log in again',
        )
    return NoDeviceError(f"{name} cannot be opened: {text}", hint="edgehff device list")


@dataclass(frozen=True)
class Port:
    """A serial port of this machine. boards: those whose USB interface it has; empty where none is known."""

    path: str
    description: str
    usb: str
    boards: tuple[str, ...]


def ports() -> list[Port]:
    """The serial ports of this machine, those with a known board first."""
    found = []
    for port in list_ports.comports():
        usb = "" if port.vid is None else f"{port.vid:04x}:{port.pid:04x}"
        known = tuple(board.name for board in boards().values() if usb and usb in board.usb)
        found.append(Port(port.device, port.description or "", usb, known))
    return sorted(found, key=lambda port: (not port.boards, not port.usb, port.path))
