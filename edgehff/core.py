"""The compiled C core: arrays in, arrays out, statuses become exceptions. The only user of edgehff._ffi.

Every array is checked here for dtype, dimensions and contiguity, and never converted silently.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff._ffi import ffi, lib
from edgehff.errors import CoreError, EdgehffError, ModelFileError, ShapeError
from edgehff.geometry import KINDS, POOLS, LayerShape
from edgehff.recipe import CoreConfig
from edgehff.recipe_check import ARITHS, FEATURES, JOINS

ABI_VERSION = 4
ONE = int(lib.EHFF_ONE)
MAX_DIM = int(lib.EHFF_MAX_DIM)
MAX_CLASSES = int(lib.EHFF_MAX_CLASSES)
RAW_TYPES = ("uint8", "int8", "int16")
WEIGHT_DTYPE: dict[str, np.dtype[Any]] = {"int8": np.dtype(np.int8), "int16": np.dtype(np.int16)}

if lib.ehff_abi_version() != ABI_VERSION:  # pragma: no cover
    raise EdgehffError(
        f"the compiled core has ABI {lib.ehff_abi_version()}, this Python expects {ABI_VERSION}",
        hint="install edgehff again: pip install --force-reinstall edgehff",
    )

_INPUT_ERRORS: dict[int, type[EdgehffError]] = {
    -2: ShapeError,
    -3: ShapeError,
    -6: ShapeError,
    -7: ShapeError,
}
_FORMAT_ERRORS = (-8, -9)


def status_text(status: int) -> str:
    """What a status of the core means."""
    return str(ffi.string(lib.ehff_status_text(status)).decode())


def _call(name: str, *arguments: Any) -> None:
    status = getattr(lib, name)(*arguments)
    if status == 0:
        return
    text = status_text(status)
    if status in _INPUT_ERRORS:
        raise _INPUT_ERRORS[status](
            f"{name}: {text}", hint="compare the shapes, labels and ranges with the model's"
        )
    if status in _FORMAT_ERRORS:
        raise ModelFileError(f"{name}: {text}", hint="take the file from its source again")
    raise CoreError(name, status, text)


def _array(name: str, value: Any, dtype: Any, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """Value itself, where it is a C-contiguous array of this dtype and shape (None: any length)."""
    wanted = np.dtype(dtype)
    if not isinstance(value, np.ndarray) or value.dtype != wanted:
        found = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        raise ShapeError(
            f"{name} is {found}, {wanted} is needed", hint=f"convert it: np.asarray(..., np.{wanted})"
        )
    if value.ndim != len(shape) or any(
        n is not None and n != m for n, m in zip(shape, value.shape, strict=True)
    ):
        want = tuple("any" if n is None else n for n in shape)
        raise ShapeError(
            f"{name} has shape {value.shape}, {want} is needed", hint="compare it with the model's sizes"
        )
    return np.ascontiguousarray(value)


def _pointer(ctype: str, array: NDArray[Any]) -> Any:
    return ffi.from_buffer(ctype, array) if array.size else ffi.NULL


def _c_conv(c: CoreConfig) -> Any:
    """The table of convolutions, or NULL where all layers are dense."""
    if not c.conv:
        return ffi.NULL
    table = ffi.new("ehff_conv[]", c.n_layers)
    for i, (layer, entry) in enumerate(zip(c.shapes, table, strict=True)):
        if layer.conv is None:
            continue
        if i == 0 and layer.map_in is not None:
            entry.in_h, entry.in_w, entry.in_c = layer.map_in
        entry.kind = 1 + KINDS.index(layer.conv.kind)
        entry.pool = POOLS.index(layer.conv.pool)
        entry.kernel_h, entry.kernel_w = layer.conv.kernel
        entry.stride_h, entry.stride_w = layer.conv.stride
        entry.pad_h, entry.pad_w = layer.conv.padding
        entry.pool_h, entry.pool_w = layer.conv.pool_size
        entry.grid_h, entry.grid_w = layer.conv.grid
    return table


def _c_config(c: CoreConfig) -> tuple[Any, list[Any]]:
    dims = ffi.new("uint32_t[]", list(c.dims))
    join_weight = ffi.new("uint16_t[]", list(c.join_weight) or [256] * c.n_layers)
    config = ffi.new("ehff_config *")
    conv = _c_conv(c)
    config.dims, config.join_weight, config.conv = dims, join_weight, conv
    config.n_layers = c.n_layers
    config.recipe = ARITHS.index(c.arith)
    config.join = JOINS.index(c.join)
    config.flags = int(lib.EHFF_CAP) * c.cap + int(lib.EHFF_REVIVE) * c.revive
    for name in ("proto_bits", "n_classes", "n_per_class", "kappa", "margin", "gate", "lr_w", "lr_p", "seed"):
        try:
            setattr(config, name, getattr(c, name))
        except OverflowError as error:
            raise ShapeError(
                f"{name} = {getattr(c, name)} does not fit the core's field", hint="see ehff.h"
            ) from error
    return config, [dims, join_weight, conv]


def sizes(config: CoreConfig) -> dict[str, int]:
    """Bytes of a network by part, as the core enforces them: ehff_sizes. ShapeError where invalid."""
    c, _keep = _c_config(config)
    out = ffi.new("ehff_sizes *")
    _call("ehff_net_sizes", c, out)
    return _size_fields(out)


def _size_fields(out: Any) -> dict[str, int]:
    names = ("state_bytes", "weight_bytes", "proto_bytes", "scratch_bytes", "ram_bytes", "blob_bytes")
    return {name: int(getattr(out, name)) for name in names}


class Net:
    """A live network in one arena of the C core.

    Inputs are int16 Q14 unit vectors, shape (n_samples, n_in); labels uint16, shape (n_samples,).
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        self._arena, self._net = self._allocate(sizes(config)["ram_bytes"])
        c, _keep = _c_config(config)
        _call("ehff_net_init", c, self._arena, len(self._arena) * 4, self._net)

    @staticmethod
    def _allocate(n_bytes: int) -> tuple[Any, Any]:
        return ffi.new("uint32_t[]", (n_bytes + 3) // 4), ffi.new("ehff_net **")

    @property
    def _shapes(self) -> tuple[LayerShape, ...]:
        return self.config.shapes

    def train(self, x: NDArray[np.int16], labels: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """One step per row, in order. Returns the classes given before each step. ShapeError at a bad row."""
        x = _array("x", x, np.int16, (None, self.config.dims[0]))
        labels = _array("labels", labels, np.uint16, (len(x),))
        out = np.empty(len(x), np.uint16)
        if len(x):
            _call(
                "ehff_net_train_rows", self._net[0], _pointer("int16_t[]", x), len(x), x.shape[1],
                _pointer("uint16_t[]", labels), _pointer("uint16_t[]", out),
            )  # fmt: skip
        return out

    def predict(self, x: NDArray[np.int16]) -> NDArray[np.uint16]:
        """The class of each row."""
        return self._predict(x, None)

    def scores(self, x: NDArray[np.int16]) -> NDArray[np.int32]:
        """Joined log2-probabilities, Q16, shape (n_samples, n_classes)."""
        out = np.empty((len(x), self.config.n_classes), np.int32)
        self._predict(x, out)
        return out

    def _predict(self, x: NDArray[np.int16], scores: NDArray[np.int32] | None) -> NDArray[np.uint16]:
        x = _array("x", x, np.int16, (None, self.config.dims[0]))
        out = np.empty(len(x), np.uint16)
        if len(x):
            target = ffi.NULL if scores is None else _pointer("int32_t[]", scores)
            _call(
                "ehff_net_predict_rows", self._net[0], _pointer("int16_t[]", x), len(x), x.shape[1],
                _pointer("uint16_t[]", out), target,
            )  # fmt: skip
        return out

    def layer_scores(self, x: NDArray[np.int16]) -> NDArray[np.int32]:
        """Each layer's class logits kappa * S, base 2, Q16: shape (n_samples, n_layers, n_classes)."""
        x = _array("x", x, np.int16, (None, self.config.dims[0]))
        out = np.empty((len(x), self.config.n_layers, self.config.n_classes), np.int32)
        for row, target in zip(x, out, strict=True):
            _call(
                "ehff_net_layer_scores", self._net[0], _pointer("int16_t[]", row), len(row),
                _pointer("int32_t[]", target.reshape(-1)),
            )  # fmt: skip
        return out

    def directions(self, x: NDArray[np.int16]) -> list[NDArray[np.int16]]:
        """What each layer's prototypes see: unit vectors in Q14, one array (n_samples, head) a layer."""
        x = _array("x", x, np.int16, (None, self.config.dims[0]))
        heads = [shape.head for shape in self._shapes]
        out = np.empty((len(x), sum(heads)), np.int16)
        for row, target in zip(x, out, strict=True):
            _call(
                "ehff_net_directions", self._net[0], _pointer("int16_t[]", row), len(row),
                _pointer("int16_t[]", target),
            )  # fmt: skip
        ends = np.cumsum(heads)
        return [out[:, end - n : end] for n, end in zip(heads, ends, strict=True)]

    def set_rates(self, lr_w: int, lr_p: int) -> None:
        """Rates of weights (Q16) and prototypes (Q14)."""
        _call("ehff_net_set_rates", self._net[0], lr_w, lr_p)

    def set_first_layer(self, first_layer: int) -> None:
        """Layers below this one answer but do not learn."""
        _call("ehff_net_set_first_layer", self._net[0], first_layer)

    def set_gate(self, gate: int) -> None:
        """A layer learns while its own class leads by less than this, cosine Q14; 65535 for always."""
        _call("ehff_net_set_gate", self._net[0], gate)

    def reset(self, seed: int) -> None:
        """Start again in the same shape: values drawn from this seed, no step taken, all layers learn."""
        _call("ehff_net_reset", self._net[0], seed)

    def add_class(self) -> None:
        """One class more, its prototypes drawn as a fresh network's; all else keeps its bits."""
        config = replace(self.config, n_classes=self.config.n_classes + 1)
        arena, net = self._allocate(sizes(config)["ram_bytes"])
        ffi.memmove(arena, self._arena, len(self._arena) * 4)
        net[0] = ffi.cast("ehff_net *", arena)
        _call("ehff_net_add_class", net[0], len(arena) * 4)
        self.config, self._arena, self._net = config, arena, net

    def model_bytes(self, encoder: Encoder | None = None) -> int:
        """Arena of the network with its encoder, as a board keeps them: ehff_model_bytes."""
        return int(lib.ehff_model_bytes(self._net[0], ffi.NULL if encoder is None else encoder._c))

    @property
    def step(self) -> int:
        """Training steps taken."""
        out = ffi.new("uint32_t *")
        _call("ehff_net_get_step", self._net[0], out)
        return int(out[0])

    @step.setter
    def step(self, value: int) -> None:
        _call("ehff_net_set_step", self._net[0], value)

    def weights(self, layer: int) -> NDArray[Any]:
        """A view of a layer's weights, int8 or int16: writing it writes the network.

        Shape (n_out, n_in) of the layer's matrix; a convolution's rows are its channels, and their elements
        its kernel: (height, width, channels), flat.
        """
        shape = self._shapes[layer]
        dtype = WEIGHT_DTYPE[self.config.arith]
        return self._view(lib.ehff_net_weights(self._net[0], layer), dtype, (shape.n_out, shape.n_in))

    def prototypes(self, layer: int) -> NDArray[Any]:
        """A view of a layer's prototypes, shape (n_classes, n_per_class, head), int16 Q14 or int8.

        head is n_out; of a convolution (cells of its grid, channels), flat.
        """
        c = self.config
        dtype = np.dtype(np.int16 if c.proto_bits == 16 else np.int8)
        shape = (c.n_classes, c.n_per_class, self._shapes[layer].head)
        return self._view(lib.ehff_net_protos(self._net[0], layer), dtype, shape)

    def prototype_scales(self, layer: int) -> NDArray[np.uint16]:
        """A view of the scales of int8 prototypes, shape (n_classes, n_per_class): Q8 steps of Q14."""
        shape = (self.config.n_classes, self.config.n_per_class)
        return self._view(lib.ehff_net_proto_scales(self._net[0], layer), np.dtype(np.uint16), shape)

    def _view(self, pointer: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        if pointer == ffi.NULL:
            raise ShapeError(
                "the network has no such part", hint="layers count from 0; int8 prototypes have scales"
            )
        # The buffer holds the arena: a view outlives this object safely.
        start = int(ffi.cast("uintptr_t", pointer)) - int(ffi.cast("uintptr_t", self._arena))
        whole = np.frombuffer(ffi.buffer(self._arena), np.uint8)
        return whole[start : start + int(np.prod(shape)) * dtype.itemsize].view(dtype).reshape(shape)

    def norm_sum(self, layer: int) -> int:
        """1024 times the running mean of |y|, Q8: the layer's only state besides its arrays."""
        out = ffi.new("uint32_t *")
        _call("ehff_net_get_norm_sum", self._net[0], layer, out)
        return int(out[0])

    def set_norm_sum(self, layer: int, value: int) -> None:
        """Put the running mean of |y| back, as norm_sum gave it."""
        _call("ehff_net_set_norm_sum", self._net[0], layer, value)

    def check(self) -> None:
        """ShapeError where a weight or prototype exceeds what sums are proved for. Call after writing."""
        _call("ehff_net_check", self._net[0])

    def layer_stats(self, layer: int) -> dict[str, int]:
        """updates, saturated weights, running mean of |y| (Q8) and widths of a layer."""
        out = ffi.new("ehff_layer_stats *")
        _call("ehff_net_layer_stats", self._net[0], layer, out)
        return {name: int(getattr(out, name)) for name in ("n_in", "n_out", "updates", "saturated", "norm")}

    @property
    def weights_crc32(self) -> int:
        """CRC-32 of weights and prototypes: names the model."""
        return int(lib.ehff_net_weights_crc32(self._net[0]))

    @property
    def state_crc32(self) -> int:
        """CRC-32 of the whole learned state."""
        return int(lib.ehff_net_state_crc32(self._net[0]))

    def copy(self) -> Net:
        """An independent network in the same state."""
        twin = object.__new__(Net)
        twin.config = self.config
        twin._arena, twin._net = self._allocate(len(self._arena) * 4)
        ffi.memmove(twin._arena, self._arena, len(self._arena) * 4)
        twin._net[0] = ffi.cast("ehff_net *", twin._arena)
        return twin

    def save_blob(self, encoder: Encoder | None = None) -> bytes:
        """The network, and the encoder where given, as the board's blob (firmware_bridge/MODEL_FORMAT.md)."""
        e = ffi.NULL if encoder is None else encoder._c
        n = int(lib.ehff_net_blob_bytes(self._net[0], e))
        out = np.empty(n, np.uint8)
        _call("ehff_net_save", self._net[0], e, _pointer("uint8_t[]", out), n)
        return out.tobytes()

    def _shape_bytes(self, net: Any) -> bytes:
        """Of the blob of net: version, number of layers, and the table of convolutions if there is one."""
        n = 36 * self.config.n_layers if self.config.conv else 0
        out = ffi.new("uint8_t[]", 3 + n)
        _call("ehff_blob_read", net, ffi.NULL, 4, out, 3)
        _call("ehff_blob_read", net, ffi.NULL, 60 + 16 * self.config.n_layers, out + 3, n)
        return bytes(ffi.buffer(out))

    def load_blob(self, blob: bytes) -> None:
        """Take over a blob's network of equal sizes. ModelFileError: it is damaged, and nothing changed."""
        data = ffi.from_buffer("uint8_t[]", blob)
        found = ffi.new("ehff_sizes *")
        _call("ehff_blob_sizes", data, len(blob), found, ffi.NULL)
        fresh = self.copy()
        if _size_fields(found) == sizes(self.config) | {"blob_bytes": int(found.blob_bytes)}:
            _call("ehff_net_load", data, len(blob), fresh._arena, len(fresh._arena) * 4, fresh._net)
            found_sizes = [fresh.layer_stats(i) for i in range(self.config.n_layers)]
            same = [(s.n_in, s.n_out) for s in self._shapes] == [(f["n_in"], f["n_out"]) for f in found_sizes]
            if same and self._shape_bytes(fresh._net[0]) == self._shape_bytes(self._net[0]):
                ffi.memmove(self._arena, fresh._arena, len(fresh._arena) * 4)
                return
        raise ModelFileError(
            "the blob holds a network of another shape", hint="make a Net of its shape first"
        )


class Encoder:
    """Raw samples to Q14 unit vectors, in the C core.

    raw: "uint8", "int8" or "int16".  shape: (n_time, n_channels) of a window, or (n_values, 1).
    features: () for one feature per value, else of "mav", "rms", "wl".
    segments: parts of a window; of plain values with a bias, which then stands behind each part.
    offset, gain: int32 and uint16 a feature without the bias, or None; z = (f - offset) * gain >> gain_shift.
    """

    def __init__(
        self,
        raw: str,
        shape: tuple[int, int],
        *,
        features: tuple[str, ...] = (),
        segments: int = 1,
        log: bool = False,
        bias: int = 0,
        offset: NDArray[np.int32] | None = None,
        gain: NDArray[np.uint16] | None = None,
        gain_shift: int = 0,
    ) -> None:
        self.raw, self.shape, self.features, self.segments = raw, shape, features, segments
        self.log, self.bias, self.offset, self.gain, self.gain_shift = log, bias, offset, gain, gain_shift
        if raw not in RAW_TYPES or len(set(features)) < len(features) or not set(features) <= set(FEATURES):
            raise ShapeError(
                f"an encoder of {raw} samples with features {features}",
                hint=f"raw: {', '.join(RAW_TYPES)}; features, each once: {', '.join(FEATURES)}",
            )
        self._c = ffi.new("ehff_encoder *")
        self._c.raw = RAW_TYPES.index(raw)
        self._c.kind = int(lib.EHFF_ENC_WINDOW if features else lib.EHFF_ENC_PLAIN)
        self._c.features = sum(1 << FEATURES.index(name) for name in features)
        self._c.log, self._c.bias, self._c.gain_shift = log, bias, gain_shift
        try:
            self._c.n_time, self._c.n_channels, self._c.n_segments = shape[0], shape[1], segments
        except OverflowError as error:
            raise ShapeError(
                f"a window of {shape} is too large", hint="at most 65,536 values a sample"
            ) from error
        self._keep: list[Any] = []
        out = [ffi.new("uint32_t *") for _ in range(3)]
        _call("ehff_encoder_sizes", self._c, *out)
        self.n_raw, self.n_features, self._scratch_bytes = (int(v[0]) for v in out)
        if offset is not None and gain is not None:
            n = self.n_features - self._n_biases
            self._keep = [_array("offset", offset, np.int32, (n,)), _array("gain", gain, np.uint16, (n,))]
            self._c.offset = _pointer("int32_t[]", self._keep[0])
            self._c.gain = _pointer("uint16_t[]", self._keep[1])
            _call("ehff_encoder_sizes", self._c, *out)

    @property
    def _n_biases(self) -> int:
        """Constant features: one, or of plain values one behind each segment."""
        return 0 if self.bias == 0 else 1 if self.features else self.segments

    @property
    def ram_bytes(self) -> int:
        """Scratch of one call."""
        return self._scratch_bytes

    @property
    def table_bytes(self) -> int:
        """Offsets and gains: flash on a board."""
        return 0 if self.offset is None else 6 * len(self.offset)

    def encode(self, raw: NDArray[Any]) -> NDArray[np.int16]:
        """raw: (n_samples, ...) of the encoder's dtype. Returns int16 Q14, shape (n_samples, n_features)."""
        flat = self._flat(raw)
        out = np.empty((len(flat), self.n_features), np.int16)
        scratch = ffi.new("uint32_t[]", (self._scratch_bytes + 3) // 4)
        if len(flat):
            _call(
                "ehff_encode_rows", self._c, ffi.from_buffer(flat), len(flat), self.n_raw, scratch,
                self._scratch_bytes, _pointer("int16_t[]", out),
            )  # fmt: skip
        return out

    def raw_features(self, raw: NDArray[Any]) -> NDArray[np.int32]:
        """Features before standardization, int32, shape (n_samples, n_features without bias)."""
        flat = self._flat(raw)
        out = np.empty((len(flat), self.n_features - self._n_biases), np.int32)
        for row, target in zip(flat, out, strict=True):
            _call(
                "ehff_encode_features",
                self._c,
                ffi.from_buffer(row),
                self.n_raw,
                _pointer("int32_t[]", target),
            )
        return out

    def _flat(self, raw: NDArray[Any]) -> NDArray[Any]:
        flat = raw.reshape(len(raw), -1) if isinstance(raw, np.ndarray) and raw.ndim > 2 else raw
        return _array("raw", flat, self.raw, (None, self.n_raw))


def unit(values: NDArray[np.int32]) -> NDArray[np.int16]:
    """Values / |values| in Q14, shape (n,), |values[i]| <= 2^30; a zero vector gives zero."""
    values = _array("values", values, np.int32, (None,))
    out = np.empty(len(values), np.int16)
    root, shift = ffi.new("uint32_t *"), ffi.new("int32_t *")
    _call("ehff_unit", _pointer("int32_t[]", values), len(values), _pointer("int16_t[]", out), root, shift)
    return out
