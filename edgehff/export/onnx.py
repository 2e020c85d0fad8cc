"""ONNX, built by hand: opset 18, standard operators, any batch size, no torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgehff.export import metadata
from edgehff.export.program import LOG2_STEPS, Program, ProgramLayer, cell_size, cell_sums, program_of
from edgehff.geometry import LayerShape
from edgehff.model.exact import Z_LIMIT
from edgehff.model.float_network import FloatNetwork
from edgehff.model.network import Network

OPSET, IR_VERSION = 18, 10
INPUT = "samples"
_TYPES = {
    "uint8": TensorProto.UINT8,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "float32": TensorProto.FLOAT,
}


def build(network: Network | FloatNetwork) -> onnx.ModelProto:
    """The network's inference as an ONNX model, checked by onnx.checker in full.

    Input `samples`: (batch, *sample_shape), the encoder's raw dtype, float32 where the encoder takes floats.
    Outputs: `similarity` (batch, n_classes), and `similarity_{i}` of each layer; float32.
    Integer weights and prototypes stand in the file in their own width.
    """
    program = program_of(network)
    dtype = program.encoding.raw if program.encoding.input_scale is None else "float32"
    graph = Graph()
    z = _encoder(graph, program, dtype)
    _layers(graph, program, z)
    document = metadata.metadata_of(
        network, program, {"target": "onnx", "input_dtype": dtype, "opset": OPSET, "max_batch": None}
    )
    batch: list[str | int] = ["batch"]
    inputs = [helper.make_tensor_value_info(INPUT, _TYPES[dtype], [*batch, *program.sample_shape])]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [*batch, len(program.class_names)])
        for name in program.output_names
    ]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "edgehff", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="edgehff",
        producer_version=document["edgehff_version"],
        doc_string="Single-pass HFF inference; metadata_props say the classes and the encoder.",
    )
    helper.set_model_props(
        model,
        {
            metadata.KEY: metadata.to_text(document),
            "class_names": ",".join(network.class_names),
            "norm": document["norm"],
            "format": document["format"],
        },
    )
    onnx.checker.check_model(model, full_check=True)
    return model


class Graph:
    """Nodes and constants as they are added; a value is its name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._names: set[str] = set()

    def constant(self, name: str, value: NDArray[Any] | float) -> str:
        """An array that stands in the file; the first of a name stays."""
        array = np.asarray(value, np.float32) if isinstance(value, float) else value
        if name not in self._names:
            self._names.add(name)
            self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """An operator with one output."""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def matrix(self, name: str, values: NDArray[Any], scales: NDArray[np.float32]) -> str:
        """A float32 matrix of a constant in its own width; runtimes fold the two nodes when they load."""
        stored = self.constant(name, values)
        if values.dtype == np.float32:
            return stored
        wide = self.node("Cast", [stored], f"{name}_float", to=TensorProto.FLOAT)
        return self.node("Mul", [wide, self.constant(f"{name}_scale", scales)], f"{name}_scaled")


def _encoder(g: Graph, program: Program, dtype: str) -> str:
    e = program.encoding
    x = INPUT if dtype == "float32" else g.node("Cast", [INPUT], "raw", to=TensorProto.FLOAT)
    if e.input_scale is not None:
        scaled = g.node("Mul", [x, g.constant("input_scale", float(e.input_scale))], "raw_scaled")
        rounded = g.node("Round", [scaled], "raw_rounded")
        x = g.node("Clip", [rounded, g.constant("raw_low", -32768.0), g.constant("raw_high", 32767.0)], "raw")
    f = _window(g, program, x) if e.features else _plain(g, program, x)
    standardization = program.standardization
    if standardization is None:
        return f
    offset, gain = standardization
    centered = g.node("Sub", [f, g.constant("offset", offset)], "centered")
    scaled = g.node("Mul", [centered, g.constant("gain", gain)], "standardized")
    return g.node("Clip", [scaled, g.constant("z_low", -Z_LIMIT), g.constant("z_high", Z_LIMIT)], "z")


def _plain(g: Graph, program: Program, x: str) -> str:
    if not program.encoding.log:
        return x
    sign = g.node("Sign", [x], "raw_sign")
    size = g.node("Abs", [x], "raw_size")
    return g.node("Mul", [sign, _log2(g, size, 1, "raw")], "features")


