# /// script
# requires-python = "==3.11.*"
# dependencies = ["torch==2.13.0", "norse==1.1.0", "nir==1.0.8", "nirtorch==2.6"]
# ///
"""Norse, through the .nir file."""

import sys
from importlib.metadata import version
from pathlib import Path

import nir
import norse
import numpy as np
import torch

folder = Path(sys.argv[1])
case = np.load(folder / "case.npz")
network = norse.torch.from_nir(nir.read(folder / "network.nir"), dt=1e-4)
steps, state = [], None
with torch.no_grad():
    for step in np.moveaxis(case["x"], 1, 0):
        spikes, state = network(torch.from_numpy(step.astype(np.float32)), state)
        steps.append(spikes.numpy() > 0)
last = int(case["layers"]) - 1
np.savez_compressed(folder / "spikes.npz", version=version("norse"), **{str(last): np.stack(steps, axis=1)})
