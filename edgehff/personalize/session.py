"""A network at its user's: predict, learn one sample, take a snapshot."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.errors import ShapeError
from edgehff.model.network import Network
from edgehff.recipe import Recipe, lr_p_of, lr_w_of


class PersonalSession:
    """One network that learns from samples as they come, at the recipe's personal rates.

    network: what left the factory; it is not changed.
    """

    def __init__(self, network: Network, recipe: Recipe | None = None) -> None:
        """Start from network; recipe, if given, replaces its personal rates."""
        chosen = recipe or network.recipe
        self._network = network
        self._net = network.to_core()
        self._encoder = network.encoding.to_core()
        self._net.set_rates(lr_w_of(chosen.personal_lr), lr_p_of(chosen.personal_lr_prototypes))
        self.learned = 0

    def raw_of(self, values: NDArray[np.float32]) -> NDArray[Any]:
        """A flat sample of numbers, as text gives them, in the dtype of the model's data.

        Raises:
            ShapeError: a value is no integer of the data's range where the data are integers.
        """
        encoding = self._network.encoding
        if encoding.input_scale is not None:
            return values
        limits = np.iinfo(encoding.raw)
        if (values != np.round(values)).any() or values.min() < limits.min or values.max() > limits.max:
            raise ShapeError(
                f"a sample from {values.min():g} to {values.max():g} is not {encoding.raw}",
                hint=f"this model takes integers from {limits.min} to {limits.max}",
            )
        return values.astype(encoding.raw)

    def class_of(self, label: int | str) -> int:
        """The class's number from its number or name. ShapeError for one that the model does not have."""
        names = self._network.class_names
        if isinstance(label, str) and label in names:
            return names.index(label)
        if isinstance(label, int) and 0 <= label < len(names):
            return label
        if str(label) in names:
            return names.index(str(label))
        raise ShapeError(f"label {label!r} is no class of this model", hint=f"classes: {', '.join(names)}")

    def predict_one(self, raw: NDArray[Any]) -> int:
        """The class of one raw sample of the data's dtype and shape. ShapeError where it is another."""
        return int(self._net.predict(self._encoded(raw))[0])

    def learn_one(self, raw: NDArray[Any], label: int | str) -> int:
        """Learn one raw sample; returns the class given before learning. ShapeError for a bad label."""
        number = self.class_of(label)
        answer = int(self._net.train(self._encoded(raw), np.array([number], np.uint16))[0])
        self.learned += 1
        return answer

    def predict(self, raw: NDArray[Any]) -> NDArray[np.uint16]:
        """The classes of raw samples, shape (n, *sample_shape)."""
        return self._net.predict(self._network.encode(raw))

    def snapshot(self) -> Network:
        """The network as it is now: its recipe is the factory's, its weights are this user's."""
        n = self._network
        return Network.from_core(self._net, n.recipe, n.class_names, n.encoding)

    def _encoded(self, raw: NDArray[Any]) -> NDArray[np.int16]:
        encoding = self._network.encoding
        return self._encoder.encode(encoding.quantize_raw(raw[None]))
