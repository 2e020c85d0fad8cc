# /// script
# requires-python = "==3.11.*"
# dependencies = ["torch==2.13.0", "neurobench==2.3.0", "snntorch==1.0.0"]
# ///
"""NeuroBench's own harness on snnTorch's neurons: spikes, and its metrics, in metrics.json."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import snntorch
import torch
from neurobench.benchmarks import Benchmark
from neurobench.metrics.static import ConnectionSparsity, Footprint, ParameterCount
from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
from neurobench.models import SNNTorchModel
from torch.utils.data import DataLoader, TensorDataset

folder = Path(sys.argv[1])
case = np.load(folder / "case.npz")


class Network(torch.nn.Module):
    """One step: spikes and membranes of the last layer; the spikes of all layers are kept."""

    def __init__(self):
        super().__init__()
        self.seen = []
        for i in range(int(case["layers"])):
            matrix = torch.from_numpy(case[f"matrix_{i}"].astype(np.float32))
            synapses = torch.nn.Linear(*matrix.T.shape, bias=False)
            synapses.weight.data = matrix
            neurons = snntorch.Leaky(
                beta=1.0,
                threshold=float(case[f"threshold_{i}"]),
                reset_mechanism="zero",
                reset_delay=False,
                init_hidden=True,
                output=True,
            )
            self.add_module(f"synapses_{i}", synapses)  # in the open, where snntorch.utils.reset finds them
            self.add_module(f"neurons_{i}", neurons)
            self.seen.append([])

    def forward(self, x):
        """One step."""
        for i, seen in enumerate(self.seen):
            x, membrane = getattr(self, f"neurons_{i}")(getattr(self, f"synapses_{i}")(x))
            seen.append(x.detach().numpy() > 0)
        return x, membrane


network = Network()
x = torch.from_numpy(case["x"].astype(np.float32))
steps = x.shape[1]
loader = DataLoader(TensorDataset(x, torch.zeros(len(x))), batch_size=100)
metrics = [[ParameterCount, Footprint, ConnectionSparsity], [ActivationSparsity, SynapticOperations]]
bench = Benchmark(SNNTorchModel(network), loader, [], [lambda out: out[:, -1].argmax(1)], metrics)
with torch.no_grad():
    found = bench.run(quiet=True)
(folder / "metrics.json").write_text(json.dumps(found))
spikes = {}
for i, seen in enumerate(network.seen):
    batches = [np.stack(seen[k : k + steps], axis=1) for k in range(0, len(seen), steps)]
    spikes[str(i)] = np.concatenate(batches)
np.savez_compressed(folder / "spikes.npz", version=version("neurobench"), **spikes)
