# /// script
# requires-python = "==3.11.*"
# dependencies = ["sPyNNaker==1!7.4.1", "unicorn==2.1.4", "numpy==2.4.6"]
# ///
"""sPyNNaker: a network for SpiNNaker on one board of 48 chips, from a file of `edgehff export`.

chip.py FOLDER reads network.npz, as edgehff/spiking/targets/spinnaker.py describes it, and case.npz: x, the
sources' spikes (n, steps, sources). sPyNNaker places, routes and writes what every core is loaded with, for a
virtual SpiNN-5; no board is asked for. Then those bytes are read back:

- the words of every neuron and synapse, beside those that the file asks for;
- the neurons' words go through the machine code that the cores would run (IF_curr_delta.aplx, in an emulated
  ARM): the routine that loads neurons, and that which updates one. The sums of synapses are made here from
  the words that were read, as the cores make them: 16 bits without sign, which stop at their end.

It writes mapping.json (version, cores, chips, bytes, words, differing_words, slower) and trace.npz: "0", "1",
..., spikes of each layer, (n, steps, neurons). Files of sPyNNaker stay in FOLDER.
"""

import json
import os
import sqlite3
import struct
import sys
import zlib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import unicorn
from pyNN import spiNNaker
from spinn_front_end_common.data import FecDataView as View
from spynnaker.pyNN import model_binaries
from unicorn import arm_const as arm

ONE = 1 << 15
NEURONS = 128
"""On one core."""
EVENTS = 13000
"""Synapses that a core gets through in 1 ms: synapse_dynamics_static.py of sPyNNaker."""
BINARY, CRC = "IF_curr_delta.aplx", 0x923ACC26
LOAD, UPDATE, SILENT, FIRED = 0x16B4, 0x23A0, 0x24A4, 0x2594
"""In the binary: loads all neurons' words; updates a neuron, up to no spike, or to its spike's message."""
STATE = 0x400168
"""Of the neurons' variables: +16 bits of spikes, +20 their indices, +80 four arrays."""
STACK, INDICES, BITS, HERE = 0x41F000, 0x420000, 0x421000, 0x500000
"""Where the emulated core has its stack, indices and bits of spikes, and the words to load."""
ARRAYS = 0x430000, 0x434000, 0x435000, 0x437000
"""Of neurons, scales of inputs, sums of synapses, thresholds."""
FULL = 0xFFFF
"""Of a sum of synapses."""


