"""Parity: a file in its real runtime against the C core, sample by sample, class by class, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.errors import CheckFailed
from edgehff.export.artifact import Artifact
from edgehff.model.encoding import Encoding
from edgehff.model.float_network import FloatNetwork, joined
from edgehff.model.network import Network

BOUND = 2e-3
"""A cosine: by how much a similarity may differ from the core's, and how close the core's two best classes
must lie where the answer differs. The core rounds directions and cosines to 2^-14: layers of 8 outputs were
seen to differ by 8e-4, wider ones by 3e-4, and depth did not add to it."""

MIN_AGREEMENT = 0.999
"""Share of equal answers; one row may always be answered otherwise, however few there are."""

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reference:
    """What the C core says of samples; of a float network, what spec.py says in float64.

    similarities: (n, 1 + n_layers, n_classes), joined ones first, cosines.
    answers: (n,), classes.  margins: (n,), by how much the best class leads the second, cosines.
    """

    similarities: Float
    answers: NDArray[np.integer[Any]]
    margins: Float


@dataclass(frozen=True)
class Parity:
    """One file against the reference.

    argmax_agreement: share of equal answers.  disagreements: their number.
    worst_margin: the largest margin in the core of a sample that is answered otherwise; 0 without one.
    max_abs_diff: of all similarities.  layer_diffs: of each layer's.
    first_differing_layer: the first whose similarities exceed BOUND; -1 for the joining of layers.
    """

    samples: int
    argmax_agreement: float
    disagreements: int
    worst_margin: float
    max_abs_diff: float
    layer_diffs: tuple[float, ...]
    first_differing_layer: int | None
    passed: bool
    reason: str = ""


def reference(network: Network | FloatNetwork, raw: NDArray[Any]) -> Reference:
    """The C core's answers to raw samples, (n, *sample_shape)."""
    x = network.encode(raw)
    if isinstance(network, FloatNetwork):
        each: Float = network.layer_similarities(x)
        both = np.concatenate([joined(each, network.recipe)[:, None], each], axis=1)
        ordered = np.sort(both[:, 0], axis=1)
        return Reference(both, both[:, 0].argmax(axis=1), ordered[:, -1] - ordered[:, -2])
    net = network.to_core()
    cosine = 65536.0 * net.config.kappa / 1024.0  # base-2 logits in Q16 of one cosine
    each = net.layer_scores(x) / cosine
    scores = net.scores(x)
    best = np.sort(scores, axis=1).astype(np.float64)
    margins = (best[:, -1] - best[:, -2]) / (cosine * max(_total_weight(network), 1e-9))
    both = np.concatenate([joined(each, network.recipe)[:, None], each], axis=1)
    return Reference(both, net.predict(x), margins)


def compare(artifact: Artifact, truth: Reference, raw: NDArray[Any], n_rows: int) -> Parity:
    """Run a file on the samples of a reference.

    raw: the samples.  n_rows: of them the first n_rows are data, which agreement is counted over; the others
    are probes, which only the bounds hold for.
    """
    found = artifact.similarities(raw)
    if found.shape != truth.similarities.shape:
        return Parity(
            n_rows, 0.0, n_rows, 2.0, 2.0, (), 0, False,
            f"{found.shape[1] - 1} layers of {found.shape[2]} classes, the model has other ones",
        )  # fmt: skip
    diffs = np.nan_to_num(np.abs(found - truth.similarities), nan=np.inf).max(axis=(0, 2))
    other = found[:, 0].argmax(axis=1) != truth.answers
    agreement = 1.0 - float(other[:n_rows].mean())
    worst = float(truth.margins[other].max(initial=0.0))
    layers = [i for i, d in enumerate(diffs[1:]) if not d <= BOUND]
    first = layers[0] if layers else (-1 if not diffs[0] <= BOUND else None)
    reason = ""
    if first is not None:
        where = "the joining of layers" if first == -1 else f"layer {first}"
        reason = f"{where} differs by {diffs[first + 1]:.2g}, {BOUND:g} is allowed"
        reason += ": the encoder or this layer's weights" if first == 0 else ""
    elif worst >= BOUND:
        reason = f"an answer differs where the core's margin is {worst:.2g}, {BOUND:g} is allowed"
    elif agreement < MIN_AGREEMENT and other[:n_rows].sum() > 1:
        reason = f"{agreement:.3%} of the answers are equal, {MIN_AGREEMENT:.1%} are needed"
    return Parity(
        n_rows, agreement, int(other[:n_rows].sum()), worst, float(diffs.max()),
        tuple(float(d) for d in diffs[1:]), first, not reason, reason,
    )  # fmt: skip


def check_origin(artifact: Artifact, network: Network | FloatNetwork) -> None:
    """CheckFailed where the file was not exported from this network."""
    told, crc = artifact.metadata.get("weights_crc32"), f"{network.weights_crc32:08x}"
    if told != crc:
        raise CheckFailed(
            f"{artifact.path.name} was exported from the weights {told}, the model's are {crc}",
            hint=f"edgehff export --target {artifact.metadata.get('target', 'onnx')} writes it anew",
        )


def probes(encoding: Encoding) -> NDArray[Any]:
    """Samples at the ends of the raw type, whatever the data: all zero, all lowest, all highest, noise."""
    info = np.iinfo(np.dtype(encoding.raw))
    rows = [np.full(encoding.n_raw, value, np.int64) for value in (0, info.min, info.max)]
    rows.append(np.random.default_rng(0).integers(info.min, info.max + 1, encoding.n_raw))
    out = np.stack(rows).astype(encoding.raw)
    if encoding.input_scale is not None:
        out = (out / encoding.input_scale).astype(np.float32)
    return out.reshape(len(rows), *encoding.shape) if encoding.features else out


def _total_weight(network: Network) -> float:
    """What the layers' weights in the core's score add up to: scores are sums, similarities are means."""
    recipe = network.recipe
    if recipe.join == "sum_logp":
        return float(len(recipe.layers))
    return 1.0 if recipe.join == "last" else sum(round(w * 256) / 256 for w in recipe.join_weights)
