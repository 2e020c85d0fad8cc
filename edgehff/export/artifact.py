"""Exported files in their stock runtimes: opened, asked, and told in our words what does not fit."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.errors import DataError, ModelFileError, ShapeError
from edgehff.export import metadata
from edgehff.extras import installed, require, require_executorch

Float = NDArray[np.float32]
MAX_FILE_BYTES = 1 << 30
BATCH = 1024
"""Rows of one run where the file sets no maximum."""

_SUFFIXES = (".onnx", ".pte")
_AGAIN = "export it again, or take the file from its source again"


class Artifact(ABC):
    """An exported file, loaded by its runtime.

    path: where it lies.  metadata: its document.  runtime: name and version of what runs it.
    """

    def __init__(self, path: Path, document: dict[str, Any], runtime: str) -> None:
        self.path, self.metadata, self.runtime = path, document, runtime

    @property
    def max_batch(self) -> int | None:
        """The most rows of one run; None: any number."""
        value: int | None = self.metadata.get("max_batch")
        return value

    def run(self, samples: NDArray[Any]) -> Float:
        """One run of the runtime: similarities, (n, 1 + n_layers, n_classes), joined ones first.

        samples: (n, *sample_shape) or (n, n_values), of the file's input dtype; a program that takes float32
        also takes the integers that its encoder was made for, which float32 holds exactly.

        Raises:
            ShapeError: another dtype or shape, no row, or more rows than the file takes at once.
        """
        x = self._checked(samples)
        if self.max_batch is not None and len(x) > self.max_batch:
            raise ShapeError(
                f"{len(x)} samples at once, {self.path.name} takes at most {self.max_batch}",
                hint=f"edgehff export --batch {len(x)}, or give fewer at once",
            )
        outputs = self._run(x)
        expected = (len(x), len(self.metadata["class_names"]))
        for array in outputs:
            if array.shape != expected:
                raise ModelFileError(
                    f"{self.path} gave an output of shape {array.shape}, its metadata say {expected}",
                    hint=_AGAIN,
                )
        return np.stack(outputs, axis=1)

    def similarities(self, samples: NDArray[Any], batch: int | None = None) -> Float:
        """As run, for any number of rows: batch after batch, of the largest size that the file takes."""
        size = batch or self.max_batch or BATCH
        if samples.ndim < 1 or not len(samples):
            raise ShapeError("there are no samples", hint="give one row a sample")
        parts = [self.run(samples[at : at + size]) for at in range(0, len(samples), size)]
        return np.concatenate(parts)

    def call(self, samples: NDArray[Any]) -> Callable[[], object]:
        """One run of the runtime on these samples, ready to be timed: nothing is checked or copied in it."""
        return self._call(self._checked(samples))

    @abstractmethod
    def _call(self, x: NDArray[Any]) -> Callable[[], object]:
        """The runtime's own call."""

    @abstractmethod
    def _run(self, x: NDArray[Any]) -> list[Float]:
        """The outputs in the order of the metadata; the next run may write over them."""

    def _checked(self, samples: NDArray[Any]) -> NDArray[Any]:
        takes = self.metadata["input_dtype"]
        raw = self.metadata["encoder"]["raw"]
        exact = takes == "float32" and self.metadata["encoder"]["input_scale"] is None
        if samples.dtype.name != takes and not (exact and samples.dtype.name == raw):
            also = f" or {raw}" if exact else ""
            raise ShapeError(
                f"samples are {samples.dtype}, {self.path.name} takes {takes}{also}",
                hint=f"bring them to {takes}: samples.astype({takes!r}), where no value changes",
            )
        shape = tuple(self.metadata["sample_shape"])
        found = samples.shape[1:]
        if samples.ndim < 1 or not len(samples) or math.prod(found) != math.prod(shape):
            raise ShapeError(
                f"samples have shape {samples.shape}, {self.path.name} takes (n, *{shape})",
                hint="give one row a sample: samples[None] for a single one",
            )
        if len(shape) > 1 and len(found) > 1 and found != shape:
            raise ShapeError(
                f"a sample has shape {found}, {self.path.name} takes {shape}", hint="bring time to the front"
            )
        if samples.dtype.kind == "f" and not np.isfinite(samples).all():
            raise DataError("samples hold NaN or infinite values", hint="remove those rows, or fill the gaps")
        return np.ascontiguousarray(samples.reshape(len(samples), *shape), dtype=takes)


class OnnxArtifact(Artifact):
    """An ONNX file in onnxruntime, on the CPU."""

    def __init__(self, path: Path, threads: int = 0) -> None:
        session, text, runtime = onnx_session(path, threads)
        super().__init__(path, metadata.from_text(text, path), runtime)
        self._session = session
        self._names = self.metadata["outputs"]

    def _call(self, x: NDArray[Any]) -> Callable[[], object]:
        feed = {self._session.get_inputs()[0].name: x}
        return lambda: self._session.run(self._names, feed)

    def _run(self, x: NDArray[Any]) -> list[Float]:
        try:
            return list(self._session.run(self._names, {self._session.get_inputs()[0].name: x}))
        except Exception as error:
            raise ModelFileError(f"{self.path} does not run: {first_line(error)}", hint=_AGAIN) from error