def mapped(folder, net, x):
    """Map the network; returns its cores, who sends spikes to each layer, and numbers of it all.

    Cores: (layer, neurons as a slice, regions by label).  Senders: by layer, (key, slice of what comes in).
    """
    os.environ["HOME"] = str(folder)
    (folder / ".spynnaker.cfg").write_text("[Machine]\nvirtual_board = True\nversion = 5\n")
    os.chdir(folder)
    layers = layers_of(net)
    slower = -(-max(min(NEURONS, len(w)) * w.shape[1] for w in layers) // EVENTS)
    spiNNaker.setup(timestep=1.0, time_scale_factor=slower)
    times = [np.flatnonzero(train).astype(float).tolist() for train in x[0].T]
    labels = ["sources", *(f"layer {i}" for i in range(len(layers)))]
    before = spiNNaker.Population(len(times), spiNNaker.SpikeSourceArray(times), label=labels[0])
    for i, weights in enumerate(layers):
        here = population(net, i, len(weights))
        for sign, kind in ((1, "excitatory"), (-1, "inhibitory")):
            start, to = np.nonzero(weights.T * sign > 0)  # in this order: FromListConnector counts rows so
            rows = np.column_stack([start, to, np.abs(weights[to, start]) / ONE, np.ones(len(to))])
            if len(rows):
                spiNNaker.Projection(before, here, spiNNaker.FromListConnector(rows), receptor_type=kind)
        before = here
    spiNNaker.run(x.shape[1] + len(layers))
    routes, cores, used = View.get_routing_infos(), [], []
    senders = [[] for _ in range(len(layers) + 1)]
    with sqlite3.connect(View.get_ds_database_path()) as data:
        for place in View.iterate_placemements():
            vertex = place.vertex
            if vertex.app_vertex is None:
                continue  # a monitor of the system
            used.append((place.x, place.y))
            i = labels.index(vertex.app_vertex.label)
            for part in routes.get_partitions_from(vertex):
                senders[i].append((routes.get_key_from(vertex, part), slice_of(vertex.vertex_slice)))
            if i:
                found = data.execute(
                    "SELECT region_label, content FROM region WHERE x = ? AND y = ? AND p = ?",
                    (place.x, place.y, place.p),
                )
                regions = {label: np.frombuffer(content or b"", "<u4") for label, content in found}
                cores.append((i - 1, slice_of(vertex.vertex_slice), regions))
        (size,) = data.execute("SELECT sum(length(content)) FROM region").fetchone()
    spiNNaker.end()
    numbers = {"cores": len(used), "chips": len(set(used)), "bytes": size, "slower": slower}
    return cores, senders, numbers


def layers_of(net):
    """The matrices of a file, from the sources on."""
    return [net[f"weights_{i}"].astype(int) for i in range(sum(name.startswith("weights_") for name in net))]


def slice_of(atoms):
    """A slice as Python has it."""
    return slice(atoms.lo_atom, atoms.lo_atom + atoms.n_atoms)


def population(net, i, n):
    """Layer i, n neurons. A list of what is the same for all lets the host write it, and not a core."""
    return spiNNaker.Population(
        n,
        spiNNaker.IF_curr_delta(
            tau_m=float(net["tau_m"]),
            cm=float(net["cm"]),
            v_rest=[int(net[f"rest_{i}"]) / ONE] * n,
            v_thresh=[int(net[f"threshold_{i}"]) / ONE] * n,
            v_reset=0.0,
            tau_refrac=0.0,
            i_offset=0.0,
        ),
        label=f"layer {i}",
        initial_values={"v": 0.0},
        max_expected_summed_weight=[0.5, 0.5],  # below 1: ring buffers hold words, not shifted
        neurons_per_core=NEURONS,
    )


def neuron_words(net, i, n):
    """What n neurons of layer i have to be loaded with."""
    rest, threshold = int(net[f"rest_{i}"]), int(net[f"threshold_{i}"])
    one = [0, rest, int(net["cm"] * ONE), int(net["tau_m"] * ONE), 0, 0, 0, 0, ONE]
    return np.array([1, *one * n, *[ONE] * n, *[threshold] * n, *[0] * 2 * n], np.int64) & 0xFFFFFFFF


def synapses(regions, senders, n, n_before):
    """The words of synapses as matrices: (excitatory, inhibitory), each (n, n_before); how many are wrong.

    Wrong: another delay than 1, a neuron or a kind that is not there, or a row twice.
    """
    _, _, index_bits, kind_bits, delay_bits, _, _, *shifts = regions["SynapseParams"].tolist()
    table, blocks = regions["PopTable"], regions["SynBlocks"]
    n_entries = int(table[0])
    addresses = table[2 + 5 * n_entries :]
    found, wrong = np.zeros((2, n, n_before), np.int64), sum(shift != 0 for shift in shifts)
    for entry in table[2 : 2 + 5 * n_entries].reshape(-1, 5).tolist():
        key, mask, where, cores, per_core = entry
        for address in addresses[where & 0x1FFF :][: where >> 16].tolist():
            start, stride = (address >> 8) * 4, (address & 0xFF) + 4
            for sender, atoms in senders:
                if sender & mask != key:
                    continue
                first = (sender >> (cores >> 16) & (cores & 0xFFFF)) * (per_core & 0xFFFF)
                for k in range(atoms.stop - atoms.start):
                    row = blocks[start + (first + k) * stride :][:stride]
                    for word in row[3 : 3 + int(row[1])].tolist():
                        neuron, kind = word & (1 << index_bits) - 1, word >> index_bits & (1 << kind_bits) - 1
                        delay = word >> (index_bits + kind_bits) & (1 << delay_bits) - 1
                        if neuron >= n or kind > 1 or delay != 1 or found[kind, neuron, atoms.start + k]:
                            wrong += 1
                        else:
                            found[kind, neuron, atoms.start + k] = word >> 16
    return found, wrong


class Core:
    """The machine code of a core, with its neurons loaded from words."""

    def __init__(self, words, n):
        """words: the region of neurons' parameters.  n: neurons."""
        self.n, self.cpu = n, unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_ARM)
        for start in (0, 0x400000, HERE):
            self.cpu.mem_map(start, 0x40000)
        for start, content in sections():
            self.cpu.mem_write(start, content)
        self.write(STATE + 80, *ARRAYS)
        for pointer, to in ((16, BITS), (20, INDICES)):
            self.write(STATE + pointer, to)
            self.write(to, to + 16)
        self.cpu.mem_write(INDICES + 16, np.arange(n, dtype="<u2").tobytes())
        self.cpu.mem_write(HERE, words.astype("<u4").tobytes())
        self.registers({"R0": HERE, "R1": n, "R2": 0, "SP": STACK, "LR": HERE})
        self.cpu.emu_start(LOAD, HERE)
        self.cpu.hook_add(unicorn.UC_HOOK_CODE, lambda cpu, *_: cpu.emu_stop(), begin=FIRED, end=FIRED)

    def write(self, address, *words):
        """Put words there."""
        self.cpu.mem_write(address, struct.pack(f"<{len(words)}I", *words))

    def registers(self, values):
        """Set registers by their names."""
        for name, value in values.items():
            self.cpu.reg_write(getattr(arm, f"UC_ARM_REG_{name}"), value)

    def step(self, sums):
        """One step of all neurons; sums: (2, n), of both kinds of synapse. Returns who fired, (n,)."""
        neurons, scales, inputs, thresholds = ARRAYS
        bits = -(-self.n // 32)
        self.write(BITS + 16, *[0] * bits)
        for k, (above, below) in enumerate(sums.T.tolist()):
            arrays = (scales + 4 * k, thresholds + 4 * k, inputs + 8 * k)
            self.write(STACK, 0, 0, above, below, *arrays, 0, 0, 2 * k, 0, 0, 1)
            self.registers({"SP": STACK, "R11": neurons + 32 * k, "R10": STATE, "R8": 1, "R7": 0})
            self.cpu.emu_start(UPDATE, SILENT)
        fired = np.frombuffer(self.cpu.mem_read(BITS + 16, 4 * bits), "u1")
        return np.unpackbits(fired, bitorder="little")[: self.n].astype(bool)


def sections():
    """(address, bytes) that a core's loader copies, from the binary that sPyNNaker brings along."""
    data = (Path(model_binaries.__file__).parent / BINARY).read_bytes()
    if zlib.crc32(data) != CRC:
        raise SystemExit(f"{BINARY} is not that of sPyNNaker 7.4.1")
    at = 0
    while True:
        command, to, start, size = struct.unpack_from("<4I", data, at)
        if command == 2:
            yield to, data[at + start : at + start + size]
        elif command != 3:
            return
        at += 16


def main(folder):
    """Map, read back, and run all samples, each from rest."""
    with np.load(folder / "network.npz") as file:
        net = {name: file[name] for name in file.files}
    seen = np.load(folder / "case.npz")["x"].astype(bool)
    cores, senders, numbers = mapped(folder, net, seen)
    words = differing = 0
    trains = {}
    for i, weights in enumerate(layers_of(net)):
        fired = np.zeros((*seen.shape[:2], len(weights)), bool)
        for _, atoms, regions in (core for core in cores if core[0] == i):
            asked, n = neuron_words(net, i, len(weights[atoms])), len(weights[atoms])
            found, wrong = synapses(regions, senders[i], n, weights.shape[1])
            kinds = np.maximum(weights[atoms], 0), np.maximum(-weights[atoms], 0)
            words += len(asked) + int(np.count_nonzero(found))
            differing += int((asked != regions["neuron_params"]).sum()) + wrong + int((found != kinds).sum())
            for sample, train in zip(seen, fired, strict=True):
                core = Core(regions["neuron_params"], n)
                for step, spikes in enumerate(sample):
                    train[step, atoms] = core.step(np.minimum(found @ spikes, FULL))
        trains[str(i)] = seen = fired
    numbers |= {"version": version("sPyNNaker"), "words": words, "differing_words": differing}
    (folder / "mapping.json").write_text(json.dumps(numbers))
    np.savez_compressed(folder / "trace.npz", **trains)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
