"""The same spikes elsewhere: a network in other groups' simulators, slot by slot against simulate.py.

Each simulator is a folder with a Python environment (bin/python) and a program, run.py, that is called with
the folder of a case:

    network.nir   the network as nir.py writes it
    case.npz      x (n, steps, n_in); layers, their number; matrix_0, threshold_0, ... of chain.py

It writes spikes.npz, or spikes_NAME.npz for each of several arithmetics: arrays "0", "1", ... of the layers
that it can see, (n, steps, neurons), and "version". It may
write metrics.json, NeuroBench's results. The packages of a simulator are never imported here.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from edgehff.errors import InputError, MissingToolError, RecipeError
from edgehff.model.spiking_network import SpikingNetwork
from edgehff.spiking import nir
from edgehff.spiking.chain import chain_of, inputs_of, trains_of
from edgehff.spiking.environment import TIMEOUT, call
from edgehff.spiking.simulate import run

ROUNDING = 1e-3
"""Of operations that were divided by the number of samples and multiplied again."""
METRICS = "metrics.json"
Trains = NDArray[np.bool_]


@dataclass(frozen=True)
class Agreement:
    """What a simulator's spikes are beside ours.

    layers: that it let us see.  slots: of their neurons, steps and samples.  spikes: ours in them.
    differing: slots where one spikes and the other does not.  first: (layer, sample, step, neuron) of the
    first of them.  operations: synaptic ones of all samples as NeuroBench counts them, and ours; None where
    nobody counted.  reason: why there is nothing to compare.
    """

    simulator: str
    version: str = ""
    layers: tuple[int, ...] = ()
    slots: int = 0
    spikes: int = 0
    differing: int = 0
    first: tuple[int, int, int, int] | None = None
    operations: tuple[float, int] | None = None
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether there were spikes, none differed, and operations were counted alike."""
        counted = self.operations is None or self.operations[0] == self.operations[1]
        return not self.reason and self.differing == 0 and counted


def simulators_in(folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """The simulators' folders, sorted; names: only these.

    Raises:
        MissingToolError: there is none, or not one of the names.
    """
    found = sorted(path.parent for path in folder.glob("*/run.py"))
    have = [path.name for path in found]
    for name in names:
        if name not in have:
            raise MissingToolError(
                f"no simulator {name!r} in {folder}, there are: {', '.join(have) or 'none'}",
                hint=f"python tools/simulators/install.py {name}",
            )
    if not found:
        raise MissingToolError(f"no simulators in {folder}", hint="make simulators")
    return [path for path in found if not names or path.name in names]


def verify(
    network: SpikingNetwork, x: NDArray[np.int16], simulators: Sequence[Path], timeout: float = TIMEOUT
) -> Iterator[Agreement]:
    """Run encoded samples (n, n_in) in each simulator, one after another.

    Raises:
        RecipeError: the network cannot be said to them; names the layer.
    """
    if not len(x):
        raise InputError("no samples to simulate", hint="--first 100")
    ours = trains_of(network, x)
    with tempfile.TemporaryDirectory(prefix="edgehff-spikes-") as name:
        case = Path(name)
        write_case(network, x, case)
        for simulator in simulators:
            for found in _run(simulator, case, ours, timeout):
                if (case / METRICS).is_file():
                    yield _with_operations(found, case / METRICS, network, x)
                else:
                    yield found


def write_case(network: SpikingNetwork, x: NDArray[np.int16], folder: Path) -> None:
    """network.nir and case.npz of encoded samples (n, n_in).

    Raises:
        RecipeError: the network cannot be said to simulators; names the layer.
    """
    beta = network.recipe.spiking.beta
    if beta != 1:
        raise RecipeError(
            f"layer 0: beta = {beta:g}; products that are rounded are not the same everywhere",
            hint="[spiking] beta = 1, and train again; edgehff export proves NIR and ONNX on test rows",
        )
    layers = chain_of(network)
    (folder / "network.nir").write_bytes(nir.build(network))
    parts: dict[str, NDArray[np.generic]] = {"x": inputs_of(network, x), "layers": np.array(len(layers))}
    for i, layer in enumerate(layers):
        parts[f"matrix_{i}"] = layer.matrix
        parts[f"threshold_{i}"] = np.array(layer.threshold)
    np.savez(folder / "case.npz", **parts)  # type: ignore[arg-type]


def _run(simulator: Path, case: Path, ours: list[Trains], timeout: float) -> Iterator[Agreement]:
    for old in [*case.glob("spikes*.npz"), *case.glob(METRICS)]:
        old.unlink()
    reason = call(simulator, "run.py", case, ("spikes*.npz",), "spikes", timeout)
    if reason:
        yield Agreement(simulator.name, reason=reason)
        return
    for file in sorted(case.glob("spikes*.npz")):
        name = " ".join([simulator.name, file.stem.removeprefix("spikes").removeprefix("_")]).strip()
        try:
            with np.load(file) as found:
                parts = {k: found[k] for k in found.files}
        except (OSError, EOFError, ValueError, BadZipFile) as error:
            yield Agreement(name, reason=f"{file.name}: {error}")
            continue
        yield compare(name, parts, ours)


def _with_operations(
    found: Agreement, file: Path, network: SpikingNetwork, x: NDArray[np.int16]
) -> Agreement:
    total = int(run(network, x, 0.0).operations.sum())
    try:
        return replace(found, operations=(_counted(file, len(x)), total))
    except (ValueError, KeyError, TypeError) as error:
        return replace(found, reason=f"{file.name}: {error!r}")


def _counted(file: Path, n: int) -> float:
    """NeuroBench's synaptic operations of all n samples, from those of one."""
    each = json.loads(file.read_text())["SynapticOperations"]
    total = (each["Effective_MACs"] + each["Effective_ACs"]) * n
    return round(total) if abs(total - round(total)) < ROUNDING else float(total)


def compare(name: str, found: dict[str, NDArray[np.generic]], ours: list[Trains]) -> Agreement:
    """A simulator's spikes, by layer, beside ours."""
    version = str(found.pop("version", np.array("")))
    layers = tuple(sorted(int(k) for k in found if k.isdigit() and int(k) < len(ours)))
    if not layers:
        return Agreement(name, version, reason="no layer's spikes in its file")
    differing, first = 0, None
    for i in layers:
        theirs = found[str(i)]
        if theirs.shape != ours[i].shape:
            return Agreement(
                name, version, layers, reason=f"layer {i}: spikes of {theirs.shape}, ours of {ours[i].shape}"
            )
        at = np.argwhere(theirs.astype(np.bool_) != ours[i])
        differing += len(at)
        if len(at) and first is None:
            first = (i, int(at[0, 0]), int(at[0, 1]), int(at[0, 2]))
    slots, spikes = sum(ours[i].size for i in layers), sum(int(ours[i].sum()) for i in layers)
    reason = "" if spikes else "no neuron spikes: nothing was shown"
    return Agreement(name, version, layers, slots, spikes, differing, first, reason=reason)
