"""A class from its first few samples: imprinted prototypes, then turns with the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgehff.core import Net, unit
from edgehff.personalize.memory import SHOTS, Memory
from edgehff.recipe import lr_p_of

TURNS, OTHERS, LR = 10, 8, 0.1
"""Turns of all its samples, samples of others after each, and the rate of prototypes."""
ENOUGH = 3
"""Kept samples of each other class from which on the others' prototypes learn too."""
_NOISE = 3, 10
"""How far from a kept sample others are learned, as a share of its length: 3 to 10."""


def imprint(net: Net, memory: Memory, label: int) -> None:
    """Make a class of its first SHOTS samples: its prototypes become the mean of what the layers see of them.

    Half of what the layers see of the other classes in the mean is taken off it. Trained prototypes have lost
    what is common to all samples; a plain mean has it, and so would be near to everything, and take samples
    from the others.

    Then its samples and those of other classes take turns, in which prototypes alone learn, so that they
    part. Kept samples of the others are learned a little off
    their place, as later ones will be. Where fewer than ENOUGH are kept of a class, the others' prototypes
    stay: they would follow those few. Weights stay. The caller sets net's rates again.
    Source: imprinted weights, Qi, Brown, Lowe, CVPR 2018; the turns are ours.
    """
    shots = memory.rows(label)
    own = _means(net, shots)
    of_others = [_means(net, memory.rows(n)) for n in memory.labels if n != label]
    for i, mean in enumerate(own):
        common = sum(m[i] for m in of_others) // max(len(of_others), 1)
        net.prototypes(i)[label] = unit((mean - common // 2).astype(np.int32))
    others = np.arange(net.config.n_classes) != label
    layers = range(net.config.n_layers)
    stay = min((memory.count(n) for n in memory.labels if n != label), default=0) < ENOUGH
    kept = [net.prototypes(i)[others] for i in layers]
    means = [net.norm_sum(i) for i in layers]
    net.set_rates(0, lr_p_of(LR))
    for turn in range(TURNS if len(shots) > 1 else 2 * TURNS):
        for n, shot in enumerate(shots):
            rows, labels = memory.draw(OTHERS, without=label)
            rows = about(rows, seed=turn * SHOTS + n)
            net.train(np.concatenate([shot[None], rows]), np.array([label, *labels], np.uint16))
            for i in layers if stay else ():
                net.prototypes(i)[others] = kept[i]
    for i in layers:
        net.set_norm_sum(i, means[i])


def _means(net: Net, rows: NDArray[np.int16]) -> list[NDArray[np.int64]]:
    """The mean, by layer, of what the prototypes see of these rows; Q22."""
    return [(u.sum(axis=0, dtype=np.int64) << 8) // len(u) for u in net.directions(rows)]


def about(rows: NDArray[np.int16], seed: int) -> NDArray[np.int16]:
    """Unit vectors near unit vectors, Q14, shape (n, width); the same for a seed on every machine."""
    n, width = rows.shape
    words = np.random.PCG64(seed).random_raw(-(-n * width // 8)).astype("<u8")
    noise = words.view(np.int8)[: n * width].reshape(n, width).astype(np.int32)
    near, far = _NOISE
    moved = [unit(far * row.astype(np.int32) + near * unit(e)) for row, e in zip(rows, noise, strict=True)]
    return np.array(moved, np.int16).reshape(n, width)
