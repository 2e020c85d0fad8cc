"""Recipes: what a network is and how it learns; read from TOML, checked once, turned into integers."""

from __future__ import annotations

import dataclasses
import difflib
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgehff import geometry
from edgehff.errors import RecipeError
from edgehff.geometry import ConvLayer, LayerShape, Map
from edgehff.recipe_check import ARITHS, check, check_choice

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

GATE_OFF = 65535


@dataclass(frozen=True)
class CoreConfig:
    """A network in the integers of the C core; field by field ehff_config of ehff.h."""

    dims: tuple[int, ...]
    n_classes: int
    arith: str = "int16"
    n_per_class: int = 1
    join: str = "sum_logp"
    join_weight: tuple[int, ...] = ()
    cap: bool = True
    revive: bool = True
    proto_bits: int = 16
    kappa: int = 17728
    margin: int = 0
    gate: int = 4915
    lr_w: int = 6554
    lr_p: int = 1638
    seed: int = 1
    conv: tuple[ConvLayer, ...] = ()
    input_shape: Map | tuple[()] = ()

    @property
    def n_layers(self) -> int:
        """Layers of weights: one fewer than dims."""
        return len(self.dims) - 1

    @property
    def shapes(self) -> tuple[LayerShape, ...]:
        """Every layer's sizes. ShapeError where convolutions do not fit."""
        return geometry.shapes(self.dims, self.conv, self.input_shape)


@dataclass(frozen=True)
class EncoderRecipe:
    """How raw samples become unit vectors.

    features: empty for one feature per raw value; else of "mav", "rms", "wl" over a (time, channel) window.
    segments: equal parts of the window, each with its own mav and rms. Without features: of the raw values,
        with the bias behind each; as many as a map has positions make it a constant channel.
    log: take log2 of each feature.  center: subtract each feature's mean over the training rows.
    standardize: besides, divide by its deviation.
    bias: a last feature of this value, in the features' units (4096 is one deviation when standardized).
    """

    features: tuple[str, ...] = ()
    segments: int = 1
    log: bool = False
    center: bool = False
    standardize: bool = False
    bias: int = 0


@dataclass(frozen=True)
class PretrainRecipe:
    """How a float network is trained in torch, before it is quantized; arith = "float" uses these settings.

    optimizer: "adam", or "sgd" with momentum 0.9, one a layer.
    lr: its rate for the weights.  lr_prototypes: for the prototypes.
    lr_final: the last step's rates as a fraction of the first's, falling by a cosine.
    weight_decay: of the weights, decoupled.
    dropout: share of a layer's inputs set to zero while it learns.
    """

    optimizer: str = "adam"
    lr: float = 1e-3
    lr_prototypes: float = 1e-3
    lr_final: float = 0.01
    weight_decay: float = 0.0
    dropout: float = 0.0
    batch_size: int = 128
    epochs: int = 20


@dataclass(frozen=True)
class AugmentRecipe:
    """How encoded maps of input_shape are changed while they are learned from, drawn from the seed.

    flip: half of them are mirrored from left to right.
    warp: they are bent: parts of them move by up to so many pixels or frames, what lies between stretches.
    shift: they are moved by up to so many pixels or frames, zeros coming in.
    cutout: a square of this side (of a signal a stretch), laid anywhere, is set to zero.
    """

    flip: bool = False
    warp: int = 0
    shift: int = 0
    cutout: int = 0


@dataclass(frozen=True)
class UnknownRecipe:
    """When a sample is like nothing that the model knows; `edgehff calibrate` finds both.

    score: "" for never; "nearest", a cosine to samples that were kept; "answer", how sure the answer is.
    threshold: below it the answer is unknown.
    """

    score: str = ""
    threshold: float = 0.0


@dataclass(frozen=True)
class SpikingRecipe:
    """How a network spikes; `edgehff spike` trains it so, at the rates of pretrain.

    steps: of one sample, 1 to 1024; 0: the network does not spike.
    code: "direct", the same graded current at every step; "rate", at each step a spike with a probability of
        the input's share of levels; "latency", one spike, the earlier the larger; "events", what an event
        camera or a stream of frames gives: a sample is so many steps of raw inputs, which are not encoded;
        "delta", how often each channel of a stream rose and fell by delta since the step before.
    levels: of the largest input, 1 to 255; of "events" and "delta" what larger numbers are cut off at.
    delta: 1 to 65535, in the units of raw samples.
    beta: share of its membrane that a neuron keeps from one step to the next; 1: all.
    reset: "zero" or "subtract", what a spike leaves of the membrane.
    exit_margin: answer once a class's cosine leads by this much; 0: after all steps.
    """

    steps: int = 0
    code: str = "direct"
    levels: int = 15
    delta: int = 1
    beta: float = 1.0
    reset: str = "zero"
    exit_margin: float = 0.0

    def inputs(self, n_features: int) -> int:
        """Inputs of one step, of a sample of n_features elements."""
        if self.code not in ("events", "delta"):
            return n_features
        return n_features // max(self.steps, 1) * (2 if self.code == "delta" else 1)


