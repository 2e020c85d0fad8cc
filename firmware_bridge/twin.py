"""A board's work done again on this machine, to the bit: the proof that a line lost nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehff.core import Encoder, Net
from edgehff.errors import CheckFailed
from edgehff.model.network import Network
from firmware_bridge.client import Device

Sample = tuple[NDArray[np.generic], int]


@dataclass
class Tally:
    """Answers of a board. compared, equal: with the host's.  right: with the labels."""

    samples: int = 0
    right: int = 0
    compared: int = 0
    equal: int = 0

    @property
    def accuracy(self) -> float | None:
        """The share of right answers; None without any."""
        return self.right / self.samples if self.samples else None


class Twin:
    """The host's copy of the model on a board.

    network: what the classes and the encoder are.  blob: the state that both start from.
    """

    def __init__(self, network: Network, blob: bytes) -> None:
        self._network = network
        self._net: Net = network.to_core()
        self._net.load_blob(blob)
        self._encoder: Encoder = network.encoding.to_core()

    @property
    def state_crc32(self) -> int:
        """CRC-32 of the learned state."""
        return self._net.state_crc32

    def train(self, device: Device, samples: Iterable[Sample], tally: Tally) -> Iterator[Tally]:
        """Train the board and this copy on the same samples; the tally after each."""
        labels: list[Sample] = []

        def noted() -> Iterator[Sample]:
            for raw, label in samples:
                raw_bytes = self._raw(raw)
                labels.append((raw_bytes, label))
                yield raw_bytes, label

        for answer in device.train(noted()):
            raw, label = labels.pop(0)
            own = int(self._net.train(self._encoder.encode(raw[None]), np.array([label], np.uint16))[0])
            yield self._count(tally, answer, own, label)

    def predict(self, device: Device, samples: Iterable[Sample], tally: Tally) -> Iterator[Tally]:
        """Let the board and this copy answer the same samples; the tally after each."""
        labels: list[Sample] = []

        def noted() -> Iterator[NDArray[np.generic]]:
            for raw, label in samples:
                raw_bytes = self._raw(raw)
                labels.append((raw_bytes, label))
                yield raw_bytes

        for answer in device.predict(noted()):
            raw, label = labels.pop(0)
            own = int(self._net.predict(self._encoder.encode(raw[None]))[0])
            yield self._count(tally, answer, own, label)

    def check(self, device: Device, tallies: Iterable[Tally]) -> int:
        """The state's CRC-32, equal on both sides.

        Raises:
            CheckFailed: it differs, or an answer did.
        """
        _, theirs = device.crc()
        differing = sum(tally.compared - tally.equal for tally in tallies)
        if differing or theirs != self.state_crc32:
            raise CheckFailed(
                f"the board has state {theirs:08x}, the host {self.state_crc32:08x}; "
                f"{differing} answers differ",
                hint="this is a bug in edgehff, or a board that computes wrongly: please report it",
            )
        return theirs

    def network(self) -> Network:
        """The network in its present state."""
        n = self._network
        return Network.from_core(self._net, n.recipe, n.class_names, n.encoding)

    def _raw(self, raw: NDArray[np.generic]) -> NDArray[np.generic]:
        quantized: NDArray[np.generic] = self._network.encoding.quantize_raw(raw[None])[0].reshape(-1)
        return quantized

    @staticmethod
    def _count(tally: Tally, answer: int, own: int, label: int) -> Tally:
        tally.samples += 1
        tally.right += answer == label
        tally.compared += 1
        tally.equal += answer == own
        return tally
