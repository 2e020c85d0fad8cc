# /// script
# requires-python = "==3.11.*"
# dependencies = ["torch==2.13.0", "sinabs==3.1.3"]
# ///
"""Sinabs, built layer by layer: integrate and fire, one spike a step at most, reset to zero."""

import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from sinabs.activation import MembraneReset, SingleSpike
from sinabs.layers import IAF

folder = Path(sys.argv[1])
case = np.load(folder / "case.npz")
seen, found = torch.from_numpy(case["x"].astype(np.float32)), {}
with torch.no_grad():
    for i in range(int(case["layers"])):
        neurons = IAF(
            spike_threshold=float(case[f"threshold_{i}"]),
            spike_fn=SingleSpike,
            reset_fn=MembraneReset(),
            min_v_mem=None,
        )
        seen = neurons(seen @ torch.from_numpy(case[f"matrix_{i}"].astype(np.float32)).T)
        found[str(i)] = seen.numpy() > 0
np.savez_compressed(folder / "spikes.npz", version=version("sinabs"), **found)
