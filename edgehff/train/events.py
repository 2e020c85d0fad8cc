"""What training tells as it goes; the command line draws it, a test reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from edgehff.model.float_network import FloatNetwork
from edgehff.model.network import Network
from edgehff.model.spiking_network import SpikingNetwork

N = TypeVar("N", Network, FloatNetwork, SpikingNetwork)


@dataclass(frozen=True)
class Advanced:
    """More samples were learned from: samples of this call."""

    samples: int


@dataclass(frozen=True)
class EpochDone:
    """One pass over the training rows ended.

    online: share of samples that were right before they were learned.
    validation: accuracy on the validation rows, None where there are none.
    updates: per layer, share of this pass's samples that it learned from.
    saturated: share of all weights that stand at their limit.
    """

    epoch: int
    online: float
    validation: float | None
    updates: tuple[float, ...]
    saturated: float


@dataclass(frozen=True)
class Trained(Generic[N]):
    """The end: the network, how many samples it saw, and for how many seconds it learned."""

    network: N
    samples: int
    seconds: float
