"""The online rule here and in Lava's learning engine: the same weights?

python tools/simulators/lava_learning.py [--samples 1000] [--reset zero] [--arithmetic floating_pt]

Two stacked layers of 64 neurons learn from digits, one after another, spikes drawn by rate; once here, by
edgehff/spiking/learn.py in float64 or by fixed_learning.py in the chip's integers, once as three-factor
learning in Lava (loihi/learn.py). Prints JSON: by how much weights and prototypes differ at most, how far
they moved, and accuracy on test rows before and after; of integers the share of weights at their ends, too.
Exit code 1 where they differ by more than 1e-12, which no integers do that differ.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from fixed_learning import CLEAR, GAP, IMPULSE, RULE, SLOPE, THRESHOLD, FixedLayer, error_gain
from numpy.typing import NDArray

from edgehff.core import ONE
from edgehff.data.sources import load
from edgehff.geometry import LayerShape
from edgehff.recipe import SpikingRecipe
from edgehff.spiking.encode import drive_of, gain_of, steps_of
from edgehff.spiking.layer import SpikingHFFLayer
from edgehff.spiking.learn import online_gradients

HERE = Path(__file__).resolve().parent
LAVA = HERE.parent.parent / "build/simulators/lava/bin/python"
STEPS, BETA, LR, SCALE, WIDTH = 8, 0.5, 0.02, 16.0, 64
BOUND = 1e-12

Arrays = dict[str, NDArray[Any]]


class Network(Protocol):
    """case: the arithmetic's own facts for Lava."""

    case: dict[str, Any]

    def arrays(self) -> Arrays:
        """Weights and prototypes."""

    def learn(self, x: NDArray[np.int16], y: NDArray[np.int64]) -> None:
        """Plain steps, sample by sample."""

    def accuracy(self, x: NDArray[np.int16], y: NDArray[np.int64]) -> list[float]:
        """Of each layer alone."""


