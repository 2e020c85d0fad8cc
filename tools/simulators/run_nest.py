# /// script
# requires-python = "==3.11.*"
# dependencies = ["nest-simulator==3.10.0"]
# ///
"""NEST: iaf_psc_delta neurons, generators whose spikes weigh what comes in. A step is a millisecond."""

import sys
from importlib.metadata import version
from pathlib import Path

import nest
import numpy as np

folder = Path(sys.argv[1])
case = np.load(folder / "case.npz")
x, n_layers = case["x"], int(case["layers"])
n, steps, n_in = x.shape
period = (
    steps + n_layers + 2
)  # spikes take a step from layer to layer; the last ones arrive before the next sample

nest.set_verbosity("M_ERROR")
nest.ResetKernel()
nest.resolution = 1.0
inputs = nest.Create("spike_generator", n_in)
for i in range(n_in):
    sample, step = np.nonzero(x[:, :, i])
    inputs[i].set(
        spike_times=(sample * period + step + 1.0), spike_weights=x[sample, step, i].astype(np.float64)
    )
before, layers, recorders = inputs, [], []
for i in range(n_layers):
    matrix = case[f"matrix_{i}"].astype(np.float64)
    neurons = nest.Create(
        "iaf_psc_delta",
        len(matrix),
        params={
            "tau_m": 2.0**40,  # keeps all of its membrane
            "C_m": 1.0,
            "t_ref": 0.0,
            "E_L": 0.0,
            "V_reset": 0.0,
            "V_m": 0.0,
            "V_th": float(case[f"threshold_{i}"]),
        },
    )
    recorder = nest.Create("spike_recorder")
    nest.Connect(before, neurons, "all_to_all", {"weight": matrix, "delay": 1.0})
    nest.Connect(neurons, recorder)
    layers.append(neurons)
    recorders.append(recorder)
    before = neurons
for _ in range(n):
    nest.Simulate(float(period))
    for neurons in layers:
        neurons.V_m = 0.0

found = {}
for i, (neurons, recorder) in enumerate(zip(layers, recorders, strict=True)):
    spikes = np.zeros((n, steps, len(neurons)), bool)
    first = neurons.tolist()[0]
    at = np.rint(recorder.events["times"]).astype(int) - 2 - i  # sent at 1, arrived at 2, then a step a layer
    inside = at % period < steps
    spikes[at[inside] // period, at[inside] % period, recorder.events["senders"][inside] - first] = True
    found[str(i)] = spikes
np.savez_compressed(folder / "spikes.npz", version=version("nest-simulator"), **found)
