"""The arithmetic again, in plain Python integers: the oracle that the C core is tested against, bit for bit.

It follows docs/explanation/arithmetic.md, not the C: one function a definition, no arrays, no tricks.
Vectors are lists of int. Q formats and ranges are those of the document.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from edgehff.geometry import LayerShape
from edgehff.recipe import CoreConfig

W_RMS = 16
W_LIMIT = {"int8": 127, "int16": 32512}
NORM_MAX = 2**22 - 1
U32 = 2**32 - 1

EXP2 = [round(2**15 * 2 ** (-i / 32)) for i in range(33)]
LOG2 = [round(2**16 * math.log2(1 + i / 32)) for i in range(33)]


def round_shift(v: int, shift: int) -> int:
    """round_half_up(v / 2**shift)."""
    return (v + (1 << shift >> 1)) >> shift


def clamp(v: int, limit: int) -> int:
    """V within -limit..limit."""
    return max(-limit, min(limit, v))


def mantissa(v: int) -> tuple[int, int]:
    """Return (m, s) of v > 0: m * 2**s rounded down, 2**15 <= m < 2**16."""
    s = v.bit_length() - 16
    return (v >> s if s >= 0 else v << -s), s


def reciprocal(v: int) -> tuple[int, int]:
    """Return (r, s): 1/v is about r * 2**-(31 + s), 2**15 <= r <= 2**16."""
    m, s = mantissa(v)
    return 2**31 // m, s


def exp2_neg(z: int) -> int:
    """2**-z: z Q16 -> Q15, by a table of 33 and a straight line between."""
    whole, fraction = z >> 16, z & 0xFFFF
    if whole > 15:
        return 0
    at, rest = fraction >> 11, fraction & 2047
    return round_shift((EXP2[at] << 11) - (EXP2[at] - EXP2[at + 1]) * rest, 11 + whole)


def log2(v: int) -> int:
    """Logarithm to base 2 of v >= 1 -> Q16; of 0, 0."""
    if v == 0:
        return 0
    whole = v.bit_length() - 1
    fraction = (v << (31 - whole)) & (2**31 - 1)
    at, rest = fraction >> 26, (fraction >> 10) & 0xFFFF
    return (whole << 16) + LOG2[at] + round_shift((LOG2[at + 1] - LOG2[at]) * rest, 16)


def unit(a: Sequence[int]) -> tuple[list[int], int, int]:
    """Return (u, root, shift): u = a / |a| in Q14, |a| is about root * 2**shift. Zero gives zero."""
    top = max(abs(v) for v in a)
    if top == 0:
        return [0] * len(a), 0, 0
    # the core takes the bits of all magnitudes or-ed, whose length is that of the largest
    s = top.bit_length() - 15
    m = [round_shift(v, s) if s > 0 else v << -s for v in a]
    root = math.isqrt(sum(v * v for v in m) << 16)
    r, rs = reciprocal(root)
    k = 9 + rs
    u = [(abs(v) * r + (1 << k >> 1)) >> k for v in m]
    return [-w if v < 0 else w for w, v in zip(u, m, strict=True)], root, s - 8


def norm_q8(root: int, shift: int) -> int:
    """|y| in int8 steps, Q8, from the root of accumulators in Q14; saturated."""
    shift -= 6
    return min(NORM_MAX, root << shift if shift >= 0 else root >> -shift)


# ---- random bits by counter ----


def _mix(h: int) -> int:
    h ^= h >> 16
    h = h * 0x85EBCA6B & U32
    h ^= h >> 13
    h = h * 0xC2B2AE35 & U32
    return h ^ (h >> 16)


def layer_key(seed: int, step: int, layer: int) -> int:
    """The key of one layer at one step."""
    return _mix((_mix((_mix((seed + 0x9E3779B9) & U32) + step) & U32) + layer * 0x85EBCA77) & U32)


def row_key(key: int, row: int) -> int:
    """The key of one row."""
    return _mix((key + row * 0xC2B2AE3D) & U32)


def pair_bits(key: int, pair: int) -> int:
    """32 bits for the columns 2 * pair (low half) and 2 * pair + 1 (high half)."""
    h = (key + pair * 0x9E3779B9) & U32
    h ^= h >> 16
    h = h * 0x85EBCA6B & U32
    return h ^ (h >> 13)


def random16(key: int, column: int) -> int:
    """16 bits for one column of a row."""
    return pair_bits(key, column >> 1) >> (16 * (column & 1)) & 0xFFFF


def bell(key: int, column: int) -> int:
    """A start value: four random bytes added, less their mean; deviation 147.8."""
    h, g = pair_bits(key, 2 * column), pair_bits(key, 2 * column + 1)
    return (h & 255) + (h >> 24) + (g & 255) + (g >> 24) - 510


# ---- a network ----


@dataclass
class LayerState:
    """One layer: weight[row][column], prototype[class * n_per_class + k][i], norm_sum, and updates made.

    A convolution's rows are its channels, their columns its kernel (height, width, channels); its prototypes
    lie over (cells of the grid, channels).
    """

    weight: list[list[int]]
    prototype: list[list[int]]
    norm_sum: int = 0
    updates: int = 0
    scale: list[int] = field(default_factory=list)


@dataclass
class NetState:
    """A network and its counters."""

    config: CoreConfig
    layers: list[LayerState]
    step: int = 0
    first_layer: int = 0


def init(config: CoreConfig) -> NetState:
    """Start values drawn from the seed, as step 2**32 - 1."""
    layers = []
    for index, shape in enumerate(config.shapes):
        n_in, n_out = shape.n_in, shape.n_out
        key = layer_key(config.seed, U32, index)
        shift = 16 if config.arith == "int8" else 8
        weight = [
            [round_shift(bell(row_key(key, i), j) * 7095, shift) for j in range(n_in)] for i in range(n_out)
        ]
        rows = range(n_out, n_out + config.n_classes * config.n_per_class)
        prototype = [unit([bell(row_key(key, i), j) for j in range(shape.head)])[0] for i in rows]
        layers.append(LayerState(weight, prototype))
    return NetState(config, layers)


def forward(config: CoreConfig, weight: Sequence[Sequence[int]], x: Sequence[int]) -> list[int]:
    """relu(W x); an int16 master is seen as (w + 128) >> 8."""
    return [max(0, sum(w * v for w, v in zip(row, x, strict=True))) for row in seen_weights(config, weight)]


def seen_weights(config: CoreConfig, weight: Sequence[Sequence[int]]) -> Sequence[Sequence[int]]:
    """What the forward pass sees of weights."""
    return weight if config.arith == "int8" else [[(w + 128) >> 8 for w in row] for row in weight]


def cosines(config: CoreConfig, layer: LayerState, u: Sequence[int]) -> list[int]:
    """The cosine with each prototype, Q14."""
    sums = [sum(a * b for a, b in zip(p, u, strict=True)) for p in layer.prototype]
    if config.proto_bits == 8:
        return [round_shift(v * scale, 22) for v, scale in zip(sums, layer.scale, strict=True)]
    return [round_shift(v, 14) for v in sums]


def _logit(config: CoreConfig, cosine: int) -> int:
    return round_shift(cosine * config.kappa, 8)


def logits(config: CoreConfig, cosine: Sequence[int]) -> list[int]:
    """One logit a class, base 2, Q16: log2 of the mean of 2**logit over its prototypes."""
    k = config.n_per_class
    out = []
    for c in range(config.n_classes):
        own = [_logit(config, v) for v in cosine[c * k : (c + 1) * k]]
        top = max(own)
        if k > 1:
            top += log2(sum(exp2_neg(max(own) - v) for v in own)) - (15 << 16) - log2(k)
        out.append(top)
    return out


def logsumexp(values: Sequence[int]) -> int:
    """log2 of the sum of 2**value, Q16."""
    return max(values) + log2(sum(exp2_neg(max(values) - v) for v in values)) - (15 << 16)


def softmax(values: Sequence[int]) -> list[int]:
    """2**value over their sum, Q15."""
    powers = [exp2_neg(max(values) - v) for v in values]
    r, s = reciprocal(sum(powers))
    return [(e * r + (1 << (15 + s))) >> (16 + s) for e in powers]


def error(config: CoreConfig, cosine: Sequence[int], logit: Sequence[int], label: int) -> list[int]:
    """Softmax less onehot, with the margin off the own class, spread over each class's prototypes: Q15."""
    shifted = list(logit)
    shifted[label] -= _logit(config, config.margin)
    e = softmax(shifted)
    e[label] -= 32768
    k = config.n_per_class
    if k == 1:
        return e
    out = []
    for c in range(config.n_classes):
        share = softmax([_logit(config, v) for v in cosine[c * k : (c + 1) * k]])
        out += [round_shift(e[c] * r, 15) for r in share]
    return out


