"""The forms that a model is exported to: how each is built, named, opened and proved."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgehff.data.dataset import Dataset
from edgehff.data.split import train_test
from edgehff.errors import EdgehffError, ModelFileError, RecipeError
from edgehff.export import verify
from edgehff.export.artifact import Artifact, open_artifact
from edgehff.extras import require, require_executorch
from edgehff.model.float_network import FloatNetwork
from edgehff.model.network import Network
from edgehff.model.spiking_network import SpikingNetwork

if TYPE_CHECKING:
    from edgehff.export.executorch import Built

AnyNetwork = Network | FloatNetwork
MADE_UP = 1000
"""Samples of noise that stand in for test rows where the data set is not here."""

MAX_BATCH = 65536


@dataclass(frozen=True)
class Form:
    """One form of a model.

    name: as in `edgehff verify --targets`.  target, backend: as in `edgehff export`.
    suffix: of its file, in place of the model's.  reference: run by onnx.reference, not onnxruntime.
    """

    name: str
    target: str
    backend: str
    suffix: str
    reference: bool = False

    @property
    def command(self) -> str:
        """The options of `edgehff export` that mean this form."""
        return f"--target {self.target}" + (" --backend portable" if self.backend == "portable" else "")

    @property
    def ending(self) -> str:
        """What the name of any such file ends in."""
        return Path(f"model{self.suffix}").suffix

    def check_installed(self) -> None:
        """MissingToolError where a package that this form needs is missing, with the extra's name."""
        if self.target == "onnx":
            require("onnx", "onnx")
            require("onnxruntime", "onnx")
        else:
            require_executorch()

    def build(self, network: AnyNetwork, max_batch: int = 1) -> Exported:
        """The network in this form, not yet proved.

        max_batch: of an ExecuTorch program; an ONNX file takes any number of rows.
        """
        self.check_installed()
        if self.target == "onnx":
            from edgehff.export import onnx

            return Exported(self, onnx.build(network).SerializeToString())
        _check_batch(max_batch)
        from edgehff.export import executorch

        return self._told(executorch.build(network, self.backend, max_batch), max_batch)

    def build_step(self, network: SpikingNetwork, max_batch: int = 1) -> Exported:
        """One step of a spiking network in this form, not yet proved.

        max_batch: as of `build`.
        """
        self.check_installed()
        if self.target == "onnx":
            from edgehff.export import step_onnx

            return Exported(self, step_onnx.build(network).SerializeToString())
        _check_batch(max_batch)
        from edgehff.export import step_executorch

        return self._told(step_executorch.build(network, self.backend, max_batch), max_batch)

    def _told(self, built: Built, max_batch: int) -> Exported:
        details = {
            "arena_bytes": built.arena_bytes,
            "delegates": built.delegates,
            "operators": built.operators,
            "max_batch": max_batch,
        }
        return Exported(self, built.data, details)

    def open(self, path: Path) -> Artifact:
        """A file of this form in its runtime."""
        self.check_installed()
        return open_artifact(path, reference=self.reference)


def _check_batch(max_batch: int) -> None:
    if not 1 <= max_batch <= MAX_BATCH:
        raise RecipeError(f"a batch of {max_batch}, 1 to {MAX_BATCH} are possible", hint="--batch 1")


@dataclass(frozen=True)
class Exported:
    """A built file's bytes, and what its builder told: arena_bytes, delegates, operators, max_batch."""

    form: Form
    data: bytes
    details: dict[str, Any] = field(default_factory=dict)


FORMS = {
    form.name: form
    for form in (
        Form("onnx", "onnx", "", ".onnx"),
        Form("onnx-reference", "onnx", "", ".onnx", reference=True),
        Form("executorch", "executorch", "xnnpack", ".pte"),
        Form("executorch-portable", "executorch", "portable", ".portable.pte"),
    )
}


def form_of(target: str, backend: str) -> Form:
    """The form that `edgehff export --target --backend` means."""
    return next(f for f in FORMS.values() if f.target == target and f.backend in ("", backend))


@dataclass(frozen=True, eq=False)
class Proof:
    """Samples to hold files of one model against.

    raw: (n, ...), the first n_rows from data, the others probes.  rows: what those are, in words.
    """

    network: AnyNetwork
    raw: NDArray[Any]
    n_rows: int
    rows: str
    _references: dict[int, verify.Reference] = field(default_factory=dict)

    def check(self, artifact: Artifact) -> verify.Parity:
        """One file's parity; a file of other weights, or one that does not run, does not pass."""
        try:
            network, meta = self.network, artifact.metadata
            if isinstance(network, Network) and meta["prototype_bits"] == 8:
                network = network.with_int8_prototypes()
            verify.check_origin(artifact, network)
            return verify.compare(artifact, self._reference(network), self.raw, self.n_rows)
        except EdgehffError as error:
            return verify.failed(self.n_rows, error.message)

    def check_built(self, exported: Exported) -> verify.Parity:
        """The parity of bytes that have no place yet."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"model{exported.form.suffix}"
            path.write_bytes(exported.data)
            return self.check(exported.form.open(path))

    @property
    def source(self) -> str:
        """What files are held against, in words."""
        is_float = isinstance(self.network, FloatNetwork)
        return "the specification in float64" if is_float else "the C core"

    def _reference(self, network: AnyNetwork) -> verify.Reference:
        crc = network.weights_crc32
        if crc not in self._references:
            self._references[crc] = verify.reference(network, self.raw)
        return self._references[crc]


def proof_of(network: AnyNetwork, data: Dataset | None) -> Proof:
    """All test rows of data, then probes; where there are no data, made-up samples."""
    probes = verify.probes(network.encoding)
    if data is None:
        info = np.iinfo(np.dtype(network.encoding.raw))
        shape = (MADE_UP, *probes.shape[1:])
        rows = np.random.default_rng(1).integers(info.min, info.max + 1, shape)
        scale = network.encoding.input_scale
        made = rows.astype(probes.dtype) if scale is None else (rows / scale).astype(np.float32)
        return Proof(network, np.concatenate([made, probes]), MADE_UP, "made-up samples")
    test = data.rows(train_test(data)[1])
    network.encode(test.x[:1])  # says it where dtype or shape are another model's
    x = test.x.reshape(len(test), *probes.shape[1:])
    if network.encoding.input_scale is not None:
        x = x.astype(np.float32)  # what files take; the core is given the same
    raw = np.concatenate([x, probes.astype(x.dtype)])
    return Proof(network, raw, len(test), f"test rows of {data.name}")


def with_prototypes(network: AnyNetwork, bits: int | None) -> AnyNetwork:
    """The network with int8 or int16 prototypes; None: as they are.

    Raises:
        ModelFileError: the network's prototypes cannot become these.
    """
    if bits is None or (isinstance(network, Network) and network.proto_bits == bits):
        return network
    if isinstance(network, Network) and bits == 8:
        return network.with_int8_prototypes()
    have = f"int{network.proto_bits}" if isinstance(network, Network) else "float"
    raise ModelFileError(
        f"prototypes of int{bits} are asked for, the model has {have} ones",
        hint="edgehff quantize FLOAT_MODEL -o MODEL, or leave --prototypes out",
    )
