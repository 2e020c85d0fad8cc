"""What a recipe may say: its choices and ranges, and what must fit together."""

from __future__ import annotations

import dataclasses
import difflib
import math
from typing import Any

from edgehff.errors import RecipeError, ShapeError

ARITHS = ("int8", "int16")
"""How the core keeps weights; a recipe may also say "float": trained in torch, quantized afterwards."""
OPTIMIZERS = ("adam", "sgd")
JOINS = ("sum_logp", "last", "weighted")
UNKNOWN_SCORES = ("nearest", "answer")
FEATURES = ("mav", "rms", "wl")
CODES = ("direct", "rate", "latency", "events", "delta")
RESETS = ("zero", "subtract")

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
_SPIKING_RANGES: dict[str, tuple[float, float]] = {
    "steps": (0, 1024),
    "levels": (1, 255),
    "delta": (1, 65535),
    "beta": (0.01, 1),
    "exit_margin": (0, 2),
}
_AUGMENT_RANGES: dict[str, tuple[float, float]] = dict.fromkeys(("warp", "shift", "cutout"), (0, 65535))


def check(r: Any) -> None:
    """RecipeError where a value of the recipe r lies outside its range, or parts do not fit together."""
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
        (r.spiking, _SPIKING_RANGES, "spiking."),
    )
    for part, ranges, prefix in parts:
        for name, (low, high) in ranges.items():
            value = getattr(part, name)
            if not low <= value <= high:
                raise RecipeError(
                    f"{prefix}{name} = {value} lies outside {low:g} to {high:g}",
                    hint="see docs/reference/recipe.md",
                )
    check_choice("pretrain.optimizer", r.pretrain.optimizer, OPTIMIZERS)
    check_choice("unknown.score", r.unknown.score, ("", *UNKNOWN_SCORES))
    check_choice("spiking.code", r.spiking.code, CODES)
    check_choice("spiking.reset", r.spiking.reset, RESETS)
    _check_augmentation(r)
    if r.gate is not None and not 0 <= r.gate <= 2:
        raise RecipeError(f"gate = {r.gate} lies outside 0 to 2", hint='gate = 0.3, or gate = "off"')
    check_choice("arith", r.arith, (*ARITHS, "float"))
    check_choice("join", r.join, JOINS)
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
        check_choice("encoder.features", feature, FEATURES)
    if len(set(r.encoder.features)) < len(r.encoder.features):
        raise RecipeError(
            f"encoder.features = {list(r.encoder.features)} names one twice",
            hint='features = ["mav", "rms", "wl"]',
        )
    if r.encoder.segments < 1:
        raise RecipeError(f"encoder.segments = {r.encoder.segments} is not positive", hint="segments = 5")
    if not -32768 <= r.encoder.bias <= 32767:
        raise RecipeError(f"encoder.bias = {r.encoder.bias} does not fit int16", hint="bias = 0")


def _check_conv(r: Any) -> None:
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


def _check_augmentation(r: Any) -> None:
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


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """RecipeError where a value is none of the choices; the hint is the nearest."""
    if value not in choices:
        near = difflib.get_close_matches(str(value), choices, 1)
        raise RecipeError(
            f"{name} = {value!r} is none of {', '.join(choices)}", hint=f"{name} = {(near or choices)[0]!r}"
        )