@dataclass(frozen=True)
class Recipe:
    """A network and how it learns; docs/reference/recipe.md says each field's meaning, unit and range.

    conv: convolutions over a map of input_shape (height, width, channels), before the dense layers.
    layers: widths of the dense layers; may be empty where there are convolutions.
    """

    layers: tuple[int, ...] = (128, 64)
    conv: tuple[ConvLayer, ...] = ()
    input_shape: Map | tuple[()] = ()
    arith: str = "int16"
    prototypes_per_class: int = 1
    scale: float = 30.0
    margin: float = 0.1
    join: str = "sum_logp"
    join_weights: tuple[float, ...] = ()
    gate: float | None = 0.3
    cap: bool = True
    revive: bool = True
    lr: float = 0.1
    lr_prototypes: float = 0.1
    lr_final: float = 0.05
    epochs: int = 10
    personal_lr: float = 0.1
    personal_lr_prototypes: float = 0.05
    seed: int = 1
    data: str = ""
    encoder: EncoderRecipe = field(default_factory=EncoderRecipe)
    augment: AugmentRecipe = field(default_factory=AugmentRecipe)
    pretrain: PretrainRecipe = field(default_factory=PretrainRecipe)
    unknown: UnknownRecipe = field(default_factory=UnknownRecipe)
    spiking: SpikingRecipe = field(default_factory=SpikingRecipe)

    def __post_init__(self) -> None:
        check(self)

    def core_config(self, n_in: int, n_classes: int) -> CoreConfig:
        """The core's configuration for n_in encoded features and n_classes classes.

        Raises:
            RecipeError: arith is "float", which the core does not know.
        """
        check_choice("arith", self.arith, ARITHS)
        return CoreConfig(
            dims=(n_in, *self.widths),
            conv=self.conv,
            input_shape=self.input_shape,
            n_classes=n_classes,
            arith=self.arith,
            n_per_class=self.prototypes_per_class,
            join=self.join,
            join_weight=tuple(round(w * 256) for w in self.join_weights),
            cap=self.cap,
            revive=self.revive,
            kappa=kappa_of(self.scale),
            margin=round(self.margin * 16384),
            gate=GATE_OFF if self.gate is None else round(self.gate * 16384),
            lr_w=lr_w_of(self.lr),
            lr_p=lr_p_of(self.lr_prototypes),
            seed=self.seed,
        )

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels or outputs of every layer."""
        return (*(c.channels for c in self.conv), *self.layers)

    @property
    def text(self) -> str:
        """The layers in short, "16c3 pool2 -> 64"."""
        return " -> ".join((*(c.text for c in self.conv), *map(str, self.layers)))

    @property
    def n_layers(self) -> int:
        """Layers of both kinds."""
        return len(self.conv) + len(self.layers)

    def shapes(self, n_in: int) -> tuple[LayerShape, ...]:
        """Every layer's sizes for n_in encoded features. ShapeError where convolutions do not fit."""
        return geometry.shapes((n_in, *self.widths), self.conv, self.input_shape)

    def replace(self, **changes: Any) -> Recipe:
        """A copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain types, as TOML or JSON takes them; from_dict reads them back."""
        plain = dataclasses.asdict(self)
        plain["gate"] = "off" if self.gate is None else self.gate
        if not self.conv:
            del plain["conv"], plain["input_shape"], plain["augment"]
        if not self.unknown.score:
            del plain["unknown"]
        if not self.spiking.steps:
            del plain["spiking"]
        return plain


def kappa_of(scale: float) -> int:
    """The softmax scale times log2(e), Q10."""
    return round(scale * math.log2(math.e) * 1024)


def lr_w_of(lr: float) -> int:
    """The weights' rate, Q16."""
    return round(lr * 65536)


