"""Files of one step of a spiking network in their stock runtimes: state goes in and comes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.errors import ModelFileError, ShapeError
from edgehff.export import metadata
from edgehff.export.artifact import BATCH, executorch_program, first_line, onnx_session

Float = NDArray[np.float32]
_AGAIN = "export it again, or take the file from its source again"


@dataclass(frozen=True, eq=False)
class Stepped:
    """What one step gave.

    similarity: (n, n_classes), the answer so far.  spikes: (n, neurons) of each layer, 0 or 1.
    state: what the next step takes.
    """

    similarity: Float
    spikes: list[Float]
    state: list[Float]


class StepFile(ABC):
    """A file of one step, loaded by its runtime.

    metadata: its document.  runtime: name and version of what runs it.
    """

    def __init__(self, path: Path, text: str, runtime: str) -> None:
        self.path, self.runtime = path, runtime
        self.metadata = metadata.from_text(text, path, metadata.STEP_FORMAT)

    @property
    def max_batch(self) -> int | None:
        """The most rows of one run; None: any number."""
        value: int | None = self.metadata["max_batch"]
        return value

    def start(self, n: int) -> list[Float]:
        """The state of n samples before their first step."""
        return [np.zeros((n, width), np.float32) for width in self.metadata["input_widths"][1:]]

    def step(self, x: NDArray[Any], state: list[Float]) -> Stepped:
        """One step of n samples.  x: (n, n_in), numbers of `edgehff.spiking.encode.steps_of`.

        Raises:
            ShapeError: another width, no sample, or more than the file takes at once.
        """
        width = self.metadata["input_widths"][0]
        if x.ndim != 2 or x.shape[1] != width or not len(x):
            raise ShapeError(
                f"inputs of a step have shape {x.shape}, {self.path.name} takes (n, {width})",
                hint="give one row a sample",
            )
        if self.max_batch is not None and len(x) > self.max_batch:
            raise ShapeError(
                f"{len(x)} samples at once, {self.path.name} takes at most {self.max_batch}",
                hint=f"edgehff export --batch {len(x)}, or give fewer at once",
            )
        inputs = [np.ascontiguousarray(x, np.float32), *state]
        try:
            outputs = self._run(inputs)
        except Exception as error:  # onnxruntime's own classes share no base but Exception
            raise ModelFileError(f"{self.path} does not run: {first_line(error)}", hint=_AGAIN) from error
        shapes = [(len(x), width) for width in self.metadata["output_widths"]]
        if [array.shape for array in outputs] != shapes:
            raise ModelFileError(
                f"{self.path} gave other shapes of outputs than its metadata say", hint=_AGAIN
            )
        n = len(self.metadata["neurons"])
        return Stepped(outputs[0], outputs[1 : n + 1], outputs[n + 1 :])

    def run(self, x: NDArray[Any]) -> tuple[Float, list[NDArray[np.bool_]]]:
        """All steps of samples, x: (n, steps, n_in).

        Returns what would be answered after each, (n, steps, n_classes), and each layer's spikes,
        (n, steps, neurons).
        """
        size = self.max_batch or BATCH
        parts = [self._steps(x[at : at + size]) for at in range(0, len(x), size)]
        trains = zip(*(spikes for _, spikes in parts), strict=True)
        return np.concatenate([part[0] for part in parts]), [np.concatenate(layer) for layer in trains]

    def _steps(self, x: NDArray[Any]) -> tuple[Float, list[NDArray[np.bool_]]]:
        state, similarities, fired = self.start(len(x)), [], []
        for seen in np.moveaxis(x, 1, 0):
            done = self.step(seen, state)
            state = done.state
            similarities.append(done.similarity)
            fired.append([spikes != 0 for spikes in done.spikes])
        return np.stack(similarities, axis=1), [np.stack(s, axis=1) for s in zip(*fired, strict=True)]

    @abstractmethod
    def _run(self, inputs: list[Float]) -> list[Float]:
        """The outputs in the order of the metadata, arrays of their own."""


class OnnxStep(StepFile):
    """An ONNX file in onnxruntime, on the CPU."""

    def __init__(self, path: Path) -> None:
        self._session, text, runtime = onnx_session(path)
        super().__init__(path, text, runtime)

    def _run(self, inputs: list[Float]) -> list[Float]:
        feed = dict(zip(self.metadata["inputs"], inputs, strict=True))
        return list(self._session.run(self.metadata["outputs"], feed))


class ExecutorchStep(StepFile):
    """An ExecuTorch program in the runtime of the executorch package."""

    def __init__(self, path: Path) -> None:
        self._program, self._method, text, runtime = executorch_program(path)
        self._warm = False
        super().__init__(path, text, runtime)
        if self._method is None:
            raise ModelFileError(f"{path} has no method forward", hint=_AGAIN)

    def _run(self, inputs: list[Float]) -> list[Float]:
        import torch

        from edgehff.export.executorch import quiet

        with nullcontext() if self._warm else quiet():  # native code speaks when it first runs
            outputs = self._method.execute([torch.from_numpy(array) for array in inputs])
        self._warm = True
        return [output.numpy().copy() for output in outputs]  # the next run writes over them


def open_step(path: str | Path) -> StepFile:
    """The file in its runtime.

    Raises:
        ModelFileError: it is missing, damaged, or of another kind.
        MissingToolError: its runtime is not installed.
    """
    path = Path(path)
    hint = "edgehff export --target onnx SPIKING_MODEL writes one"
    if path.suffix not in (".onnx", ".pte"):
        raise ModelFileError(
            f"{path} is no exported file: its name ends in neither .onnx nor .pte", hint=hint
        )
    if not path.is_file():
        raise ModelFileError(f"{path} is no file", hint=hint)
    return ExecutorchStep(path) if path.suffix == ".pte" else OnnxStep(path)
