"""Digits small enough for Xylo: what the network answers, and what the chip's integers and XyloSim do.

python tools/simulators/xylo_digits.py [--keep FOLDER] [--validation]

The 8 x 8 digits as means of 2 x 2 pixels are 16 inputs; eight classes are left, as the chip has eight
read-outs. Trains on training rows, converts, and prints JSON with figures on test rows; --validation: trains
on four fifths of the training rows and prints figures on the rest, by which WIDTH, BETA and EPOCHS were
chosen. --keep writes digits16.npz and model.safetensors, for
`edgehff export --target xylo FOLDER/model.safetensors --data FOLDER/digits16.npz`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from edgehff.data.dataset import Dataset
from edgehff.data.sources import load
from edgehff.data.split import holdout, train_test
from edgehff.model import file
from edgehff.recipe import PretrainRecipe, Recipe, SpikingRecipe
from edgehff.spiking.chain import inputs_of
from edgehff.spiking.simulate import run
from edgehff.spiking.targets import xylo, xylo_file
from edgehff.spiking.train import train
from edgehff.train.events import Trained

SIMULATOR = Path(__file__).resolve().parents[2] / "build/simulators/xylo"
CLASSES, WIDTH, STEPS, BETA, RATE, EPOCHS = 8, 512, 8, 0.75, 0.004, 40


def main() -> None:
    """Train, convert, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--validation", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = small_digits()
    at_train, at_test = train_test(data)
    rows, shown = data.rows(at_train), data.rows(at_test)
    if args.validation:
        kept, out = holdout(rows, 0.2, 1)
        rows, shown = rows.rows(kept), rows.rows(out)
    recipe = Recipe(
        layers=(WIDTH,),
        gate=None,
        scale=30,
        margin=0.1,
        data="digits16.npz",
        spiking=SpikingRecipe(steps=STEPS, beta=BETA, reset="subtract"),
        pretrain=PretrainRecipe(lr=RATE, lr_prototypes=RATE, weight_decay=0.1, batch_size=32, epochs=EPOCHS),
    )
    for event in train(recipe, rows):
        if isinstance(event, Trained):
            network = event.network
    chip = xylo.quantize(network, inputs_of(network, network.encode(rows.x)))
    x = network.encode(shown.x)
    inputs = inputs_of(network, x)
    own, found = run(network, x, 0.0).answers, xylo.run(chip, inputs)
    document = {
        "rows": "validation" if args.validation else "test",
        "samples": len(shown),
        "model_accuracy": float((own == shown.y).mean()),
        "accuracy": float((found.answers == shown.y).mean()),
        "answered_alike": float((found.answers == own).mean()),
        "weight_shift": chip.shift_in,
        "threshold": chip.threshold,
        "spikes": float(found.hidden.sum() / len(shown)),
        "most_spikes_in_a_step": int(found.hidden.max()),
        "peak": found.peak,
        "saturated": found.saturated,
    }
    if (SIMULATOR / "chip.py").is_file():
        beside = xylo_file.compare(SIMULATOR, xylo_file.to_bytes(chip, network, inputs), inputs)
        document["xylosim"] = f"{beside.version}: {beside.told}"
    print(json.dumps(document, indent=2))
    if args.keep is not None:
        args.keep.mkdir(parents=True, exist_ok=True)
        file.save(network, args.keep / "model.safetensors")
        names, marks = np.array(data.class_names), data.is_test
        assert marks is not None
        np.savez_compressed(args.keep / "digits16.npz", X=data.x, y=data.y, is_test=marks, class_names=names)


def small_digits() -> Dataset:
    """Digits 0 to 7 as 16 means of four pixels, 15 times as large."""
    data = load("digits")
    rows = data.rows(data.y < CLASSES)
    means = rows.x.reshape(-1, 4, 2, 4, 2).astype(np.float64).mean(axis=(2, 4))
    x = np.rint(means * 15).astype(np.uint8).reshape(len(rows), 16)
    return replace(rows, name="digits16", x=x, class_names=rows.class_names[:CLASSES])


if __name__ == "__main__":
    main()
