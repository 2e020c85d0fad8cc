"""Exported files: bytes, arena, and the time of one sample beside eager torch, one thread each."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgehff.data.dataset import Dataset
from edgehff.errors import MissingToolError
from edgehff.export.artifact import Artifact, ExecutorchArtifact, OnnxArtifact
from edgehff.export.forms import FORMS, AnyNetwork, Form, proof_of

ROUNDS, REPEATS = 20, 50


def run(network: AnyNetwork, data: Dataset | None) -> Iterator[dict[str, Any]]:
    """One document a form: bytes, arena_bytes, microseconds, and their ratio to eager torch.

    Times are of one sample, from raw to similarities, in the runtime alone: the smallest mean of REPEATS
    calls in ROUNDS rounds. Forms and eager torch take turns, so that what else the machine does touches them
    alike.

    Raises:
        MissingToolError: torch is not installed, or no runtime is.
    """
    import torch

    from edgehff.export.executorch import InferenceModule
    from edgehff.export.program import program_of

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    raw = proof_of(network, data).raw[:1]
    module = InferenceModule(program_of(network)).eval()
    x = torch.from_numpy(raw.astype(np.float32))
    entries: list[dict[str, Any]] = []
    calls: list[Callable[[], Any]] = [_eager(module, x)]
    with tempfile.TemporaryDirectory() as folder:
        for form in FORMS.values():
            if form.reference:
                continue
            try:
                form.check_installed()
            except MissingToolError as error:
                entries.append({"target": form.name, "skipped": f"{error.message}: {error.hint}"})
                continue
            entry, call = _prepared(form, network, Path(folder), raw)
            entries.append(entry)
            calls.append(call)
        best = _times(calls)
    torch.set_num_threads(threads)
    yield {"target": "eager torch", "bytes": None, "microseconds": best[0] * 1e6, "of_eager": 1.0}
    ran = iter(best[1:])
    for entry in entries:
        if "skipped" not in entry:
            seconds = next(ran)
            entry |= {"microseconds": seconds * 1e6, "of_eager": seconds / best[0]}
        yield entry


def _prepared(
    form: Form, network: AnyNetwork, folder: Path, raw: Any
) -> tuple[dict[str, Any], Callable[[], Any]]:
    exported = form.build(network)
    path = folder / f"model{form.suffix}"
    path.write_bytes(exported.data)
    kind = ExecutorchArtifact if form.target == "executorch" else OnnxArtifact
    artifact: Artifact = kind(path, threads=1)
    artifact.run(raw)
    entry = {"target": form.name, "bytes": len(exported.data), **exported.details}
    return entry, artifact.call(raw)


def _eager(module: Any, x: Any) -> Callable[[], Any]:
    import torch

    def call() -> Any:
        with torch.no_grad():
            return module(x)

    return call


def _times(calls: list[Callable[[], Any]]) -> list[float]:
    """Seconds of each call."""
    best = [float("inf")] * len(calls)
    for _ in range(ROUNDS):
        for i, call in enumerate(calls):
            call()
            began = time.perf_counter()
            for _ in range(REPEATS):
                call()
            best[i] = min(best[i], (time.perf_counter() - began) / REPEATS)
    return best
