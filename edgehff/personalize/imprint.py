"""A class from its first few samples: imprinted prototypes, then turns with the others."""

from __future__ import annotations

import numpy as np

from edgehff.core import Net, unit
from edgehff.personalize.memory import Memory
from edgehff.recipe import lr_p_of

SHOTS = 10
"""Samples of a new class that are learned so; then it learns as the others do."""
TURNS, OTHERS, LR = 5, 5, 0.2
"""Turns of all its samples, samples of others after each, and the rate of its prototypes."""


def imprint(net: Net, memory: Memory, label: int) -> None:
    """Make a class of its samples in memory: its prototypes become the mean of what the layers see.

    Then its samples and those of other classes take turns, and its prototypes alone learn, so that they part
    from the others': the mean alone takes samples from them. Weights and the others' prototypes stay, so that
    each further sample begins anew from the mean. The caller sets net's rates again.
    Source: imprinted weights, Qi, Brown, Lowe, CVPR 2018; the turns are ours.
    """
    shots = memory.rows(label)
    for i, u in enumerate(net.directions(shots)):
        net.prototypes(i)[label] = unit(u.sum(axis=0, dtype=np.int32))
    others = np.arange(net.config.n_classes) != label
    layers = range(net.config.n_layers)
    kept = [net.prototypes(i)[others] for i in layers]
    means = [net.norm_sum(i) for i in layers]
    net.set_rates(0, lr_p_of(LR))
    for _ in range(TURNS if len(shots) > 1 else 2 * TURNS):
        for shot in shots:
            rows, labels = memory.draw(OTHERS, without=label)
            net.train(np.concatenate([shot[None], rows]), np.array([label, *labels], np.uint16))
            for i in layers:
                net.prototypes(i)[others] = kept[i]
    for i in layers:
        net.set_norm_sum(i, means[i])