def gradient(layer: LayerState, u: Sequence[int], cosine: Sequence[int], e: Sequence[int]) -> list[int]:
    """The gradient at u without its part along u, Q29."""
    along = round_shift(sum(a * b for a, b in zip(e, cosine, strict=True)), 14)
    return [sum(e[c] * p[i] for c, p in enumerate(layer.prototype)) - along * u[i] for i in range(len(u))]


def learn_weights(
    state: NetState, index: int, x: Sequence[int], u: Sequence[int], t: Sequence[int], norm: int
) -> None:
    """W -= rate / max(|y|, mean) * t x^T, row by row."""
    config, layer = state.config, state.layers[index]
    factor, shift = step_factor(state, index, norm)
    if factor == 0 or shift > 62:
        return
    shift = max(0, shift)
    key = layer_key(config.seed, state.step, index)
    for i, row in enumerate(layer.weight):
        if u[i] == 0 and not (config.revive and t[i] < 0):
            continue
        step = clamp(round_shift(t[i] * (factor if u[i] else factor // 10), shift), 32767)
        if step == 0:
            continue
        move_row(config, row, x, step, row_key(key, i))


def step_factor(state: NetState, index: int, norm: int) -> tuple[int, int]:
    """Factor and shift of rate / max(|y|, mean); factor 0 where nothing is learned."""
    config, layer = state.config, state.layers[index]
    if config.cap:
        norm = max(norm, layer.norm_sum >> 10)
    rate = config.lr_w * config.shapes[index].n_in * W_RMS**2
    if norm == 0 or rate == 0:
        return 0, 0
    r, norm_shift = reciprocal(norm)
    m, rate_shift = mantissa(rate)
    return m * r >> 16, 44 + norm_shift - rate_shift


def move_row(config: CoreConfig, row: list[int], x: Sequence[int], step: int, key: int) -> None:
    """Row -= step * x, rounded stochastically to int8, by halves to int16."""
    for j, v in enumerate(x):
        if config.arith == "int8":
            d = (step * v + random16(key, j) * 64 + 32) >> 22
        else:
            d = round_shift(step * v, 14)
        row[j] = clamp(row[j] - d, W_LIMIT[config.arith])


# ---- convolutions: maps are flat lists in the order (height, width, channels) ----


def corners(shape: LayerShape) -> list[list[tuple[int, int]]]:
    """For each position after pooling its window: where each kernel's corner lies in the input."""
    conv, out = shape.conv, shape.map_out
    assert conv is not None
    assert out is not None
    (ph, pw), (sh, sw), (dh, dw) = conv.pool_size, conv.stride, conv.padding
    return [
        [((y * ph + i) * sh - dh, (x * pw + j) * sw - dw) for i in range(ph) for j in range(pw)]
        for y in range(out[0])
        for x in range(out[1])
    ]


def patch(shape: LayerShape, x: Sequence[int], corner: tuple[int, int], channel: int) -> list[int]:
    """What a kernel lies on, zeros outside the map; of a depthwise layer one channel alone."""
    conv, map_in = shape.conv, shape.map_in
    assert conv is not None
    assert map_in is not None
    height, width, n = map_in
    own = [channel] if conv.kind == "depthwise" else range(n)
    out = []
    for i in range(corner[0], corner[0] + conv.kernel[0]):
        for j in range(corner[1], corner[1] + conv.kernel[1]):
            inside = 0 <= i < height and 0 <= j < width
            out += [x[(i * width + j) * n + c] if inside else 0 for c in own]
    return out


def pool_share(shape: LayerShape) -> int:
    """Bits by which each position of a window is smaller in its mean."""
    assert shape.conv is not None
    area = shape.conv.pool_size[0] * shape.conv.pool_size[1]
    return (area - 1).bit_length() if shape.conv.pool == "mean" else 0


def conv_forward(
    config: CoreConfig, shape: LayerShape, weight: Sequence[Sequence[int]], x: Sequence[int]
) -> tuple[list[int], list[list[int]]]:
    """The pooled relu(W x) of each position and channel, and which positions of its window it came from."""
    assert shape.conv is not None
    values, routes, seen = [], [], seen_weights(config, weight)
    for window in corners(shape):
        for o, row in enumerate(seen):
            y = [sum(a * b for a, b in zip(row, patch(shape, x, at, o), strict=True)) for at in window]
            active = [k for k, v in enumerate(y) if v > 0]
            if shape.conv.pool == "max":
                active = [y.index(max(y))] if active else []
            values.append(sum(round_shift(y[k], pool_share(shape)) for k in active))
            routes.append(active)
    return values, routes


def cells(shape: LayerShape) -> list[int]:
    """The cell of the grid that each position after pooling lies in."""
    conv, out = shape.conv, shape.map_out
    assert conv is not None
    assert out is not None
    (gh, gw), (height, width, _) = conv.grid, out
    return [y * gh // height * gw + x * gw // width for y in range(height) for x in range(width)]


def grid_sum(shape: LayerShape, u: Sequence[int]) -> list[int]:
    """The map summed over the cells of the grid: (cell, channel), flat."""
    out, n = [0] * shape.head, shape.n_out
    for position, cell in enumerate(cells(shape)):
        for o in range(n):
            out[cell * n + o] += u[position * n + o]
    return out


def norm_times(norm: int, root: int, shift: int) -> int:
    """Norm times a length in Q14, root * 2**shift, in mantissas; saturated."""
    if norm == 0 or root == 0:
        return 0
    (a, a_shift), (b, b_shift) = mantissa(norm), mantissa(root)
    shift += a_shift + b_shift + 2
    product = a * b >> 16
    return min(NORM_MAX, product << shift if shift >= 0 else product >> -shift)


def learn_conv(
    state: NetState,
    index: int,
    x: Sequence[int],
    u: Sequence[int],
    routes: Sequence[Sequence[int]],
    t: Sequence[int],
    norm: int,
) -> None:
    """W -= rate / max(|f|, mean) * the sum over positions of t * patch, channel by channel."""
    config, layer, shape = state.config, state.layers[index], state.config.shapes[index]
    factor, shift = step_factor(state, index, norm)
    if factor == 0:
        return
    shift += pool_share(shape)
    key = layer_key(config.seed, state.step, index)
    n, cell, windows = shape.n_out, cells(shape), corners(shape)
    for o, row in enumerate(layer.weight):
        dead = not any(u[o::n])
        if dead and not config.revive:
            continue
        own = [v if v < 0 or not dead else 0 for v in t[o::n]]
        down = max(0, max(map(abs, own)).bit_length() - 8)
        gradient = [0] * len(row)
        for position, window in enumerate(windows):
            at = position * n + o
            q = round_shift(own[cell[position]], down)
            for k in [0] if dead else routes[at] if u[at] else []:
                gradient = [a + q * b for a, b in zip(gradient, patch(shape, x, window[k], o), strict=True)]
        if not any(gradient):
            continue
        up = max(map(abs, gradient)).bit_length() - 14
        g = [round_shift(v, up) if up > 0 else v << -up for v in gradient]
        scale = shift + 30 - down - up
        if scale > 47:
            continue
        step = clamp(round_shift((factor // 10 if dead else factor) << 30, max(0, scale)), 32767)
        if step:
            move_row(config, row, g, step, row_key(key, o))


def learn_prototypes(config: CoreConfig, layer: LayerState, u: Sequence[int], e: Sequence[int]) -> None:
    """P = unit(p - lr_p * e * u), where the step is at least 8 in Q14."""
    for c, p in enumerate(layer.prototype):
        k = round_shift(config.lr_p * e[c], 15)
        if abs(k) >= 8:
            layer.prototype[c] = unit([16 * a - round_shift(k * b, 10) for a, b in zip(p, u, strict=True)])[0]


def answer(
    config: CoreConfig, shape: LayerShape, weight: Sequence[Sequence[int]], x: Sequence[int]
) -> tuple[list[int], list[int], int, list[list[int]]]:
    """What a layer hands on, what its prototypes see, the length that divides its step, and routes."""
    if shape.conv is None:
        u, root, shift = unit(forward(config, weight, x))
        return u, u, norm_q8(root, shift), []
    values, routes = conv_forward(config, shape, weight, x)
    u, root, shift = unit(values)
    norm = norm_q8(root, shift)
    head, root, shift = unit(grid_sum(shape, u))
    return u, head, norm_times(norm, root, shift), routes


def layer_logits(state: NetState, x: Sequence[int]) -> list[list[int]]:
    """Every layer's logits for x."""
    out = []
    for layer, shape in zip(state.layers, state.config.shapes, strict=True):
        x, head, _, _ = answer(state.config, shape, layer.weight, x)
        out.append(logits(state.config, cosines(state.config, layer, head)))
    return out


def directions(state: NetState, x: Sequence[int]) -> list[list[int]]:
    """What every layer's prototypes see of x."""
    out = []
    for layer, shape in zip(state.layers, state.config.shapes, strict=True):
        x, head, _, _ = answer(state.config, shape, layer.weight, x)
        out.append(head)
    return out


def run(state: NetState, x: Sequence[int], label: int | None = None) -> list[int]:
    """One pass: joined log2-probabilities, Q16. With a label each layer learns before it hands on."""
    config = state.config
    shapes = config.shapes
    joined = [0] * config.n_classes
    gate = round_shift(config.gate * config.kappa, 8)
    for index, layer in enumerate(state.layers):
        u, head, norm, routes = answer(config, shapes[index], layer.weight, x)
        cosine = cosines(config, layer, head)
        logit = logits(config, cosine)
        if config.join != "last" or index + 1 == config.n_layers:
            weight = config.join_weight[index] if config.join == "weighted" else 256
            total = logsumexp(logit)
            joined = [a + round_shift((v - total) * weight, 8) for a, v in zip(joined, logit, strict=True)]
        if label is not None and index >= state.first_layer:
            if layer.norm_sum == 0:
                layer.norm_sum = norm << 10
            else:
                layer.norm_sum += norm - (layer.norm_sum >> 10)
            lead = logit[label] - max(v for c, v in enumerate(logit) if c != label)
            if lead < gate:
                layer.updates += 1
                e = error(config, cosine, logit, label)
                t = gradient(layer, head, cosine, e)
                if shapes[index].conv is None:
                    learn_weights(state, index, x, u, t, norm)
                else:
                    learn_conv(state, index, x, u, routes, t, norm)
                learn_prototypes(config, layer, head, e)
        x = u
    return joined


def predict(state: NetState, x: Sequence[int]) -> int:
    """The class of x; ties go to the lower one."""
    scores = run(state, x)
    return scores.index(max(scores))


def train(state: NetState, x: Sequence[int], label: int) -> int:
    """One step; returns the class given before it."""
    scores = run(state, x, label)
    state.step = state.step + 1 & U32
    return scores.index(max(scores))
