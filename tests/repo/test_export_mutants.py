"""Exporters broken in one line each: parity with the core sees every one of them, and none survives."""
# ruff: noqa: E501 (a mutant a line)

import sys
import types
from pathlib import Path
from typing import NamedTuple

import export_models as models
import pytest

import edgehff.export
from edgehff.export import program
from edgehff.export.forms import FORMS

FOLDER = Path(edgehff.export.__file__).parent
PACKAGES = {"onnx": "onnxruntime", "executorch": "executorch"}


class Mutant(NamedTuple):
    """One change: in file, the text old, which stands there once, becomes new. model: what shows it.

    form: of an exported file; those of program.py are seen in ONNX.
    """

    name: str
    file: str
    old: str
    new: str
    model: str
    form: str = "onnx"
    max_batch: int = 1


def onnx(name, old, new, model):
    return Mutant(name, "onnx", old, new, model)


def xnnpack(name, old, new, model):
    return Mutant(name, "executorch", old, new, model, "executorch")


def portable(name, old, new, model):
    return Mutant(name, "executorch", old, new, model, "executorch-portable")


def common(name, old, new, model):
    return Mutant(name, "program", old, new, model)


MUTANTS = (
    onnx("norm dropped", 'g.node("Div", [y, norm]', 'g.node("Identity", [y]', "plain"),
    onnx("relu dropped", 'i, g.node("Relu", [y]', 'i, g.node("Identity", [y]', "plain"),
    onnx("eps dropped", 'g.node("Sqrt", [raised]', 'g.node("Sqrt", [total]', "plain"),
    onnx("absolute value for relu", 'i, g.node("Relu", [y]', 'i, g.node("Abs", [y]', "plain"),
    onnx("norm of absolute values", 'g.node("Mul", [y, y]', 'g.node("Abs", [y]', "plain"),
    onnx("layers swapped", "_outputs(g, program, layer,", "_outputs(g, program, program.layers[-i],", "equal"),
    onnx("prototypes of another layer", "_similarity(g, program, layer,", "_similarity(g, program, program.layers[-1 - i],", "equal"),
    onnx("class order reversed", "layer.prototypes.T", "layer.prototypes[::-1].T", "plain"),
    onnx("two classes swapped", "layer.prototypes.T", "layer.prototypes[[1, 0, *range(2, len(layer.prototypes))]].T", "plain"),
    onnx("prototypes by number, not by class", "layer.prototypes.T", "layer.prototypes.reshape(-1, program.n_per_class, layer.prototypes.shape[1]).swapaxes(0, 1).reshape(layer.prototypes.shape).T", "k3"),
    onnx("scales of int8 prototypes averaged", "layer.prototype_scales[None]", "layer.prototype_scales.mean(keepdims=True)[None]", "small"),
    onnx("wrong scale within the mean of exponentials", 'g.constant("scale", program.scale)', 'g.constant("scale", program.scale * 1.1)', "k3"),
    onnx("wrong scale outside of it", "1 / program.scale", "1 / (program.scale + 1)", "k3"),
    onnx("sum of exponentials, not their mean", "float(np.log(program.n_per_class) / program.scale)", "0.0", "k3"),
    onnx("largest prototype, not their mean", '"ReduceLogSumExp"', '"ReduceMax"', "k3"),
    onnx("shares dropped", 'g.constant(f"share_{i}", layer.share)', 'g.constant(f"share_{i}", 1.0)', "weighted"),
    onnx("shares reversed", 'g.constant(f"share_{i}", layer.share)', 'g.constant(f"share_{i}", program.layers[-1 - i].share)', "weighted"),
    onnx("shares equal", 'g.constant(f"share_{i}", layer.share)', 'g.constant(f"share_{i}", 0.5)', "weighted"),
    onnx("layers that count left out", "if layer.share == 0:", "if layer.share != 0:", "last"),
    onnx("bias dropped", "if layer.bias is not None:", "if False:", "bias"),
    onnx("offset dropped", 'g.node("Sub", [f, g.constant("offset", offset)]', 'g.node("Identity", [f]', "bias"),
    onnx("offset added", 'g.node("Sub", [f,', 'g.node("Add", [f,', "bias"),
    onnx("one gain for all", 'g.constant("gain", gain)', 'g.constant("gain", gain.mean(keepdims=True))', "bias"),
    onnx("clip of features dropped", 'g.constant("z_high", Z_LIMIT)', 'g.constant("z_high", 9 * Z_LIMIT)', "bias"),
    onnx("clip of float samples dropped", 'g.constant("raw_high", 32767.0)', 'g.constant("raw_high", 327670.0)', "floats"),
    onnx("float samples not rounded", 'g.node("Round", [scaled]', 'g.node("Identity", [scaled]', "ticks"),
    onnx("wrong input scale", "float(e.input_scale)", "float(e.input_scale / 2)", "floats"),
    onnx("sign of a logarithm dropped", 'g.node("Mul", [sign,', 'g.node("Mul", [g.constant("one", 1.0),', "logs"),
    onnx("natural logarithm", 'g.constant("log2_steps", LOG2_STEPS)', 'g.constant("log2_steps", 65536.0)', "windows"),
    onnx("logarithm without its unit", 'g.constant(f"{name}_unit", float(unit))', 'g.constant(f"{name}_unit", 1.0)', "windows"),
    onnx("mav and rms swapped", 'if name == "mav" else', 'if name == "rms" else', "windows"),
    onnx("features in another order", 'for name in ("mav", "rms", "wl"):', 'for name in ("wl", "rms", "mav"):', "windows"),
    onnx("channel before segment", "[total, flat]", '[g.node("Transpose", [total], f"{name}_turned", perm=[0, 2, 1]) if axis == 2 else total, flat]', "windows"),
    onnx("waveform length without abs", 'each = g.node("Abs", [', 'each = g.node("Identity", [', "windows"),
    onnx("waveform length of no steps", '"early", 0, n_time - 1)', '"early", 1, n_time)', "windows"),
    onnx("maps as channels first", 'g.node("Transpose", [cut], "map", perm=[0, 3, 1, 2])', 'g.node("Reshape", [x, g.constant("first", np.array([0, channels, height, width]))], "map")', "signals"),
    onnx("map on its side", 'g.node("Transpose", [cut], "map", perm=[0, 3, 1, 2])', 'g.node("Transpose", [cut], "map", perm=[0, 3, 2, 1])', "maps"),
    onnx("constant channel dropped", 'g.constant("constant_channel", value)', 'g.constant("constant_channel", 0.0)', "mixed"),
    onnx("constant channel first", "np.array([0, 0, 0, 0, 0, 1])", "np.array([0, 0, 1, 0, 0, 0])", "mixed"),
    onnx("padding at the ends alone", "pads=[*conv.padding, *conv.padding]", "pads=[0, 0, *(2 * p for p in conv.padding)]", "depthwise"),
    onnx("padding of signals at the start alone", "pads=[*conv.padding, *conv.padding]", "pads=[*(2 * p for p in conv.padding), 0, 0]", "signals"),
    onnx("relu of convolutions dropped", 'return g.node("Relu", [y]', 'return g.node("Identity", [y]', "maps"),
    onnx("mean for max", '"max": "MaxPool"', '"max": "AveragePool"', "maps"),
    onnx("max for mean", '"mean": "AveragePool"', '"mean": "MaxPool"', "signals"),
    onnx("largest of a cell, not the sum", '"AveragePool", [y], f"cells_', '"MaxPool", [y], f"cells_', "signals"),
    onnx("cells of rows shifted", 'g.constant(f"rows_{i}", rows)', 'g.constant(f"rows_{i}", rows[::-1, ::-1])', "maps"),
    onnx("cells of columns in reverse", 'g.constant(f"columns_{i}", columns.T)', 'g.constant(f"columns_{i}", columns[::-1].T)', "maps"),
    xnnpack("norm dropped", "return y * torch.rsqrt(squares + self.program.eps)", "return y", "plain"),
    xnnpack("eps dropped", "squares + self.program.eps", "squares", "plain"),
    xnnpack("relu dropped", "y = functional.relu(functional.linear(", "y = (functional.linear(", "plain"),
    xnnpack("relu of convolutions dropped", "return functional.relu(\n            functional.conv2d(", "return (\n            functional.conv2d(", "mixed"),
    xnnpack("mean for max", "functional.max_pool2d(y,", "functional.avg_pool2d(y,", "maps"),
    xnnpack("columns before rows", 'self._get(f"rows_{i}")).transpose(2, 3)', 'self._get(f"rows_{i}"))', "maps"),
    xnnpack("constant channel dropped", "(0, 1), value=value)", "(0, 1), value=0.0)", "mixed"),
    xnnpack("bias dropped", 'getattr(self, f"bias_{i}", None)', "None", "bias"),
    xnnpack("sum of exponentials, not their mean", "1 / program.n_per_class", "1.0", "k3"),
    xnnpack("wrong scale in the mean of exponentials", "torch.exp(cosine * scale)", "torch.exp(cosine * 1.1 * scale)", "k3"),
    xnnpack("offset dropped", '(x - self._get("offset"))', "x", "bias"),
    xnnpack("clip of features dropped", ", -Z_LIMIT, Z_LIMIT)", ", -9 * Z_LIMIT, 9 * Z_LIMIT)", "bias"),
    portable("max for mean", "return functional.avg_pool2d(y, shape.conv.pool_size)", "return functional.max_pool2d(y, shape.conv.pool_size)", "signals"),
    portable("largest of a cell, not the sum", "return functional.avg_pool2d(y, size)", "return functional.max_pool2d(y, size)", "signals"),
    portable("maps as channels first", "return x.reshape(-1, *self.program.maps[0]).permute(0, 3, 1, 2)", "return x.reshape(-1, self.program.maps[0][2], *self.program.maps[0][:2])", "signals"),
    portable("groups in another order", "functional.conv2d(x, weight,", "functional.conv2d(x, weight.flip(0) if groups > 1 else weight,", "depthwise"),
    portable("shares dropped", "similarity * layer.share", "similarity", "weighted"),
    portable("prototypes of another layer", 'functional.linear(u, self._get(f"prototypes_{i}"))', 'functional.linear(u, self._get(f"prototypes_{self.n_layers - 1 - i}"))', "equal"),
    portable("scales of int8 prototypes averaged", "layer.prototype_scales[:, None]", "layer.prototype_scales.mean()", "small"),
    portable("float samples not rounded", "(x + ROUNDING) - ROUNDING", "x * 1.0", "ticks"),
    portable("clip of float samples dropped", "-32768.0, 32767.0", "-327680.0, 327670.0", "floats"),
    portable("sign of a logarithm dropped", "functional.relu(-x)", "functional.relu(x - x)", "logs"),
    portable("wave length of sums", "np.array([-1.0, 1.0])", "np.array([1.0, 1.0])", "windows"),
    portable("logarithm without its unit", "flat + float(unit)", "flat + 1.0", "windows"),
    Mutant("metadata of a larger batch", "executorch", '"max_batch": max_batch,', '"max_batch": max_batch + 1,', "plain", "executorch-portable", 4),
    common("map in the core's order before a dense layer", "weight = _channels_first(weight, map_in)", "weight = weight + 0", "mixed"),
    common("prototypes in the core's order", "rows = _channels_first(rows, (*shape.conv.grid, shape.n_out))", "rows = rows + 0", "maps"),
    common("kernels turned round", "= cut.transpose(0, 3, 1, 2)", "= cut.transpose(0, 3, 1, 2)[:, :, ::-1, ::-1]", "depthwise"),
    common("channels of a kernel in reverse", "= cut.transpose(0, 3, 1, 2)", "= cut.transpose(0, 3, 1, 2)[:, ::-1]", "signals"),
    common("kernels of depthwise in reverse", "= cut.transpose(0, 3, 1, 2)", '= cut.transpose(0, 3, 1, 2)[:: -1 if shape.conv.kind == "depthwise" else 1]', "depthwise"),
    common("cells rounded to the nearest", "np.arange(n) * cells // n for", "(np.arange(n) * cells + cells // 2) // n for", "maps"),
    common("one constant for all parts", "cut[:, :, -1].astype(np.float64).sum(axis=1)", "cut[:, -1, -1].astype(np.float64)", "parts"),
    common("int16 view not rounded", "(weight.astype(np.int32) + 128) >> 8", "weight.astype(np.int32) >> 8", "plain"),
    common("bias without its value", "(scale * network.encoding.bias)", "scale", "bias"),
    common("bias taken from the first column", "weight = cut[:, :, :-1]", "weight = cut[:, :, 1:]", "bias"),
    common("shares reversed", "join_shares(recipe)", "join_shares(recipe)[::-1]", "weighted"),
    common("scales of int8 prototypes dropped", "scales *= layer.prototype_scales", "scales *= 100 + 0 * layer.prototype_scales", "small"),
    common("gain shifted", "2.0**e.gain_shift", "2.0 ** (e.gain_shift + 1)", "bias"),
    common("logarithm of another base", "LOG2_ONE / math.log(2)", "LOG2_ONE / math.log(2.1)", "windows"),
    common("scale of the mean of exponentials", "recipe.scale", "recipe.scale + 1", "k3"),
)  # fmt: skip
BASES = sorted({(m.model, m.form, m.max_batch) for m in MUTANTS})