def _window(g: Graph, program: Program, x: str) -> str:
    e = program.encoding
    (n_time, width), length = e.shape, e.shape[0] // e.segments
    split = g.constant("split", np.array([0, e.segments, length, width], np.int64))
    flat = g.constant("flat", np.array([0, -1], np.int64))
    parts = []
    for name in ("mav", "rms", "wl"):
        if name not in e.features:
            continue
        if name == "wl":
            late = g.node("Slice", [x, *_range(g, "late", 1, n_time)], "wl_late")
            early = g.node("Slice", [x, *_range(g, "early", 0, n_time - 1)], "wl_early")
            each = g.node("Abs", [g.node("Sub", [late, early], "wl_step")], "wl_size")
            axis, unit = 1, n_time
        else:
            cut = g.node("Reshape", [x, split], f"{name}_cut")
            each = (
                g.node("Abs", [cut], "mav_size") if name == "mav" else g.node("Mul", [cut, cut], "rms_square")
            )
            axis, unit = 2, length
        axes = g.constant(f"axis_{axis}", np.array([axis], np.int64))
        total = g.node("ReduceSum", [each, axes], f"{name}_sum", keepdims=0)
        if name == "rms":
            unit = 16 * length
            times = g.node("Mul", [total, g.constant("rms_factor", float(256 * length))], "rms_scaled")
            total = g.node("Sqrt", [times], "rms_root")
        flattened = g.node("Reshape", [total, flat], f"{name}_flat")
        parts.append(_log2(g, flattened, unit, name) if e.log else flattened)
    return g.node("Concat", parts, "features", axis=1)


def _range(g: Graph, name: str, start: int, stop: int) -> list[str]:
    ends = {"start": start, "stop": stop, "axis": 1}
    return [g.constant(f"wl_{name}_{key}", np.array([v], np.int64)) for key, v in ends.items()]


def _log2(g: Graph, size: str, unit: int, name: str) -> str:
    """log2(size + unit) in Q16, the core's."""
    moved = g.node("Add", [size, g.constant(f"{name}_unit", float(unit))], f"{name}_moved")
    logarithm = g.node("Log", [moved], f"{name}_log")
    return g.node("Mul", [logarithm, g.constant("log2_steps", LOG2_STEPS)], f"{name}_log2")


def _layers(g: Graph, program: Program, x: str) -> None:
    total = ""
    x = _as_map(g, program, x)
    for i, layer in enumerate(program.layers):
        x, u = _outputs(g, program, layer, i, x)
        similarity = _similarity(g, program, layer, i, u)
        if layer.share == 0:
            continue
        part = g.node("Mul", [similarity, g.constant(f"share_{i}", layer.share)], f"part_{i}")
        total = part if not total else g.node("Add", [total, part], f"total_{i}")
    if not total:
        total = g.node("Mul", [similarity, g.constant("share_none", 0.0)], "total_none")
    g.node("Identity", [total], "similarity")


def _as_map(g: Graph, program: Program, x: str) -> str:
    """Values in the order (height, width, channels) as a map of (channels, height, width)."""
    if not program.maps:
        return x
    if program.constant_channel is not None:
        value, parts = program.constant_channel
        cut = g.node("Reshape", [x, g.constant("parts_shape", np.array([0, parts, -1]))], "parts")
        behind = g.constant("behind", np.array([0, 0, 0, 0, 0, 1]))
        x = g.node("Pad", [cut, behind, g.constant("constant_channel", value)], "parts_constant")
    height, width, channels = program.maps[0]
    cut = g.node("Reshape", [x, g.constant("map_shape", np.array([0, height, width, channels]))], "map_last")
    return g.node("Transpose", [cut], "map", perm=[0, 3, 1, 2])


