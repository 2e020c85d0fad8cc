# /// script
# requires-python = "==3.11.*"
# dependencies = ["torch==2.13.0", "spikingjelly==2.0.0", "nir==1.0.8", "nirtorch==2.6"]
# ///
"""SpikingJelly, through the .nir file."""

import sys
from importlib.metadata import version
from pathlib import Path

import nir
import numpy as np
import torch
from spikingjelly.activation_based.nir_exchange.from_nir import import_from_nir

folder = Path(sys.argv[1])
case = np.load(folder / "case.npz")
network = import_from_nir(nir.read(folder / "network.nir"), dt=1e-4).eval()
steps, state = [], None
with torch.no_grad():
    for step in np.moveaxis(case["x"], 1, 0):
        spikes, state = network(torch.from_numpy(step.astype(np.float32)), state)
        steps.append(spikes.numpy() > 0)
last = int(case["layers"]) - 1
np.savez_compressed(
    folder / "spikes.npz", version=version("spikingjelly"), **{str(last): np.stack(steps, axis=1)}
)
