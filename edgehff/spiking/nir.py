"""Spiking networks as NIR, in the one form that its readers agree on.

NIR is the exchange format of spiking simulators and chips (Pedersen et al., Nature Communications 15:8122,
2024).
Synapses are nir.Linear, neurons nir.LIF that reset to zero. NIR's neurons follow a differential equation,
which readers integrate by Euler steps of 0.1 ms: a neuron keeps 1 - dt / tau of its membrane, and takes
dt / tau of its input. Some readers scale by the resistance and some do not: it is 1, and the weights are
multiplied by tau / dt. A neuron that keeps all of its membrane has dt / tau = 2^-30, too little to change a
float32, and a power of two, which leaves all products exact.
"""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehff.errors import RecipeError
from edgehff.extras import require
from edgehff.model.spiking_network import SpikingNetwork
from edgehff.spiking.chain import chain_of

DT = 1e-4
"""Seconds of a step, which snnTorch's reader holds fixed."""
LONG = 1 << 30
"""tau / dt of neurons that keep all of their membrane."""


def build(network: SpikingNetwork) -> bytes:
    """The bytes of a .nir file: from inputs of `chain.inputs_of` to the last layer's spikes.

    Its metadata hold what a reader needs to answer: steps, code, class names, and prototypes as int16 Q14.

    Raises:
        RecipeError: the network has what NIR cannot say; names the layer.
        MissingToolError: nir is not installed.
    """
    require("nir", "spiking")
    import nir

    spiking = network.recipe.spiking
    if spiking.reset != "zero":
        raise RecipeError(
            f"layer 0: NIR has no neurons with reset = {spiking.reset!r}; readers would reset to zero",
            hint='[spiking] reset = "zero", and train again',
        )
    per_step = LONG if spiking.beta == 1 else 1 / (1 - spiking.beta)
    tau = np.float32(DT) * np.float32(per_step)
    nodes = [nir.Input(np.array([network.n_in]))]
    for layer in chain_of(network):
        n = len(layer.matrix)
        nodes.append(nir.Linear(layer.matrix.astype(np.float32) * np.float32(per_step)))
        nodes.append(
            nir.LIF(
                tau=_same(n, tau),
                r=_same(n, 1),
                v_leak=_same(n, 0),
                v_threshold=_same(n, layer.threshold),
                v_reset=_same(n, 0),
            )
        )
    graph = nir.NIRGraph.from_list(*nodes, nir.Output(np.array([n])))
    graph.metadata = _metadata(network)
    file = io.BytesIO()
    nir.write(file, graph)
    return file.getvalue()


def run_in_snntorch(data: bytes, x: NDArray[np.int16]) -> NDArray[np.bool_]:
    """The last layer's spikes, (n, steps, neurons), of a .nir file's bytes as snnTorch reads it.

    x: (n, steps, n_in), as `chain.inputs_of` gives them.
    """
    require("torch", "spiking")
    require("snntorch", "spiking")
    import contextlib

    import nir
    import torch
    from snntorch.import_nir import import_from_nir

    with tempfile.NamedTemporaryFile(suffix=".nir") as file:
        Path(file.name).write_bytes(data)
        graph = nir.read(file.name)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints how it scales thresholds
        network = import_from_nir(graph)
    state, out = None, []
    with torch.no_grad():
        for step in np.moveaxis(x, 1, 0):
            spikes, state = network(torch.from_numpy(step.astype(np.float32)), state)
            out.append(spikes.numpy() > 0)
    return np.stack(out, axis=1)


def _metadata(network: SpikingNetwork) -> dict[str, str | NDArray[np.int16]]:
    described = {**network.facts, "seconds_per_step": DT}
    prototypes = {f"prototypes_{i}": layer.prototypes for i, layer in enumerate(network.layers)}
    return {"edgehff": json.dumps(described), **prototypes}


def _same(n: int, value: float) -> NDArray[np.float32]:
    return np.full(n, value, np.float32)
