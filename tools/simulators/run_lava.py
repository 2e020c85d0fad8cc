# /// script
# requires-python = "==3.10.*"
# dependencies = ["lava-nc==0.10.0"]
# ///
"""Lava: Intel's models of Loihi 2, in floats and in the chip's integers ("fixed_pt", bit-accurate)."""

import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.dense.process import Dense
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source
from lava.proc.lif.process import LIFReset


def run(case, arithmetic):
    """Each layer's spikes, (n, steps, neurons)."""
    x, n_layers = case["x"].astype(int), int(case["layers"])
    n, steps, n_in = x.shape
    period = steps + n_layers + 2  # silent steps, in which the last spikes pass through
    length = n * period + n_layers + 2
    stream = np.zeros((n_in, length), int)
    for i in range(n):
        stream[:, i * period : i * period + steps] = x[i].T
    source = Source(data=stream)
    port, sinks = source.s_out, []
    for i in range(n_layers):
        matrix, threshold = case[f"matrix_{i}"].astype(int), float(case[f"threshold_{i}"])
        bits = {"num_message_bits": 8} if i == 0 else {}
        if arithmetic == "fixed_pt":  # the chip's weights of both signs are even; thresholds are integers
            dense = Dense(weights=matrix * 2, num_weight_bits=8, **bits)
            threshold, full = int(threshold * 2), 4095
        else:
            dense, full = Dense(weights=matrix.astype(float), **bits), 1.0
        neurons = LIFReset(
            shape=(len(matrix),), vth=threshold, du=full, dv=0, reset_interval=period, reset_offset=i + 1
        )
        sink = Sink(shape=(len(matrix),), buffer=length)
        port.connect(dense.s_in)
        dense.a_out.connect(neurons.a_in)
        neurons.s_out.connect(sink.a_in)
        port = neurons.s_out
        sinks.append(sink)
    source.run(condition=RunSteps(num_steps=length), run_cfg=Loihi2SimCfg(select_tag=arithmetic))
    found = {}
    for i, sink in enumerate(sinks):
        seen = sink.data.get().T > 0
        found[str(i)] = np.stack([seen[k * period + i + 1 :][:steps] for k in range(n)])
    source.stop()
    return found


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for name in ("floating_pt", "fixed_pt"):
        spikes = run(np.load(folder / "case.npz"), name)
        np.savez_compressed(folder / f"spikes_{name}.npz", version=version("lava-nc"), **spikes)
