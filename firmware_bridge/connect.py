"""From what a user names (a path, a URL, emulator:BOARD, or nothing) to a line with a board on it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgehff.errors import EdgehffError, InputError, NoDeviceError
from edgehff.model.network import Network
from firmware_bridge.boards import board
from firmware_bridge.build import build, options_for
from firmware_bridge.client import Device
from firmware_bridge.emulator import emulated
from firmware_bridge.protocol import Hello
from firmware_bridge.transport import BAUD, Port, SerialTransport, Transport, ports

EMULATOR = "emulator:"
PROBE_S = 2.5
"""An Arduino's boot loader answers nothing for about two seconds after its port was opened."""
CONNECT_S = 15.0


@dataclass(frozen=True)
class Found:
    """A serial port and what answered there. hello: None where nothing did; problem: why, or empty."""

    port: Port
    hello: Hello | None
    problem: str


def probe(port: Port, baud: int = BAUD, timeout: float = PROBE_S) -> Found:
    """Say HELLO on a port."""
    try:
        with Device(SerialTransport(port.path, baud)) as device:
            return Found(port, device.connect(timeout), "")
    except EdgehffError as error:
        return Found(port, None, error.message)


def only_board(baud: int = BAUD) -> Found:
    """The one board that answers on a port of this machine; ports with a known USB interface are asked first.

    Raises:
        NoDeviceError: none answers, or several do; the message names them.
    """
    every = ports()
    for group in ([p for p in every if p.boards], [p for p in every if not p.boards and p.usb]):
        found = [f for f in (probe(port, baud) for port in group) if f.hello is not None]
        if len(found) == 1:
            return found[0]
        if found:
            raise NoDeviceError(
                f"several boards answer: {', '.join(f.port.path for f in found)}",
                hint=f"name one: --port {found[0].port.path}",
            )
    raise NoDeviceError(
        f"no board answers on {len(every)} serial ports" if every else "this machine has no serial port",
        hint="plug a board in and name its port, or try an emulated one: --port emulator:microbit",
    )


@contextmanager
def device_at(
    port: str | None, *, baud: int = BAUD, network: Network | None = None, firmware: Path | None = None
) -> Iterator[Device]:
    """A connected device, closed at the end.

    port: a serial port's path, a pyserial URL, emulator:BOARD, or None for the only board that answers.
    network: what an emulated board's firmware is built for, and starts with.
    firmware: an ELF file for the emulated board instead.

    Raises:
        NoDeviceError: nobody answers there.
        InputError: an emulated board without a network or firmware.
        MissingToolError: its compiler or emulator is not installed.
        CheckFailed: the network does not fit the board.
    """
    with tempfile.TemporaryDirectory(prefix="edgehff-") as folder:
        transport: Transport
        if port is not None and port.startswith(EMULATOR):
            machine = board(port.removeprefix(EMULATOR))
            if firmware is None:
                if network is None:
                    raise InputError(
                        f"{port} starts without a model of its own", hint="name a MODEL, or --firmware FILE"
                    )
                firmware = build(machine, options_for(machine, network), Path(folder) / "firmware.elf")
            transport = emulated(machine, firmware)
        elif firmware is not None:
            raise InputError("--firmware is for emulated boards", hint="--port emulator:microbit")
        else:
            transport = SerialTransport(port if port is not None else only_board(baud).port.path, baud)
        device = Device(transport)
        try:
            device.connect(CONNECT_S)
            yield device
        finally:
            device.close()
