"""The online rule here and in Lava's learning engine: the same weights?

python tools/simulators/lava_learning.py [--samples 1000] [--reset zero]

Two stacked layers of 64 neurons learn from digits, one after another, spikes drawn by rate; once by
edgehff/spiking/learn.py in float64, once as three-factor learning in Lava (loihi/learn.py). Prints JSON: by
how much weights and prototypes differ at most, how far they moved, and accuracy on test rows before and
after.
Exit code 1 where they differ by more than 1e-12.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
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
STEPS, BETA, GAP, LR, SCALE, WIDTH = 8, 0.5, 64, 0.02, 16.0, 64
BOUND = 1e-12


def main() -> None:
    """Learn twice, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--reset", choices=("zero", "subtract"), default="zero")
    parser.add_argument("--layers", type=int, default=2)
    args = parser.parse_args()
    if not LAVA.exists():
        sys.exit("lava: not installed\n  try: python tools/simulators/install.py lava")
    train, test = rows("train", args.samples), rows("test", 360)
    layers = new_layers(args.layers, args.reset)
    case: dict[str, NDArray[Any]] = {
        "x": train[0],
        "y": train[1],
        "beta": np.array(BETA),
        "gap": np.array(GAP),
        "reset": np.array(args.reset),
        "lr": np.array(LR),
        "scale": np.array(SCALE),
        "layers": np.array(args.layers),
        **arrays(layers),
    }
    before = accuracy(layers, *test)
    learn(layers, *train)
    ours = arrays(layers)
    with tempfile.TemporaryDirectory() as name:
        np.savez(Path(name) / "case.npz", **case)  # type: ignore[arg-type]
        subprocess.run(
            [str(LAVA), str(HERE / "loihi" / "learn.py"), name], check=True, cwd=name, timeout=3600
        )
        with np.load(Path(name) / "learned.npz") as found:
            theirs = {k: found[k] for k in found.files}
    differ = {k: float(np.abs(theirs[k] - ours[k]).max()) for k in ours}
    document = {
        "samples": args.samples,
        "reset": args.reset,
        "steps": STEPS,
        "differ": differ,
        "moved": {k: float(np.abs(ours[k] - case[k]).max()) for k in ours},
        "accuracy_before": before,
        "accuracy_after": accuracy(layers, *test),
    }
    print(json.dumps(document, indent=2))
    sys.exit(1 if max(differ.values()) > BOUND else 0)


def rows(which: str, n: int) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """(spikes (n, steps, 64), classes) of digits."""
    data = load("digits")
    assert data.is_test is not None
    at = np.flatnonzero(data.is_test == (which == "test"))[:n]
    x = data.x[at].reshape(len(at), -1).astype(np.int64)
    q14 = (x * (ONE // 16)).astype(np.int16)  # 16 is a digit's brightest pixel
    s = SpikingRecipe(steps=STEPS, code="rate")
    drive = drive_of(s, gain_of(s, q14), q14)
    seeds = range(1, len(at) + 1)
    drawn = [np.concatenate(list(steps_of(s, drive[i : i + 1], seed))) for i, seed in enumerate(seeds)]
    return np.stack(drawn), data.y[at].astype(np.int64)


def new_layers(n: int, reset: str) -> list[SpikingHFFLayer]:
    """Layers in float64."""
    generator = torch.Generator().manual_seed(1)
    options: dict[str, Any] = {"beta": BETA, "reset": reset, "scale": SCALE, "generator": generator}
    layers = [SpikingHFFLayer(LayerShape(WIDTH, WIDTH, WIDTH), 10, **options).double() for _ in range(n)]
    for layer in layers:
        layer.normalize()
    return layers


def learn(layers: list[SpikingHFFLayer], x: NDArray[np.int16], y: NDArray[np.int64]) -> None:
    """Plain steps, sample by sample."""
    for sample, label in zip(x, y, strict=True):
        inputs = [torch.from_numpy(step[None].astype(np.float64)) for step in sample]
        online_gradients(layers, inputs, torch.tensor([label]))
        with torch.no_grad():
            for layer in layers:
                for parameter in (layer.synapses.weight, layer.prototypes):
                    assert parameter.grad is not None
                    parameter.sub_(LR * parameter.grad)
                layer.normalize()


def accuracy(layers: list[SpikingHFFLayer], x: NDArray[np.int16], y: NDArray[np.int64]) -> list[float]:
    """Of each layer alone."""
    inputs = [torch.from_numpy(step.astype(np.float64)) for step in np.moveaxis(x, 1, 0)]
    found = online_gradients(layers, inputs, torch.from_numpy(y)).argmax(2).numpy()
    return [float((found[:, i] == y).mean()) for i in range(len(layers))]


def arrays(layers: list[SpikingHFFLayer]) -> dict[str, NDArray[np.float64]]:
    """Weights and prototypes."""
    out = {}
    for i, layer in enumerate(layers):
        out[f"weight_{i}"] = layer.synapses.weight.detach().numpy().copy()
        out[f"prototypes_{i}"] = layer.prototypes.detach().numpy()[:, 0].copy()
    return out


if __name__ == "__main__":
    main()
