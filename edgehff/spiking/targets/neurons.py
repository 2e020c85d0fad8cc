"""Neurons that a chip can have exactly: they keep all of their membrane, and a spike leaves nothing of it."""

from __future__ import annotations

from edgehff.errors import RecipeError
from edgehff.model.spiking_network import SpikingNetwork


def check_neurons(network: SpikingNetwork, chip: str) -> None:
    """RecipeError where the network's neurons leak or are reset by subtraction; names the layer."""
    s = network.recipe.spiking
    if s.beta != 1:
        raise RecipeError(
            f"layer 0: beta = {s.beta:g}, whose products {chip} cuts off otherwise",
            hint="[spiking] beta = 1, and train again",
        )
    if s.reset != "zero":
        raise RecipeError(
            f"layer 0: reset = {s.reset!r}, {chip}'s neurons are set to zero",
            hint='[spiking] reset = "zero", and train again',
        )