class OnnxReferenceArtifact(Artifact):
    """An ONNX file in onnx.reference: numpy alone, as the standard defines each operator."""

    def __init__(self, path: Path) -> None:
        require("onnx", "onnx")
        import onnx
        from onnx.reference import ReferenceEvaluator

        try:
            model = onnx.load_from_string(path.read_bytes())
            evaluator = ReferenceEvaluator(model)
        except Exception as error:
            raise ModelFileError(f"onnx does not load {path}: {first_line(error)}", hint=_AGAIN) from error
        text = {p.key: p.value for p in model.metadata_props}.get(metadata.KEY, "")
        super().__init__(path, metadata.from_text(text, path), f"onnx.reference {onnx.__version__}")
        self._evaluator = evaluator

    def _call(self, x: NDArray[Any]) -> Callable[[], object]:
        return lambda: self._run(x)

    def _run(self, x: NDArray[Any]) -> list[Float]:
        try:
            return list(self._evaluator.run(self.metadata["outputs"], {"samples": x}))
        except Exception as error:
            raise ModelFileError(f"{self.path} does not run: {first_line(error)}", hint=_AGAIN) from error


class ExecutorchArtifact(Artifact):
    """An ExecuTorch program in the runtime of the executorch package.

    threads: of XNNPACK's pool, which all programs of the process share; 0: as it is. A pool must not be
    replaced under a loaded program, which would wait for it for ever: ask for threads with the first one.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        program, method, text, runtime = executorch_program(path, threads)
        document = metadata.from_text(text, path)
        if method is None:
            raise ModelFileError(f"{path} has no method forward", hint=_AGAIN)
        super().__init__(path, document, runtime)
        self._program, self._method, self._warm = program, method, False

    def _call(self, x: NDArray[Any]) -> Callable[[], object]:
        import torch

        inputs = [torch.from_numpy(x)]
        return lambda: self._method.execute(inputs)

    def _run(self, x: NDArray[Any]) -> list[Float]:
        import torch

        from edgehff.export.executorch import quiet

        try:
            with nullcontext() if self._warm else quiet():  # native code speaks when it first runs
                outputs = self._method.execute([torch.from_numpy(x)])
            self._warm = True
        except RuntimeError as error:
            raise ModelFileError(f"{self.path} does not run: {first_line(error)}", hint=_AGAIN) from error
        return [output.numpy() for output in outputs]


def onnx_session(path: Path, threads: int = 0) -> tuple[Any, str, str]:
    """A file's session, the text of its metadata, and what runs it."""
    require("onnxruntime", "onnx")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        text = session.get_modelmeta().custom_metadata_map.get(metadata.KEY, "")
    except Exception as error:  # onnxruntime's own classes share no base but Exception
        raise ModelFileError(f"onnxruntime does not load {path}: {first_line(error)}", hint=_AGAIN) from error
    return session, text, f"onnxruntime {onnxruntime.__version__}"


def executorch_program(path: Path, threads: int = 0) -> tuple[Any, Any, str, str]:
    """A file's program, its method forward (None: it has none), its metadata's text, and what runs it."""
    require_executorch()
    from edgehff.export.executorch import quiet

    data = path.read_bytes()
    if data[4:6] != b"ET":
        raise ModelFileError(f"{path} is no ExecuTorch program", hint=_AGAIN)  # whose reader would abort
    with quiet():
        from executorch.extension.pybindings import portable_lib
        from executorch.runtime import Runtime, Verification

        if threads not in (0, portable_lib._threadpool_get_thread_count()):
            portable_lib._unsafe_reset_threadpool(threads)
        try:
            program = Runtime.get().load_program(data, verification=Verification.InternalConsistency)
            method = program.load_method("forward") if "forward" in program.method_names else None
            told = (
                program.load_method(metadata.METHOD).execute([])
                if metadata.METHOD in program.method_names
                else [""]
            )
        except (RuntimeError, ValueError) as error:
            raise ModelFileError(
                f"executorch does not load {path}: {first_line(error)}", hint=_AGAIN
            ) from error
    return program, method, str(told[0]), f"executorch {installed('executorch')}"


def open_artifact(path: str | Path, *, reference: bool = False) -> Artifact:
    """The file in its runtime; with reference, an ONNX file in onnx.reference.

    Raises:
        ModelFileError: it is missing, too large, damaged, or of another kind.
        MissingToolError: its runtime is not installed.
    """
    path = Path(path)
    if path.suffix not in _SUFFIXES:
        raise ModelFileError(
            f"{path} is no exported file: its name ends in neither {' nor '.join(_SUFFIXES)}",
            hint="edgehff export --target onnx MODEL writes one",
        )
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise ModelFileError(f"{path} is no file", hint="edgehff export --target onnx MODEL writes one")
    except OSError as error:
        raise ModelFileError(
            f"cannot read {path}: {error.strerror}", hint="edgehff export --target onnx MODEL writes one"
        ) from error
    if size > MAX_FILE_BYTES:
        raise ModelFileError(f"{path} has {size} bytes, at most 1 GiB is read", hint=_AGAIN)
    if path.suffix == ".pte":
        return ExecutorchArtifact(path)
    return OnnxReferenceArtifact(path) if reference else OnnxArtifact(path)


def first_line(error: BaseException) -> str:
    """What a runtime complains of, in short."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
