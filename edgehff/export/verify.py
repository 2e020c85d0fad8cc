"""Parity: a file in its real runtime against the C core and the specification, on every sample.

The specification on the model's own weights says whether a graph computes what it should, to the last digits
of float32, and names the layer where it does not. The C core says whether its answers are the device's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.errors import CheckFailed
from edgehff.export.artifact import Artifact
from edgehff.model.encoding import Encoding
from edgehff.model.float_network import FloatNetwork, float_view, joined
from edgehff.model.network import Network

SPEC_BOUND = 1e-4
"""A cosine: by how much a similarity of any layer and sample may differ from the specification in float64 on
the very weights of the model. Graphs in float32 were seen to differ by 1e-6."""

BOUND = 2e-3
"""A cosine: how close the C core's two best classes must lie where a file answers otherwise. The core rounds
features to integers and directions to 2^-14, which moves its similarities by 1e-4 to 6e-4, those of samples
that hardly move a layer by up to 1.6e-3; `outliers` counts what it moved by more than this."""

MIN_AGREEMENT = 0.999
"""Share of samples to be answered as the core does. One may always differ, however few there are."""

_NOT_A_NUMBER = 1e9
"""The distance of what is no number: finite, so that JSON has a word for it."""

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reference:
    """What a model says of n samples: its specification, and the C core.

    spec: (n, 1 + n_layers, n_classes), similarities of spec.py in float64, joined ones first.
    core: the same of the C core; of a float model, which the core does not know, spec again.
    answers: (n,), the core's classes.  margins: (n,), by how much its best class leads the second, cosines.
    """

    spec: Float
    core: Float
    answers: NDArray[np.integer[Any]]
    margins: Float


@dataclass(frozen=True)
class Parity:
    """One file against a reference.

    argmax_agreement: share of equal answers.  disagreements: their number.
    worst_margin: the largest margin in the core of a sample that is answered otherwise; 0 without one.
    max_abs_diff: of similarities from the core's.  outliers: samples farther off than BOUND.
    spec_diff: of similarities from the specification's.  layer_diffs: of each layer's from it.
    first_differing_layer: the first beyond the bound of the specification; -1 for the joining of layers.
    """

    samples: int
    argmax_agreement: float
    disagreements: int
    worst_margin: float
    max_abs_diff: float
    outliers: int
    spec_diff: float
    layer_diffs: tuple[float, ...]
    first_differing_layer: int | None
    passed: bool
    reason: str = ""


def reference(network: Network | FloatNetwork, raw: NDArray[Any]) -> Reference:
    """The model's answers to raw samples, (n, *sample_shape)."""
    exact = float_view(network) if isinstance(network, Network) else network
    spec = _with_joined(exact.layer_similarities(exact.encode(raw)), network)
    if isinstance(network, FloatNetwork):
        best = np.sort(spec[:, 0], axis=1)
        return Reference(spec, spec, spec[:, 0].argmax(axis=1), best[:, -1] - best[:, -2])
    net, x = network.to_core(), network.encode(raw)
    cosine = 65536.0 * net.config.kappa / 1024.0  # base-2 logits in Q16 of one cosine
    core = _with_joined(net.layer_scores(x) / cosine, network)
    scores = net.scores(x)
    best = np.sort(scores, axis=1).astype(np.float64)
    margins = (best[:, -1] - best[:, -2]) / (cosine * max(_total_weight(network), 1e-9))
    return Reference(spec, core, scores.argmax(axis=1), margins)  # as the core: the first of the largest


def compare(artifact: Artifact, truth: Reference, raw: NDArray[Any], n_rows: int) -> Parity:
    """Run a file on the samples of a reference.

    raw: the samples.  n_rows: of them the first n_rows are data; the others are probes, which agreement and
    outliers are not counted over.
    """
    found = artifact.similarities(raw)
    if found.shape != truth.spec.shape:
        reason = f"{found.shape[1] - 1} layers of {found.shape[2]} classes, the model has other ones"
        return failed(n_rows, reason, first=0)
    diffs = _distance(found, truth.spec).max(axis=0)
    wrong = [i - 1 for i, d in enumerate(diffs) if d > SPEC_BOUND]
    first = None if not wrong else next((i for i in wrong if i >= 0), -1)
    off = _distance(found, truth.core).max(axis=1)
    outliers, allowed = int((off[:n_rows] > BOUND).sum()), max(1, int(n_rows * (1 - MIN_AGREEMENT)))
    other = found[:, 0].argmax(axis=1) != truth.answers
    disagreements, worst = int(other[:n_rows].sum()), float(truth.margins[other].max(initial=0.0))
    reason = ""
    if first is not None:
        where = "the joining of layers" if first == -1 else f"layer {first}"
        reason = f"{where} is {diffs[first + 1]:.2g} off the specification, {SPEC_BOUND:g} is allowed"
        reason += ": the encoder, or this layer's weights or prototypes" if first == 0 else ""
    elif worst >= BOUND:
        reason = f"an answer differs where the core's margin is {worst:.2g}, below {BOUND:g} is allowed"
    elif disagreements > allowed:
        reason = f"{disagreements} of {n_rows} answers are not the core's, {allowed} may differ"
    return Parity(
        samples=n_rows,
        argmax_agreement=1.0 - disagreements / n_rows,
        disagreements=disagreements,
        worst_margin=worst,
        max_abs_diff=float(off.max()),
        outliers=outliers,
        spec_diff=float(diffs.max()),
        layer_diffs=tuple(float(d) for d in diffs[1:]),
        first_differing_layer=first,
        passed=not reason,
        reason=reason,
    )


def failed(n_rows: int, reason: str, first: int | None = None) -> Parity:
    """The parity of a file that gave nothing to compare."""
    return Parity(n_rows, 0.0, n_rows, 2.0, 2.0, n_rows, 2.0, (), first, passed=False, reason=reason)


def check_origin(artifact: Artifact, network: Network | FloatNetwork) -> None:
    """CheckFailed where the file was not exported from this network."""
    meta = artifact.metadata
    ours = {
        "weights_crc32": f"{network.weights_crc32:08x}",
        "class_names": list(network.class_names),
    }
    for name, value in ours.items():
        if meta[name] != value:
            raise CheckFailed(
                f"{artifact.path.name} was exported from another model: its {name} are "
                f"{str(meta[name])[:80]}, this model's {str(value)[:80]}",
                hint="edgehff export writes it anew",
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


def _with_joined(each: Float, network: Network | FloatNetwork) -> Float:
    """Joined similarities, then each layer's: (n, 1 + n_layers, n_classes)."""
    return np.concatenate([joined(each, network.recipe)[:, None], each], axis=1)


def _distance(found: NDArray[Any], truth: Float) -> Float:
    """The largest difference over classes, (n, 1 + n_layers); _NOT_A_NUMBER for NaN."""
    apart = np.abs(found.astype(np.float64) - truth)
    out: Float = np.nan_to_num(apart, nan=_NOT_A_NUMBER, posinf=_NOT_A_NUMBER).max(axis=2)
    return out


def _total_weight(network: Network) -> float:
    """What the layers' weights in the core's score add up to: scores are sums, similarities are means."""
    recipe = network.recipe
    if recipe.join == "sum_logp":
        return float(recipe.n_layers)
    return 1.0 if recipe.join == "last" else sum(round(w * 256) / 256 for w in recipe.join_weights)
