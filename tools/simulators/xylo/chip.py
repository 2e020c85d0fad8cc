# /// script
# requires-python = "==3.11.*"
# dependencies = ["xylosim==0.1.3", "numpy==2.4.6"]
# ///
"""XyloSim: the maker's model of Xylo's second core, exact in every bit, from a file of `edgehff export`.

chip.py FOLDER reads network.npz, as edgehff/spiking/targets/xylo_file.py describes it, and case.npz: x,
spikes (n, steps, n_in). It writes trace.npz: hidden and out, spikes, and the read-out's membranes, all
(n, steps and silent steps, neurons), and version.
"""

import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from xylosim.v2 import XyloLayer, XyloSynapse


def synapses(weights):
    """The synapses of each row's neuron that are not 0."""
    return [[XyloSynapse(int(k), 0, int(row[k])) for k in np.flatnonzero(row)] for row in weights]


def listed(values):
    """Each neuron's own number, as plain integers."""
    return [int(value) for value in values]


def main(folder):
    """Run all samples, each from rest."""
    with np.load(folder / "network.npz") as file:
        net = {name: file[name] for name in file.files}
    x = np.load(folder / "case.npz")["x"]
    n_hidden, n_out = net["weights_out"].shape
    kept = synapses(net["weights_in"]), synapses(net["weights_out"])  # the layer holds bare pointers to them
    layer = XyloLayer(
        synapses_in=kept[0],
        synapses_rec=[[] for _ in range(n_hidden)],
        synapses_out=kept[1],
        aliases=[[] for _ in range(n_hidden)],
        threshold=listed(net["threshold"]),
        threshold_out=listed(net["threshold_out"]),
        has_bias=False,
        bias=[0] * n_hidden,
        bias_out=[0] * n_out,
        weight_shift_inp=int(net["weight_shift_in"]),
        weight_shift_rec=0,
        weight_shift_out=int(net["weight_shift_out"]),
        dash_mem=listed(net["dash_mem"]),
        dash_mem_out=listed(net["dash_mem_out"]),
        dash_syns=[[dash, dash] for dash in listed(net["dash_syn"])],
        dash_syns_out=[[dash] for dash in listed(net["dash_syn_out"])],
        name="edgehff",
    )
    silence = np.zeros((int(net["silent"]), x.shape[2]), int)
    hidden, out, membranes = [], [], []
    for sample in x:
        layer.reset_all()
        layer.evolve(np.vstack([sample, silence]).astype(int).tolist())
        hidden.append(np.array(layer.rec_recurrent_spikes, np.uint8))
        out.append(np.array(layer.rec_out_spikes, np.uint8))
        membranes.append(np.array([list(v) for v in layer.rec_v_mem_out], np.int16).T)
    np.savez_compressed(
        folder / "trace.npz",
        hidden=np.stack(hidden),
        out=np.stack(out),
        membranes=np.stack(membranes),
        version=version("xylosim"),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