@pytest.fixture
def apply(monkeypatch):
    """Put a mutant in the place of its module; nothing is written anywhere."""

    def put(mutant):
        source = (FOLDER / f"{mutant.file}.py").read_text(encoding="utf-8")
        assert source.count(mutant.old) == 1, mutant
        name = f"edgehff.export.{mutant.file}"
        module = types.ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)  # dataclasses look there
        exec(compile(source.replace(mutant.old, mutant.new), name, "exec"), vars(module))  # noqa: S102
        if mutant.file == "program":
            from edgehff.export import onnx as user  # noqa: PLC0415 (needs onnx)

            for public in ("program_of", "LOG2_STEPS", "cell_size", "cell_sums"):
                monkeypatch.setattr(user, public, getattr(module, public))
            monkeypatch.setitem(sys.modules, name, program)
        else:
            monkeypatch.setattr(edgehff.export, mutant.file, module, raising=False)

    return put


def needs(form):
    target = FORMS[form].target
    pytest.importorskip(PACKAGES[target])


def marked(cases, form_of):
    return [pytest.param(*case, marks=getattr(pytest.mark, FORMS[form_of(case)].target)) for case in cases]


@pytest.mark.parametrize(("name", "form", "max_batch"), marked(BASES, lambda case: case[1]))
def test_without_a_mutant_there_is_parity(name, form, max_batch):
    needs(form)
    parity = models.parity(name, form, max_batch)
    assert parity.passed, parity


@pytest.mark.parametrize(
    "mutant",
    marked([(m,) for m in MUTANTS], lambda case: case[0].form),
    ids=lambda m: f"{m.file}: {m.name}",
)
def test_no_mutant_survives(apply, mutant):
    needs(mutant.form)
    apply(mutant)
    exported = FORMS[mutant.form].build(models.model(mutant.model), mutant.max_batch)
    parity = models.proof(mutant.model).check_built(exported)
    assert not parity.passed, parity
    assert parity.reason
    # it ran, and its numbers are what is wrong; only a batch that is none cannot run
    assert bool(parity.layer_diffs) == ("max_batch" not in mutant.old), parity


def test_there_are_mutants_of_every_exporter():
    counts = {file: sum(m.file == file for m in MUTANTS) for file in ("onnx", "executorch", "program")}
    assert counts["onnx"] >= 20
    assert counts["executorch"] >= 10
    assert counts["program"] >= 5
    assert len({(m.file, m.old, m.new, m.model) for m in MUTANTS}) == len(MUTANTS)