def lr_p_of(lr: float) -> int:
    """The prototypes' rate, Q14."""
    return round(lr * 16384)


_PARTS: dict[str, type] = {
    "encoder": EncoderRecipe,
    "augment": AugmentRecipe,
    "pretrain": PretrainRecipe,
    "unknown": UnknownRecipe,
    "spiking": SpikingRecipe,
}


def from_dict(table: dict[str, Any], source: str = "recipe") -> Recipe:
    """A Recipe from plain types. RecipeError names an unknown key's nearest match and a wrong type."""
    plain, parts = dict(table), {}
    conv = plain.pop("conv", ())
    if not isinstance(conv, (list, tuple)) or not all(isinstance(c, dict) for c in conv):
        raise RecipeError(f"{source}: conv is no list of tables", hint="write [[conv]] above each one's keys")
    if conv and "layers" not in plain:
        plain["layers"] = ()
    layers = tuple(_conv(c, source, f"conv {i}: ") for i, c in enumerate(conv))
    for name, kind in _PARTS.items():
        part = plain.pop(name, {})
        if not isinstance(part, dict):
            raise RecipeError(
                f"{source}: {name} is {part!r}, not a table", hint=f"write [{name}] above its keys"
            )
        parts[name] = kind(**_typed(part, kind, source, f"{name}."))
    return Recipe(**_typed(plain, Recipe, source, ""), **parts, conv=layers)


def load(path: str | Path) -> Recipe:
    """The recipe in a TOML file. RecipeError where it cannot be read, with line and column for bad TOML."""
    try:
        with Path(path).open("rb") as file:
            text = file.read(1 << 20)
    except OSError as error:
        raise RecipeError(
            f"cannot read {path}: {error.strerror}", hint="edgehff train --layers 128,64 --data digits"
        ) from error
    try:
        table = tomllib.loads(text.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"{path} is not TOML: {error}", hint="see docs/reference/recipe.md for an example"
        ) from error
    return from_dict(table, str(path))


def _conv(table: dict[str, Any], source: str, prefix: str) -> ConvLayer:
    """One [[conv]] table; a single number stands for height and width."""
    plain = dict(table)
    for key in ("kernel", "stride", "padding", "pool_size", "grid"):
        value = plain.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            plain[key] = (value, value)
        elif key in plain and (not isinstance(value, (list, tuple)) or len(value) != 2):
            raise RecipeError(f"{source}: {prefix}{key} = {value!r}", hint=f"{key} = 3, or [height, width]")
    if "channels" not in plain:
        raise RecipeError(f"{source}: {prefix}channels is missing", hint="channels = 16")
    return ConvLayer(**_typed(plain, ConvLayer, source, prefix))


def _typed(table: dict[str, Any], kind: type, source: str, prefix: str) -> dict[str, Any]:
    """The keys of a TOML table as keyword arguments of dataclass kind, converted to the fields' types."""
    defaults = ConvLayer(1) if kind is ConvLayer else kind()
    names = [
        f.name for f in dataclasses.fields(kind) if f.name not in (*_PARTS, "conv" if kind is Recipe else "")
    ]
    arguments: dict[str, Any] = {}
    for key, value in table.items():
        if key not in names:
            near = difflib.get_close_matches(key, names, 1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known keys: {', '.join(names)}"
            raise RecipeError(f"{source}: unknown key {prefix}{key}", hint=hint)
        arguments[key] = _convert(f"{source}: {prefix}{key}", value, getattr(defaults, key), key)
    return arguments


def _convert(where: str, value: Any, default: Any, key: str) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(value, float) and not math.isfinite(value):
        raise RecipeError(f"{where} = {value} is not finite", hint=f"{key} = {default}")
    if key == "gate" and value in ("off", None):
        return None
    if isinstance(default, tuple):
        item: type = {"join_weights": float, "features": str}.get(key, int)
        if isinstance(value, (list, tuple)):
            if item is float and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value):
                return tuple(float(v) for v in value)
            if all(isinstance(v, item) and not isinstance(v, bool) for v in value):
                return tuple(value)
    elif isinstance(default, (bool, str)):
        if isinstance(value, type(default)):
            return value
    elif isinstance(default, int):
        if number and isinstance(value, int):
            return value
    elif number and abs(value) <= sys.float_info.max:
        return float(value)
    kind = "list" if isinstance(default, tuple) else type(default).__name__
    raise RecipeError(f"{where} = {value!r} is no {kind}", hint=f"{key} = {default!r}")
