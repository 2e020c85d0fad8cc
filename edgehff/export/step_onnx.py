"""One step of a spiking network in ONNX: standard operators, any batch size, no torch."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgehff.export import metadata
from edgehff.export.onnx import IR_VERSION, OPSET, Graph
from edgehff.export.step import StepLayer, StepProgram, step_of
from edgehff.model.spiking_network import SpikingNetwork


def build(network: SpikingNetwork) -> onnx.ModelProto:
    """The network's step as an ONNX model, checked by onnx.checker in full.

    Inputs and outputs: those of StepProgram, (batch, width), float32. Weights and prototypes stand in the
    file in their own width.

    Raises:
        RecipeError: float32 does not hold the membranes; names the layer.
    """
    program = step_of(network)
    graph = Graph()
    _layers(graph, program)
    document = program.document({"target": "onnx", "backend": None, "opset": OPSET, "max_batch": None})
    inputs, outputs = (
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, ["batch", width]) for k, width in values.items()]
        for values in (program.inputs, program.outputs)
    )
    model = helper.make_model(
        helper.make_graph(graph.nodes, "edgehff_step", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="edgehff",
        producer_version=document["edgehff_version"],
        doc_string="One step of a spiking network; metadata_props say the classes and the code.",
    )
    texts = {"class_names": ",".join(network.class_names), "format": document["format"]}
    helper.set_model_props(model, {metadata.KEY: metadata.to_text(document), **texts})
    onnx.checker.check_model(model, full_check=True)
    return model


def _layers(g: Graph, program: StepProgram) -> None:
    seen, total = "x", ""
    for i, layer in enumerate(program.layers):
        spikes = _neurons(g, program, i, _current(g, layer, i, seen))
        seen, head = _pooled(g, layer, i, spikes)
        count = g.node("Add", [f"count_{i}", head], f"new_count_{i}")
        if layer.share == 0:
            continue
        similarity = _similarity(g, program, i, count)
        part = g.node("Mul", [similarity, g.constant(f"share_{i}", layer.share)], f"part_{i}")
        total = part if not total else g.node("Add", [total, part], f"total_{i}")
    g.node("Identity", [total], "similarity")


def _current(g: Graph, layer: StepLayer, i: int, x: str) -> str:
    """What flows into the neurons, (batch, neurons)."""
    one, conv, map_in = np.array(1, np.float32), layer.shape.conv, layer.shape.map_in
    if conv is None or map_in is None:
        weight = g.matrix(f"weight_{i}", np.ascontiguousarray(layer.weight.T), one)
        return g.node("MatMul", [x, weight], f"current_{i}")
    last = g.node("Reshape", [x, g.constant(f"map_{i}_shape", np.array([0, *map_in]))], f"map_{i}_last")
    y = g.node(
        "Conv",
        [
            g.node("Transpose", [last], f"map_{i}", perm=[0, 3, 1, 2]),
            g.matrix(f"weight_{i}", layer.weight, one),
        ],
        f"current_{i}_map",
        kernel_shape=conv.kernel,
        strides=conv.stride,
        pads=[*conv.padding, *conv.padding],
        group=conv.channels if conv.kind == "depthwise" else 1,
    )
    if layer.computed != conv.before_pooling(*map_in[:2]):
        ends = {"start": (0, 0), "end": layer.computed, "axes": (2, 3)}
        cut = [g.constant(f"computed_{i}_{name}", np.array(values)) for name, values in ends.items()]
        y = g.node("Slice", [y, *cut], f"current_{i}_computed")
    (high, wide), (rows, columns) = conv.pool_size, layer.computed
    by_window = np.array([0, layer.shape.n_out, rows // high, high, columns // wide, wide])
    y = g.node("Reshape", [y, g.constant(f"windows_{i}_shape", by_window)], f"current_{i}_windows")
    y = g.node("Transpose", [y], f"current_{i}_last", perm=[0, 2, 4, 3, 5, 1])
    return g.node("Reshape", [y, _flat(g)], f"current_{i}")


def _neurons(g: Graph, program: StepProgram, i: int, current: str) -> str:
    """The spikes; the new membranes become an output."""
    kept = f"membrane_{i}"
    if program.beta != 1:
        kept = g.node("Mul", [kept, g.constant("beta", program.beta)], f"kept_{i}")
    u = g.node("Add", [kept, current], f"u_{i}")
    threshold = g.constant(f"threshold_{i}", program.layers[i].threshold)
    fires = g.node("Greater", [u, threshold], f"fires_{i}")
    after = g.constant("zero", 0.0)
    if program.subtracts:
        after = g.node("Sub", [u, threshold], f"rest_{i}")
    g.node("Where", [fires, after, u], f"new_membrane_{i}")
    return g.node("Cast", [fires], f"spikes_{i}", to=TensorProto.FLOAT)


def _pooled(g: Graph, layer: StepLayer, i: int, spikes: str) -> tuple[str, str]:
    """Spikes as the next layer gets them, and summed over the grid as the prototypes see them."""
    conv = layer.shape.conv
    if conv is None:
        return spikes, spikes
    shape = np.array([0, layer.shape.positions, layer.shape.window, layer.shape.n_out])
    windows = g.node("Reshape", [spikes, g.constant(f"spikes_{i}_shape", shape)], f"spikes_{i}_windows")
    kind = "ReduceMax" if conv.pool == "max" else "ReduceSum"
    pooled = g.node(kind, [windows, g.constant("window_axis", np.array([2]))], f"pool_{i}", keepdims=0)
    cells = g.node("MatMul", [g.constant(f"cells_{i}", layer.cells), pooled], f"cells_{i}_sum")
    return g.node("Reshape", [pooled, _flat(g)], f"seen_{i}"), g.node(
        "Reshape", [cells, _flat(g)], f"head_{i}"
    )


def _similarity(g: Graph, program: StepProgram, i: int, count: str) -> str:
    layer = program.layers[i]
    squares = g.node("Mul", [count, count], f"squares_{i}")
    total = g.node("ReduceSum", [squares, g.constant("features_axis", np.array([1]))], f"length_{i}_square")
    length = g.node("Sqrt", [total], f"length_{i}")
    longer = g.node("Add", [length, g.constant("half", program.half)], f"length_{i}_half")
    unit = g.node("Div", [count, longer], f"unit_{i}")
    values = np.ascontiguousarray(layer.prototypes.T)
    cosine = g.node(
        "MatMul", [unit, g.matrix(f"prototypes_{i}", values, layer.prototype_scales[None])], f"cosine_{i}"
    )
    if program.n_per_class == 1:
        return cosine
    shape = np.array([0, len(program.network.class_names), program.n_per_class])
    own = g.node("Reshape", [cosine, g.constant("by_class", shape)], f"cosine_{i}_by_class")
    hot = g.node("Mul", [own, g.constant("scale", program.scale)], f"cosine_{i}_scaled")
    lse = g.node("ReduceLogSumExp", [hot, g.constant("window_axis", np.array([2]))], f"lse_{i}", keepdims=0)
    cold = g.node("Mul", [lse, g.constant("scale_inverse", 1 / program.scale)], f"lse_{i}_cold")
    mean = float(np.log(program.n_per_class) / program.scale)
    return g.node("Sub", [cold, g.constant("log_n_per_class", mean)], f"similarity_{i}")


def _flat(g: Graph) -> str:
    return g.constant("flat", np.array([0, -1]))