def _outputs(g: Graph, program: Program, layer: ProgramLayer, i: int, x: str) -> tuple[str, str]:
    """What the next layer takes, and the direction that the prototypes see."""
    scale = np.array(layer.weight_scale, np.float32)
    values = layer.weight if layer.weight.dtype == np.int8 else layer.weight * scale
    if layer.shape.conv is not None:
        weight = g.matrix(f"weight_{i}", values, scale)
        y = _pooled(g, layer.shape, i, _convolved(g, layer.shape, i, x, weight))
        f = _cells(g, layer.shape, i, y)
        return y, _direction(g, program, i, g.node("Flatten", [f], f"head_{i}"))
    if i > 0 and program.layers[i - 1].shape.conv is not None:
        x = g.node("Flatten", [x], f"flat_{i}")
    weight = g.matrix(f"weight_{i}", np.ascontiguousarray(values.T), scale)
    y = g.node("MatMul", [x, weight], f"y_{i}")
    if layer.bias is not None:
        y = g.node("Add", [y, g.constant(f"bias_{i}", layer.bias)], f"y_{i}_biased")
    u = _direction(g, program, i, g.node("Relu", [y], f"relu_{i}"))
    return u, u


def _convolved(g: Graph, shape: LayerShape, i: int, x: str, weight: str) -> str:
    conv = shape.conv
    assert conv is not None
    y = g.node(
        "Conv",
        [x, weight],
        f"y_{i}",
        kernel_shape=conv.kernel,
        strides=conv.stride,
        pads=[*conv.padding, *conv.padding],
        group=conv.channels if conv.kind == "depthwise" else 1,
    )
    return g.node("Relu", [y], f"relu_{i}")


def _pooled(g: Graph, shape: LayerShape, i: int, y: str) -> str:
    """Windows that do not overlap; a mean's own divisor has no meaning here."""
    assert shape.conv is not None
    kind = {"none": "", "max": "MaxPool", "mean": "AveragePool"}[shape.conv.pool]
    size = shape.conv.pool_size
    return g.node(kind, [y], f"pool_{i}", kernel_shape=size, strides=size) if kind else y


def _cells(g: Graph, shape: LayerShape, i: int, y: str) -> str:
    """The map over its grid: (n, channels, grid's height, width), sums times one factor."""
    assert shape.conv is not None
    assert shape.map_out is not None
    if shape.map_out[:2] == shape.conv.grid:
        return y
    size = cell_size(shape)
    if size is not None:
        return g.node("AveragePool", [y], f"cells_{i}", kernel_shape=size, strides=size)
    rows, columns = cell_sums(shape)
    high = g.node("MatMul", [g.constant(f"rows_{i}", rows), y], f"row_cells_{i}")
    return g.node("MatMul", [high, g.constant(f"columns_{i}", columns.T)], f"cells_{i}")


def _direction(g: Graph, program: Program, i: int, y: str) -> str:
    squares = g.node("Mul", [y, y], f"squares_{i}")
    total = g.node("ReduceSum", [squares, g.constant("features_axis", np.array([1]))], f"norm_{i}_square")
    raised = g.node("Add", [total, g.constant("eps", program.eps)], f"norm_{i}_eps")
    norm = g.node("Sqrt", [raised], f"norm_{i}")
    return g.node("Div", [y, norm], f"u_{i}")


def _similarity(g: Graph, program: Program, layer: ProgramLayer, i: int, u: str) -> str:
    values = np.ascontiguousarray(layer.prototypes.T)
    prototypes = g.matrix(f"prototypes_{i}", values, layer.prototype_scales[None])
    name = f"similarity_{i}"
    if program.n_per_class == 1:
        return g.node("MatMul", [u, prototypes], name)
    cosine = g.node("MatMul", [u, prototypes], f"cosine_{i}")
    shape = np.array([0, len(program.class_names), program.n_per_class], np.int64)
    own = g.node("Reshape", [cosine, g.constant("by_class", shape)], f"cosine_{i}_by_class")
    hot = g.node("Mul", [own, g.constant("scale", program.scale)], f"cosine_{i}_scaled")
    axis = g.constant("prototype_axis", np.array([2], np.int64))
    total = g.node("ReduceLogSumExp", [hot, axis], f"lse_{i}", keepdims=0)
    cold = g.node("Mul", [total, g.constant("scale_inverse", 1 / program.scale)], f"lse_{i}_cold")
    mean = float(np.log(program.n_per_class) / program.scale)
    return g.node("Sub", [cold, g.constant("log_n_per_class", mean)], name)
