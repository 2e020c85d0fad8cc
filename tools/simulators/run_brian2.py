# /// script
# requires-python = "==3.11.*"
# dependencies = ["brian2==2.9.0", "numpy<2.4", "setuptools<81"]
# ///
"""Brian2: neurons without a leak, inputs that spike with what they carry. A step is a millisecond."""

import sys
from importlib.metadata import version
from pathlib import Path

import brian2 as b2
import numpy as np

b2.prefs.codegen.target = "numpy"
folder = Path(sys.argv[1])
case = np.load(folder / "case.npz")
x, n_layers = case["x"], int(case["layers"])
n, steps, n_in = x.shape
period = (
    steps + n_layers + 2
)  # spikes take a step from layer to layer; the last ones arrive before the next sample
b2.defaultclock.dt = 1 * b2.ms

padded = np.zeros((n, period, n_in))
padded[:, :steps] = x
carried = b2.TimedArray(padded.reshape(n * period, n_in), dt=1 * b2.ms)
before = b2.NeuronGroup(n_in, "level = carried(t, i) : 1", threshold="level != 0")
parts, layers, monitors = [before], [], []
for i in range(n_layers):
    matrix = case[f"matrix_{i}"].astype(np.float64)
    threshold = float(case[f"threshold_{i}"])
    neurons = b2.NeuronGroup(len(matrix), "v : 1", threshold=f"v > {threshold!r}", reset="v = 0")
    synapses = b2.Synapses(
        before, neurons, "w : 1", on_pre="v_post += w * level_pre" if i == 0 else "v_post += w"
    )
    synapses.connect()
    synapses.w = matrix.T.flatten()
    monitors.append(b2.SpikeMonitor(neurons))
    layers.append(neurons)
    parts += [neurons, synapses, monitors[-1]]
    before = neurons
network = b2.Network(*parts)
network.schedule = ["start", "groups", "thresholds", "resets", "synapses", "end"]
for _ in range(n):
    network.run(period * b2.ms)
    for neurons in layers:
        neurons.v = 0

found = {}
for i, (neurons, monitor) in enumerate(zip(layers, monitors, strict=True)):
    spikes = np.zeros((n, steps, len(neurons)), bool)
    at = np.rint(np.asarray(monitor.t / b2.ms)).astype(int) - 1 - i  # a step from layer to layer
    inside = at % period < steps
    spikes[at[inside] // period, at[inside] % period, np.asarray(monitor.i)[inside]] = True
    found[str(i)] = spikes
np.savez_compressed(folder / "spikes.npz", version=version("brian2"), **found)
