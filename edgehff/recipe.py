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
from edgehff.errors import RecipeError, ShapeError
from edgehff.geometry import ConvLayer, LayerShape, Map

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

ARITHS = ("int8", "int16")
"""How the core keeps weights; a recipe may also say "float": trained in torch, quantized afterwards."""
OPTIMIZERS = ("adam", "sgd")
JOINS = ("sum_logp", "last", "weighted")
UNKNOWN_SCORES = ("nearest", "answer")
FEATURES = ("mav", "rms", "wl")
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

    def __post_init__(self) -> None:
        _check(self)

    def core_config(self, n_in: int, n_classes: int) -> CoreConfig:
        """The core's configuration for n_in encoded features and n_classes classes.

        Raises:
            RecipeError: arith is "float", which the core does not know.
        """
        _check_choice("arith", self.arith, ARITHS)
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


_RANGES: dict[str, tuple[float, float]] = {
    "prototypes_per_class": (1, 64),
    "scale": (0.5, 64),
    "margin": (0, 1),
    "lr": (0, 16),
    "lr_prototypes": (0, 0.5),
    "lr_final": (0.001, 1),
    "epochs": (1, 100_000),
    "personal_lr": (0, 16),
    "personal_lr_prototypes": (0, 0.5),
    "seed": (0, 2**32 - 1),
}
_PRETRAIN_RANGES: dict[str, tuple[float, float]] = {
    "lr": (0, 10),
    "lr_prototypes": (0, 10),
    "lr_final": (0, 1),
    "weight_decay": (0, 1),
    "dropout": (0, 0.9),
    "batch_size": (1, 65536),
    "epochs": (1, 100_000),
}
_UNKNOWN_RANGES: dict[str, tuple[float, float]] = {"threshold": (-1024, 1024)}
_AUGMENT_RANGES: dict[str, tuple[float, float]] = dict.fromkeys(("warp", "shift", "cutout"), (0, 65535))


def _check(r: Recipe) -> None:
    if not 1 <= r.n_layers <= 32:
        raise RecipeError(f"{r.n_layers} layers, 1 to 32 are possible", hint="layers = [128, 64]")
    _check_conv(r)
    for width in r.layers:
        if not 1 <= width <= 65536:
            raise RecipeError(f"layers holds {width}, a width is 1 to 65536", hint="layers = [128, 64]")
    parts: tuple[tuple[Any, dict[str, tuple[float, float]], str], ...] = (
        (r, _RANGES, ""),
        (r.pretrain, _PRETRAIN_RANGES, "pretrain."),
        (r.augment, _AUGMENT_RANGES, "augment."),
        (r.unknown, _UNKNOWN_RANGES, "unknown."),
    )
    for part, ranges, prefix in parts:
        for name, (low, high) in ranges.items():
            value = getattr(part, name)
            if not low <= value <= high:
                raise RecipeError(
                    f"{prefix}{name} = {value} lies outside {low:g} to {high:g}",
                    hint="see docs/reference/recipe.md",
                )
    _check_choice("pretrain.optimizer", r.pretrain.optimizer, OPTIMIZERS)
    _check_choice("unknown.score", r.unknown.score, ("", *UNKNOWN_SCORES))
    _check_augmentation(r)
    if r.gate is not None and not 0 <= r.gate <= 2:
        raise RecipeError(f"gate = {r.gate} lies outside 0 to 2", hint='gate = 0.3, or gate = "off"')
    _check_choice("arith", r.arith, (*ARITHS, "float"))
    _check_choice("join", r.join, JOINS)
    if r.join == "weighted" and len(r.join_weights) != r.n_layers:
        raise RecipeError(
            f"join_weights has {len(r.join_weights)} entries for {r.n_layers} layers",
            hint=f"join_weights = {[1.0] * r.n_layers}",
        )
    if r.join == "weighted" and not any(round(w * 256) for w in r.join_weights):
        raise RecipeError(
            "join_weights are 0 throughout: no layer would answer", hint="join_weights = [1.0, 1.0]"
        )
    for weight in r.join_weights:
        if not 0 <= weight <= 4:
            raise RecipeError(
                f"join_weights holds {weight}, a weight is 0 to 4", hint="join_weights = [1.0, 1.0]"
            )
    for feature in r.encoder.features:
        _check_choice("encoder.features", feature, FEATURES)
    if len(set(r.encoder.features)) < len(r.encoder.features):
        raise RecipeError(
            f"encoder.features = {list(r.encoder.features)} names one twice",
            hint='features = ["mav", "rms", "wl"]',
        )
    if r.encoder.segments < 1:
        raise RecipeError(f"encoder.segments = {r.encoder.segments} is not positive", hint="segments = 5")
    if not -32768 <= r.encoder.bias <= 32767:
        raise RecipeError(f"encoder.bias = {r.encoder.bias} does not fit int16", hint="bias = 0")


def _check_conv(r: Recipe) -> None:
    """The convolutions, one after another from the input's shape on."""
    if bool(r.conv) != bool(r.input_shape):
        raise RecipeError(
            f"{len(r.conv)} convolutions with input_shape = {list(r.input_shape)}",
            hint="input_shape = [28, 28, 1] and [[conv]] tables go together",
        )
    if not r.conv:
        return
    if len(r.input_shape) != 3 or not all(1 <= n <= 65535 for n in r.input_shape):
        raise RecipeError(
            f"input_shape = {list(r.input_shape)}",
            hint="input_shape = [height, width, channels]; [1, time, channels] of signals",
        )
    try:
        r.shapes(math.prod(r.input_shape))
    except ShapeError as error:
        raise RecipeError(error.message, hint=error.hint) from error


def _check_augmentation(r: Recipe) -> None:
    """What changes maps needs to know their sizes, and leaves something of them."""
    for name, value in dataclasses.asdict(r.augment).items():
        if value and not r.input_shape:
            raise RecipeError(
                f"augment.{name} = {str(value).lower()} changes maps, and the recipe names none",
                hint="input_shape = [28, 28, 1] and [[conv]] tables",
            )
    for name in ("warp", "shift", "cutout"):
        value, width = getattr(r.augment, name), r.input_shape[1] if r.input_shape else 65536
        if value >= width:
            raise RecipeError(
                f"augment.{name} = {value} leaves nothing of a map {width} wide",
                hint=f"{name} = {width // 8}",
            )


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        near = difflib.get_close_matches(str(value), choices, 1)
        raise RecipeError(
            f"{name} = {value!r} is none of {', '.join(choices)}", hint=f"{name} = {(near or choices)[0]!r}"
        )


_PARTS: dict[str, type] = {
    "encoder": EncoderRecipe,
    "augment": AugmentRecipe,
    "pretrain": PretrainRecipe,
    "unknown": UnknownRecipe,
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