def main() -> None:
    """Learn twice, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--reset", choices=("zero", "subtract"), default="zero")
    parser.add_argument("--arithmetic", choices=("floating_pt", "fixed_pt"), default="floating_pt")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1, help="of the start and of the engine")
    parser.add_argument("--held", action="store_true", help="accuracy on the other training rows")
    parser.add_argument("--no-lava", action="store_true", help="learn once, here")
    args = parser.parse_args()
    if not args.no_lava and not LAVA.exists():
        sys.exit("lava: not installed\n  try: python tools/simulators/install.py lava")
    x, y = rows("train")
    n = args.samples
    told = (x[n:], y[n:]) if args.held else rows("test")
    start = new_layers(args.layers, args.reset, args.seed)
    network: Network = Floats(start) if args.arithmetic == "floating_pt" else Integers(start, args.seed)
    first = network.arrays()
    facts = {"samples": n, "reset": args.reset, "steps": STEPS, "arithmetic": args.arithmetic}
    before = network.accuracy(*told)
    network.learn(x[:n], y[:n])
    ours = network.arrays()
    document: dict[str, Any] = {**facts, "accuracy_before": before, "accuracy_after": network.accuracy(*told)}
    document["moved"] = {k: float(np.abs(ours[k] - first[k]).max()) for k in ours}
    if args.arithmetic == "fixed_pt":
        document["at_ends"] = {
            k: float(((v == -256) | (v == 255)).mean()) for k, v in ours.items() if k[0] == "w"
        }
    if not args.no_lava:
        case = {"x": x[:n], "y": y[:n], "beta": BETA, "lr": LR, "scale": SCALE, "layers": args.layers}
        theirs = in_lava({**case, **facts, **network.case, **first})
        document["differ"] = {k: float(np.abs(theirs[k] - ours[k]).max()) for k in ours}
    print(json.dumps(document, indent=2))
    sys.exit(any(found > BOUND for found in document.get("differ", {}).values()))


def in_lava(case: dict[str, Any]) -> Arrays:
    """Weights and prototypes of all layers after all samples."""
    with tempfile.TemporaryDirectory() as name:
        np.savez(Path(name) / "case.npz", **case)
        command = [str(LAVA), str(HERE / "loihi" / "learn.py"), name]
        subprocess.run(command, check=True, cwd=name, timeout=3600)
        with np.load(Path(name) / "learned.npz") as found:
            return {k: found[k] for k in found.files}


def rows(which: str) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """(spikes (n, steps, 64), classes) of digits."""
    data = load("digits")
    assert data.is_test is not None
    at = np.flatnonzero(data.is_test == (which == "test"))
    x = data.x[at].reshape(len(at), -1).astype(np.int64)
    q14 = (x * (ONE // 16)).astype(np.int16)  # 16 is a digit's brightest pixel
    s = SpikingRecipe(steps=STEPS, code="rate")
    drive = drive_of(s, gain_of(s, q14), q14)
    seeds = range(1, len(at) + 1)
    drawn = [np.concatenate(list(steps_of(s, drive[i : i + 1], seed))) for i, seed in enumerate(seeds)]
    return np.stack(drawn), data.y[at].astype(np.int64)


def new_layers(n: int, reset: str, seed: int) -> list[SpikingHFFLayer]:
    """Layers in float64."""
    generator = torch.Generator().manual_seed(seed)
    options: dict[str, Any] = {"beta": BETA, "reset": reset, "scale": SCALE, "generator": generator}
    layers = [SpikingHFFLayer(LayerShape(WIDTH, WIDTH, WIDTH), 10, **options).double() for _ in range(n)]
    for layer in layers:
        layer.normalize()
    return layers


class Floats:
    """The product's layers in float64."""

    def __init__(self, layers: list[SpikingHFFLayer]) -> None:
        self.layers = layers
        rule = {"dt": "u0 * x1 * y1 - u0 * t * y3", "dw": "u0 * t * y2"}
        self.case = {**rule, "threshold": 1, "impulse": 1, "slope": 1, "clear": 1, "gap": 64, "seed": 1}
        self.case["gain"] = LR / np.sqrt(BETA)  # a trace has decayed by one more step

    def learn(self, x: NDArray[np.int16], y: NDArray[np.int64]) -> None:
        """See Network."""
        for sample, label in zip(x, y, strict=True):
            inputs = [torch.from_numpy(step[None].astype(np.float64)) for step in sample]
            online_gradients(self.layers, inputs, torch.tensor([label]))
            with torch.no_grad():
                for layer in self.layers:
                    for parameter in (layer.synapses.weight, layer.prototypes):
                        assert parameter.grad is not None
                        parameter.sub_(LR * parameter.grad)
                    layer.normalize()

    def accuracy(self, x: NDArray[np.int16], y: NDArray[np.int64]) -> list[float]:
        """See Network."""
        inputs = [torch.from_numpy(step.astype(np.float64)) for step in np.moveaxis(x, 1, 0)]
        found = online_gradients(self.layers, inputs, torch.from_numpy(y)).argmax(2).numpy()
        return [float((found[:, i] == y).mean()) for i in range(len(self.layers))]

    def arrays(self) -> Arrays:
        """See Network."""
        out = {}
        for i, layer in enumerate(self.layers):
            out[f"weight_{i}"] = layer.synapses.weight.detach().numpy().copy()
            out[f"prototypes_{i}"] = layer.prototypes.detach().numpy()[:, 0].copy()
        return out


class Integers:
    """The same start in the chip's integers."""

    def __init__(self, layers: list[SpikingHFFLayer], seed: int) -> None:
        first = Floats(layers).arrays()
        self.layers = [
            FixedLayer(
                first[f"weight_{i}"],
                first[f"prototypes_{i}"],
                beta=BETA,
                reset=layer.neurons.reset_mechanism,
                lr=LR,
                scale=SCALE,
                seed=seed + 4 * i,  # an engine has four generators
                before=i,
            )
            for i, layer in enumerate(layers)
        ]
        sent = {"slope": SLOPE, "gain": error_gain(LR, BETA), "clear": CLEAR}
        self.case = {**RULE, **sent, "threshold": THRESHOLD, "impulse": IMPULSE, "gap": GAP, "seed": seed}

    def learn(self, x: NDArray[np.int16], y: NDArray[np.int64]) -> None:
        """See Network."""
        for sample, label in zip(x, y, strict=True):
            spikes: NDArray[Any] = sample
            for layer in self.layers:
                spikes = layer.learn(spikes, int(label))

    def accuracy(self, x: NDArray[np.int16], y: NDArray[np.int64]) -> list[float]:
        """See Network."""
        out, spikes = [], x.astype(np.int64)
        for layer in self.layers:
            found, spikes = layer.run(spikes)
            out.append(float((found == y).mean()))
        return out

    def arrays(self) -> Arrays:
        """See Network."""
        out: Arrays = {}
        for i, layer in enumerate(self.layers):
            out[f"weight_{i}"], out[f"prototypes_{i}"] = layer.weight.copy(), layer.prototypes.copy()
        return out


if __name__ == "__main__":
    main()
