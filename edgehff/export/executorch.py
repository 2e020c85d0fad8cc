"""ExecuTorch programs: one XNNPACK delegate, or portable kernels in a small arena."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from edgehff.errors import CheckFailed
from edgehff.export import metadata
from edgehff.export.program import LOG2_STEPS, Program, ProgramLayer, cell_size, cell_sums, program_of
from edgehff.geometry import LayerShape
from edgehff.model.exact import Z_LIMIT
from edgehff.model.float_network import FloatNetwork
from edgehff.model.network import Network

BACKENDS = ("xnnpack", "portable")
INPUT_DTYPE = "float32"
ROUNDING = 1.5 * 2**23
"""Added to a small float32 and taken off again, it leaves the nearest integer, halves to the even one;
XNNPACK has no operator that rounds so."""

_KNOWN_WARNINGS = (
    r".*is experimental and subject to change.*",
    r".*isinstance\(treespec, LeafSpec\).*",
)
_NATIVE_LOG = re.compile(r"\[\w+\.cpp:\d+\]")


@dataclass(frozen=True)
class Built:
    """A program and what lowering told of it.

    arena_bytes: planned memory of inputs, outputs and activations; a delegate's own is not in it.
    delegates: subgraphs that the backend took.  operators: those that the runtime's own kernels
    run, with their numbers; none beside a delegate that took the whole graph.
    """

    data: bytes
    arena_bytes: int
    delegates: int
    operators: dict[str, int]


def build(network: Network | FloatNetwork, backend: str = "xnnpack", max_batch: int = 1) -> Built:
    """The network's inference as an ExecuTorch program.

    Method `forward` takes (batch, *sample_shape), float32, 1 <= batch <= max_batch, and returns
    similarity (batch, n_classes) and that of each layer. Method `edgehff_metadata` returns the JSON document.

    Raises:
        CheckFailed: XNNPACK left an operator, or took the graph in more than one part.
    """
    program = program_of(network)
    target = {
        "target": "executorch", "backend": backend, "input_dtype": INPUT_DTYPE, "max_batch": max_batch,
        "torch": torch.__version__.split("+")[0],
    }  # fmt: skip
    document = metadata.metadata_of(network, program, target)
    example = torch.zeros(max_batch, *program.sample_shape)
    module = InferenceModule(program).eval()
    return lowered(module, (example,), backend, max_batch, metadata.to_text(document))


class InferenceModule(nn.Module):
    """A Program in torch, in operators that XNNPACK takes as one subgraph.

    x: (batch, *sample_shape), float32. Returns what Program.output_names says, (batch, n_classes) each.
    """

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program
        self.n_layers = len(program.layers)
        for i, layer in enumerate(program.layers):
            self._add_layer(i, layer)
        if program.n_per_class > 1:
            n = len(program.class_names)
            mean = np.kron(np.eye(n), np.full((1, program.n_per_class), 1 / program.n_per_class))
            self._add("class_mean", mean)
        self.has_offset = program.standardization is not None
        if program.standardization is not None:
            offset, gain = program.standardization
            self._add("offset", offset[None])
            self._add("gain", gain[None])
        e = program.encoding
        if e.features:
            length = e.shape[0] // e.segments
            self._add("segment_ones", np.ones((1, 1, length, 1)))
            self._add("window_ones", np.ones((1, 1, max(1, e.shape[0] - 1), 1)))
            self._add("step", np.array([-1.0, 1.0]).reshape(1, 1, 2, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Similarities, joined and of each layer."""
        x = self.as_map(self.encode(x))
        total, each = None, []
        for i, layer in enumerate(self.program.layers):
            x, u = self.outputs(i, x)
            similarity = self.similarity(i, u)
            each.append(similarity)
            if layer.share or (total is None and i + 1 == self.n_layers):
                part = similarity * layer.share
                total = part if total is None else total + part
        assert total is not None
        return (total, *each)

    def as_map(self, x: Tensor) -> Tensor:
        """Values in the order (height, width, channels) as a map of (channels, height, width)."""
        if not self.program.maps:
            return x
        if self.program.constant_channel is not None:
            value, parts = self.program.constant_channel
            x = functional.pad(x.reshape(-1, parts, x.shape[1] // parts), (0, 1), value=value)
        return x.reshape(-1, *self.program.maps[0]).permute(0, 3, 1, 2)

    def outputs(self, i: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the next layer takes, and the layer's direction u."""
        layer = self.program.layers[i]
        if layer.shape.conv is not None:
            y = self._pooled(layer.shape, self._convolved(i, layer.shape, x))
            return y, self.direction(i, self._flat(self._cells(i, layer.shape, y), layer.shape.head))
        if x.dim() > 2:  # behind a convolution
            x = self._flat(x, layer.shape.n_in)
        y = functional.relu(functional.linear(x, self._get(f"weight_{i}"), getattr(self, f"bias_{i}", None)))
        u = self.direction(i, y)
        return u, u

    def direction(self, i: int, y: Tensor) -> Tensor:
        """The features brought to length 1."""
        squares = functional.linear(y * y, self._get(f"ones_{i}"))
        return y * torch.rsqrt(squares + self.program.eps)

    def similarity(self, i: int, u: Tensor) -> Tensor:
        """The layer's class similarities; cosines need no maximum taken off before exp."""
        cosine = functional.linear(u, self._get(f"prototypes_{i}"))
        if self.program.n_per_class == 1:
            return cosine
        scale = self.program.scale
        return torch.log(functional.linear(torch.exp(cosine * scale), self._get("class_mean"))) * (1 / scale)

    def encode(self, x: Tensor) -> Tensor:
        """Raw samples to z."""
        e = self.program.encoding
        if e.input_scale is not None:
            x = torch.clamp(x * e.input_scale, -32768.0, 32767.0)
            x = (x + ROUNDING) - ROUNDING
        if e.features:
            x = self._window(x)
        elif e.log:
            x = (torch.log(functional.relu(x) + 1.0) - torch.log(functional.relu(-x) + 1.0)) * LOG2_STEPS
        if self.has_offset:
            x = torch.clamp((x - self._get("offset")) * self._get("gain"), -Z_LIMIT, Z_LIMIT)
        return x

    def _flat(self, x: Tensor, width: int) -> Tensor:
        """A map as (batch, width), copied first: XNNPACK leaves a reshape of what lies in another order."""
        return x.contiguous().reshape(-1, width)

    def _convolved(self, i: int, shape: LayerShape, x: Tensor) -> Tensor:
        conv = shape.conv
        assert conv is not None
        groups = conv.channels if conv.kind == "depthwise" else 1
        weight = self._get(f"weight_{i}")
        return functional.relu(
            functional.conv2d(x, weight, stride=conv.stride, padding=conv.padding, groups=groups)
        )

    def _pooled(self, shape: LayerShape, y: Tensor) -> Tensor:
        """Windows that do not overlap; a mean's own divisor has no meaning here."""
        assert shape.conv is not None
        if shape.conv.pool == "max":
            return functional.max_pool2d(y, shape.conv.pool_size)
        return functional.avg_pool2d(y, shape.conv.pool_size) if shape.conv.pool == "mean" else y

    def _cells(self, i: int, shape: LayerShape, y: Tensor) -> Tensor:
        """The map over its grid: (batch, channels, grid's height, width), sums times one factor."""
        assert shape.conv is not None
        assert shape.map_out is not None
        if shape.map_out[:2] == shape.conv.grid:
            return y
        size = cell_size(shape)
        if size is not None:
            return functional.avg_pool2d(y, size)
        # contiguous: or portable kernels copy the matrix for every channel
        wide = functional.linear(y.contiguous(), self._get(f"columns_{i}"))
        turned = wide.transpose(2, 3).contiguous()
        return functional.linear(turned, self._get(f"rows_{i}")).transpose(2, 3)

    def _window(self, x: Tensor) -> Tensor:
        e = self.program.encoding
        (n_time, width), length = e.shape, e.shape[0] // e.segments
        x = x.reshape(-1, 1, n_time, width)
        parts = []
        if "mav" in e.features:
            total = functional.conv2d(torch.abs(x), self._get("segment_ones"), stride=(length, 1))
            parts.append(self._scaled(total, length, e.segments * width))
        if "rms" in e.features:
            total = functional.conv2d(x * x, self._get("segment_ones"), stride=(length, 1))
            root = torch.sqrt(total * float(256 * length))
            parts.append(self._scaled(root, 16 * length, e.segments * width))
        if "wl" in e.features:
            steps = torch.abs(functional.conv2d(x, self._get("step")))
            parts.append(self._scaled(functional.conv2d(steps, self._get("window_ones")), n_time, width))
        return torch.cat(parts, 1) if len(parts) > 1 else parts[0]

    def _scaled(self, total: Tensor, unit: int, width: int) -> Tensor:
        flat = total.reshape(-1, width)
        return torch.log(flat + float(unit)) * LOG2_STEPS if self.program.encoding.log else flat

    def _add_layer(self, i: int, layer: ProgramLayer) -> None:
        self._add(f"weight_{i}", layer.weight.astype(np.float64) * layer.weight_scale)
        if layer.bias is not None:
            self._add(f"bias_{i}", layer.bias)
        self._add(f"prototypes_{i}", layer.prototypes * layer.prototype_scales[:, None])
        self._add(f"ones_{i}", np.ones((1, layer.shape.head)))
        if layer.shape.conv is not None and cell_size(layer.shape) is None:
            rows, columns = cell_sums(layer.shape)
            self._add(f"rows_{i}", rows)
            self._add(f"columns_{i}", columns)

    def _add(self, name: str, value: NDArray[Any]) -> None:
        self.register_buffer(name, torch.from_numpy(np.array(value, dtype=np.float32, order="C")))

    def _get(self, name: str) -> Tensor:
        value: Tensor = getattr(self, name)
        return value


def lowered(
    module: nn.Module, examples: tuple[Any, ...], backend: str, max_batch: int, document: str
) -> Built:
    """A module as a program.  examples: its inputs, tensors or lists of them, max_batch rows each.

    Raises:
        CheckFailed: XNNPACK left an operator, or took the graph in more than one part.
    """
    with quiet():
        built = _lower(module, examples, backend, max_batch, document)
    if backend == "xnnpack" and (built.delegates != 1 or built.operators):
        left = ", ".join(f"{n} {name}" for name, n in built.operators.items()) or "none"
        raise CheckFailed(
            f"XNNPACK took the graph in {built.delegates} parts and left these operators: {left}",
            hint="edgehff export --target executorch --backend portable, and please report this model",
        )
    return built


def _lower(
    module: nn.Module, examples: tuple[Any, ...], backend: str, max_batch: int, document: str
) -> Built:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import ExecutorchBackendConfig, to_edge_transform_and_lower
    from torch.utils._pytree import tree_map

    dynamic = None
    if max_batch > 1:
        batch = torch.export.Dim("batch", min=1, max=max_batch)
        dynamic = tree_map(lambda _: {0: batch}, examples)
    exported = torch.export.export(module, examples, dynamic_shapes=dynamic, strict=False)
    edge = to_edge_transform_and_lower(
        exported,
        partitioner=[XnnpackPartitioner()] if backend == "xnnpack" else [],
        constant_methods={metadata.METHOD: document},
    )
    # without constant propagation portable kernels transpose each matrix in the arena, at every run
    done = edge.to_executorch(ExecutorchBackendConfig(do_quant_fusion_and_const_prop=True))
    return Built(bytes(done.buffer), *_plan(done.executorch_program))


def plan_of(data: bytes) -> Built:
    """What a program file says of its method `forward`, read without running it.

    Raises:
        Exception: of executorch's reader, where the bytes are no program.
    """
    with quiet():
        from executorch.exir._serialize._program import deserialize_pte_binary

        read: Any = deserialize_pte_binary(data)
    return Built(data, *_plan(getattr(read, "program", read)))


def _plan(program: Any) -> tuple[int, int, dict[str, int]]:
    plan = next(plan for plan in program.execution_plan if plan.name == "forward")
    left: dict[str, int] = {}
    for chain in plan.chains:
        for instruction in chain.instructions:
            index = getattr(instruction.instr_args, "op_index", None)
            if index is not None:
                name = f"{plan.operators[index].name}.{plan.operators[index].overload}".rstrip(".")
                left[name] = left.get(name, 0) + 1
    return int(sum(plan.non_const_buffer_sizes)), len(plan.delegates), left


@contextmanager
def quiet() -> Iterator[None]:
    """Without the messages that are known to mean nothing; whatever else is said is said.

    Warnings by text, two loggers, and the log that native code writes to the file descriptor of stderr: what
    matters of it comes as an exception.
    """
    loggers = [logging.getLogger(name) for name in ("torchao", "torch.utils._pytree")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), _filtered_stderr():
        warnings.simplefilter("ignore", DeprecationWarning)  # of others' code: nothing of ours runs in here
        for message in _KNOWN_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def _filtered_stderr() -> Iterator[None]:
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as lines:
        os.dup2(lines.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            lines.seek(0)
            for line in lines.read().decode(errors="replace").splitlines():
                if not _NATIVE_LOG.match(line):
                    sys.stderr.write(f"{line}\n")
