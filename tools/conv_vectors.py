"""Golden vectors of networks with convolutions: everyday shapes, and the declared limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from vector_cases import Json, Rule, config, everyday, hostile, network_case

from edgehff.fixedpoint import W_LIMIT
from edgehff.geometry import ConvLayer, Map
from edgehff.recipe import CoreConfig


def conv_layer(channels: int, **changes: Any) -> ConvLayer:
    """A convolution with every field set here: 3 x 3 at every position, zeros around, no pooling."""
    plain: Json = {"kind": "conv", "kernel": (3, 3), "stride": (1, 1), "padding": (1, 1), "pool": "none"}
    return ConvLayer(channels, **(plain | {"pool_size": (1, 1), "grid": (1, 1)} | changes))


def conv_config(input_shape: tuple[int, int, int], conv: Sequence[ConvLayer], dense: Sequence[int],
                n_classes: int, **changes: Any) -> CoreConfig:  # fmt: skip
    """A network of convolutions and dense layers behind them."""
    dims = (math.prod(input_shape), *(c.channels for c in conv), *dense)
    return config(dims, n_classes, conv=tuple(conv), input_shape=input_shape, **changes)


def convolution_vectors() -> Json:
    """Small networks with convolutions: one and two dimensions, both kinds, all pools, grids."""
    net, c, conv, i16 = network_case, conv_config, conv_layer, {"arith": "int16"}
    off, fast = {"gate": 65535}, {"gate": 65535, "lr_w": 65536, "lr_p": 8192}
    halves = {"pool": "max", "pool_size": (2, 2)}
    means = {"pool": "mean", "pool_size": (2, 2)}
    line = {"kernel": (1, 5), "padding": (0, 2)}
    separable = [conv(4, grid=(2, 2)), conv(4, kind="depthwise", stride=(2, 2), grid=(1, 2)),
                 conv(6, kernel=(1, 1), padding=(0, 0), grid=(2, 2))]  # fmt: skip
    tall = conv(3, kind="depthwise", kernel=(2, 1), padding=(1, 0), **means)
    cases = [
        net("conv-int8", c((6, 6, 1), [conv(4)], (), 3), everyday(3, 6, 41), 18),
        net(
            "conv-int16-max-grid",
            c((6, 6, 2), [conv(4, grid=(2, 2), **halves)], (), 3, **off, **i16),
            everyday(3, 6, 42),
            15,
        ),
        net(
            "conv-int8-mean",
            c((6, 6, 1), [conv(5, grid=(3, 1), **means)], (), 3, **fast),
            everyday(3, 6, 43),
            18,
        ),
        net(
            "conv-int16-mean-of-3",
            c((1, 15, 2), [conv(4, pool="mean", pool_size=(1, 3), **line)], (), 2, **off, **i16),
            everyday(2, 5, 44),
            18,
        ),
        net(
            "conv-int8-1d-strides",
            c(
                (1, 20, 3),
                [conv(4, stride=(1, 3), grid=(1, 3), **line), conv(5, stride=(1, 2), **line)],
                (),
                3,
                **off,
            ),
            everyday(3, 7, 45),
            20,
        ),
        net("conv-int16-separable", c((6, 6, 2), separable, (), 3, **fast, **i16), everyday(3, 6, 46), 12),
        net("conv-int8-separable", c((6, 6, 2), separable, (), 3, **fast), everyday(3, 6, 46), 12),
        net(
            "conv-int8-k2-dense",
            c((5, 7, 1), [conv(4, grid=(2, 3), **halves)], (6,), 3, n_per_class=2, margin=1638, **off),
            everyday(3, 6, 47),
            20,
        ),
        net(
            "conv-int16-hostile",
            c(
                (4, 5, 2),
                [conv(3, kernel=(2, 3), padding=(1, 2), **halves), tall],
                (4,),
                4,
                **fast,
                **i16,
            ),
            hostile(40, 4, 48),
            28,
        ),
        net(
            "conv-int8-hostile",
            c(
                (4, 5, 2),
                [conv(3, kernel=(3, 2), padding=(2, 1), stride=(1, 2), grid=(2, 3)), conv(4, **halves)],
                (5,),
                4,
                **fast,
            ),
            hostile(40, 4, 49),
            28,
        ),
        net(
            "conv-int16-no-switch",
            c((5, 5, 1), [conv(4, grid=(5, 5))], (3,), 3, cap=False, revive=False, join="last", **off, **i16),
            everyday(3, 6, 50),
            15,
        ),
        net(
            "conv-int8-first-layer-1",
            c((4, 4, 1), [conv(3, **halves), conv(4)], (), 2, **off),
            everyday(2, 4, 51),
            8,
            first_layer=1,
            show_blob=True,
        ),
        net(
            "conv-int8-saturated",
            c((4, 4, 2), [conv(3, grid=(2, 2), **means), conv(3, kind="depthwise")], (), 2, **fast),
            [{"a": {"cycle": [77]}, "label": 0}, {"a": {"one_hot": 5, "value": 9}, "label": 1}],
            10,
            weights=[{"cycle": [127, -127, 127]}, {"cycle": [127]}],
        ),
        net(
            "conv-int16-dead-channels",
            c((4, 4, 1), [conv(3, grid=(2, 1), **halves)], (), 2, **fast, **i16),
            [{"a": {"cycle": [7, 9]}, "label": 0}, {"a": {"cycle": [3, 9, 1]}, "label": 1}],
            12,
            weights=[{"cycle": [-3000] * 18 + [900] * 9}],
        ),
        net(
            "conv-int8-dead-channels-stay",
            c((4, 4, 1), [conv(3, grid=(2, 1), **means)], (), 2, revive=False, **fast),
            [{"a": {"cycle": [7, 9]}, "label": 0}, {"a": {"cycle": [3, 9, 1]}, "label": 1}],
            12,
            weights=[{"cycle": [-20] * 18 + [9] * 9}],
        ),
        net(
            "conv-prototypes-of-8-bits",
            c((4, 4, 1), [conv(3, grid=(2, 2), **halves)], (3,), 3, proto_bits=8),
            everyday(3, 4, 52),
            0,
            prototypes=[[{"lcg": 60 + p, "limit": 100} for p in range(3)]] * 2,
            scales=[{"cycle": [14000, 13000, 15000]}, {"cycle": [24000]}],
        ),
    ]
    return {"networks": cases}


def convolution_limits() -> Json:
    """Every element at its largest: the longest maps, kernels, windows and grids, and 32 convolutions."""
    cases = []

    def add(name: str, arith: str, shape: Map, conv: Sequence[ConvLayer], values: Sequence[Rule],
            steps: int, **rules: Any) -> None:  # fmt: skip
        largest = {"kappa": 94548, "margin": 16384, "gate": 65535, "lr_w": 1048576, "lr_p": 8192}
        c = conv_config(shape, conv, (), 2, arith=arith, **largest)
        weights = [{"cycle": [W_LIMIT[arith]]}] * len(conv)
        samples: list[Json] = [{"x": v, "label": i % 2} for i, v in enumerate(values)]
        cases.append(
            network_case(f"conv-{arith}-{name}", c, samples, steps, **({"weights": weights} | rules))
        )

    def flat(v: int) -> Rule:
        return {"cycle": [v]}

    def opposed(v: int) -> list[list[Rule]]:
        return [[flat(-v), flat(v)]]

    one = {"kernel": (1, 1), "padding": (0, 0)}
    for arith in ("int8", "int16"):
        # every position of 65,536 counts: the largest gradient that there is, 256 * 65 * 65536
        pairs = conv_layer(2, pool="mean", pool_size=(1, 2), **one)
        apart: Json = {"prototypes": [[{"cycle": [16384, 0]}, {"cycle": [0, 16384]}]]}
        add("65536-positions", arith, (256, 256, 1), [pairs], [flat(65)], 2, **apart)
        one_hot: Rule = {"one_hot": 255, "value": 16384}
        add("65536-elements", arith, (64, 256, 1), [conv_layer(4, grid=(16, 16))], [flat(130), one_hot], 2)
        # a kernel that lies outside the map but for one element, and on nearly all of it
        huge = conv_layer(2, kernel=(31, 31), stride=(31, 31), padding=(30, 30), grid=(2, 2))
        add("kernel-31", arith, (31, 31, 68), [huge], [flat(65), flat(-65)], 2, prototypes=opposed(5800))
        wide = conv_layer(68, kind="depthwise", kernel=(31, 31), padding=(15, 15), stride=(16, 16))
        add("kernel-31-depthwise", arith, (31, 31, 68), [wide], [flat(65)], 1)
        for pool in ("max", "mean"):
            for size in ((16, 1), (4, 4)):
                conv = conv_layer(3, kernel=(2, 2), padding=(1, 1), pool=pool, pool_size=size, grid=(1, 2))
                values = [flat(520), {"one_hot": 7, "value": 16384}]
                add(f"{pool}-of-{size[0]}x{size[1]}", arith, (32, 32, 1), [conv], values, 3)
        add("grid-16-of-65536", arith, (16, 16, 1), [conv_layer(256, grid=(16, 16), **one)],
            [flat(1040), {"one_hot": 255, "value": 16384}], 2, prototypes=opposed(65))  # fmt: skip
        add("32-layers", arith, (2, 2, 1), [conv_layer(2, grid=(2, 1), **one)] * 32, [flat(8320)], 3)
    return {"networks": cases}
