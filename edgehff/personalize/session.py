"""A network at its user's: predict, learn one sample, take a snapshot."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.errors import ShapeError
from edgehff.model.network import Network
from edgehff.recipe import lr_p_of, lr_w_of


class PersonalSession:
    """One network that learns from samples as they come, at the recipe's personal rates.

    network: what left the factory; it is not changed.
    """

    def __init__(self, network: Network) -> None:
        recipe = network.recipe
        self._network = dataclasses.replace(
            network, recipe=recipe.replace(lr=recipe.personal_lr, lr_prototypes=recipe.personal_lr_prototypes)
        )
        self._net = self._network.to_core()
        self._encoder = network.encoding.to_core()
        self._net.set_rates(lr_w_of(recipe.personal_lr), lr_p_of(recipe.personal_lr_prototypes))
        self.learned = 0

    def predict_one(self, raw: NDArray[Any]) -> int:
        """The class of one raw sample of the data's dtype and shape. ShapeError where it is another."""
        return int(self._net.predict(self._encoded(raw))[0])

    def learn_one(self, raw: NDArray[Any], label: int) -> int:
        """Learn one raw sample; returns the class that was given before learning. ShapeError for a bad label."""
        if not 0 <= label < len(self._network.class_names):
            raise ShapeError(
                f"label {label} is not one of the {len(self._network.class_names)} classes",
                hint=f"classes count from 0: {', '.join(self._network.class_names)}",
            )
        answer = int(self._net.train(self._encoded(raw), np.array([label], np.uint16))[0])
        self.learned += 1
        return answer

    def predict(self, raw: NDArray[Any]) -> NDArray[np.uint16]:
        """The classes of raw samples, shape (n, *sample_shape)."""
        return self._net.predict(self._network.encode(raw))

    def snapshot(self) -> Network:
        """The network as it is now: its recipe is the factory's, its weights are this user's."""
        now = Network.from_core(
            self._net, self._network.recipe, self._network.class_names, self._network.encoding
        )
        return now

    def _encoded(self, raw: NDArray[Any]) -> NDArray[np.int16]:
        return self._network.encode(raw[None])
