# /// script
# requires-python = "==3.11.*"
# dependencies = ["akida==2.19.3"]
# ///
"""BrainChip's own engine on a file of `edgehff export --target akida`: all outputs, and a virtual AKD1000.

chip.py FOLDER, with network.npz (the file) and inputs.npz ("raw", integers, (n, values)) in it. Writes
outputs.npz: "outputs" of the engine in software, int32 (n, classes), and "version"; and mapping.json, what
the model takes of the virtual chip, which holds it but does not run.
"""

import json
import sys
from pathlib import Path

import akida
import numpy as np


def model_of(file):
    """The layers with their weights, steps and names."""
    n_layers = int(file["layers"])
    matrices = [file[f"weight_{i}"] for i in range(n_layers)] + [file["prototypes"]]
    model = akida.Model()
    n_in = matrices[0].shape[1]
    model.add(akida.InputData(input_shape=(1, 1, n_in), input_bits=int(file["input_bits"])))
    for i, matrix in enumerate(matrices):
        inner = i < n_layers
        layer = akida.FullyConnected(
            units=len(matrix),
            name=f"layer_{i}" if inner else "prototypes",
            weights_bits=int(file["weight_bits"]),
            activation=inner,
            act_bits=int(file["act_bits"]),
        )
        model.add(layer)
        layer.variables["weights"] = matrix.T.reshape(1, 1, matrix.shape[1], len(matrix))
        if inner:
            layer.variables["threshold"] = np.zeros(len(matrix), np.int32)
            # the engine's steps are those of 4 bits: with fewer bits each is so many times wider
            wider = np.float32(1 << (4 - int(file["act_bits"])))
            layer.variables["act_step"] = file[f"act_step_{i}"].astype(np.float32) / wider
    return model


def facts_of(model, device):
    """What the mapping took."""
    layers = [
        {
            "layer": layer.name,
            "nps": [
                {"at": [np_.ident.col, np_.ident.row, np_.ident.id], "type": np_.type.name}
                for np_ in layer.mapping.nps
            ],
        }
        for sequence in model.sequences
        for one in sequence.passes
        for layer in one.layers
        if layer.mapping is not None
    ]
    return {
        "device": "AKD1000",
        "chip": str(device.version),
        "sequences": len(model.sequences),
        "on_chip": all(s.backend == akida.BackendType.Hardware for s in model.sequences),
        "nps": sum(len(layer["nps"]) for layer in layers),
        "bytes": sum(len(s.program) for s in model.sequences),
        "layers": layers,
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    network, raw = np.load(folder / "network.npz"), np.load(folder / "inputs.npz")["raw"].astype(np.int64)
    step = int(network["input_step"])
    events = np.minimum((np.maximum(raw, 0) + step // 2) // step, 15).astype(np.uint8)
    events = events.reshape(len(events), 1, 1, -1)
    built = model_of(network)
    shape = (len(events), len(network["prototypes"]))
    outputs = built.forward(events).reshape(shape)
    chip = akida.AKD1000()
    built.map(chip, hw_only=True)
    np.savez_compressed(folder / "outputs.npz", outputs=outputs, version=akida.__version__)
    (folder / "mapping.json").write_text(json.dumps(facts_of(built, chip)))
