"""What firmware is made to do while it is measured: rows of a model's data, and every request there is."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from edgehff.data.dataset import Dataset
from edgehff.data.split import train_test
from edgehff.errors import DeviceError
from edgehff.model.network import Network
from edgehff.train.local import pass_order
from firmware_bridge.client import Device
from firmware_bridge.protocol import Which

WAIT_S = 5.0
QUIET_S = 0.1
"""Seconds without a byte after which a text command is done."""

Pair = tuple[NDArray[np.generic], int]


def samples_of(
    network: Network, data: Dataset, steps: int, predictions: int
) -> tuple[list[Pair], list[NDArray[np.generic]]]:
    """Training rows in the order of the recipe's first pass, and test rows; again where they end."""
    train, test = train_test(data)
    train = train[pass_order(len(train), network.recipe.seed, 0)]
    chosen = train[np.arange(steps) % len(train)]
    held = test[np.arange(predictions) % len(test)]
    raw = network.encoding.quantize_raw(data.x[np.concatenate([chosen, held])])
    pairs = [(raw[i], int(label)) for i, label in enumerate(data.y[chosen])]
    return pairs, list(raw[len(chosen) :])


def make_every_request(device: Device, blob: bytes, pair: Pair, *, runner: bool) -> None:
    """Whatever the firmware can do, so that its stack has been as deep as it gets.

    blob: a model that it is made to take.  runner: whether it knows text commands.
    """
    raw = pair[0]
    requests: tuple[Callable[[], object], ...] = (
        device.pull,
        lambda: device.push(blob),
        device.crc,
        device.stats,
        lambda: list(device.scores([raw])),
        lambda: list(device.train([pair])),
        device.add_class,
        device.save,
        lambda: device.load(Which.SAVED),
        lambda: device.init(1),
        lambda: make_every_text_command(device, raw.tobytes()) if runner else None,
        lambda: device.load(Which.FACTORY),
    )
    for request in requests:
        with suppress(DeviceError):  # not in every build, no room for a class, nowhere to save
            request()


def make_every_text_command(device: Device, raw: bytes) -> str:
    """The commands of the runner, on one raw sample; what the board said."""
    line, said = device.line.transport, b""
    piece = (device.hello.frame_bytes - 4) // 2
    commands = ["name", "profile", "timestamp", f"db load {len(raw)}"]
    commands += [f"db {raw[i : i + piece].hex()}" for i in range(0, len(raw), piece)]
    for command in [*commands, "infer 1 0", "results"]:
        line.write(f"{command}%".encode(), WAIT_S)
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until and (data := line.read(QUIET_S)):
            said += data
    return said.decode(errors="replace")
