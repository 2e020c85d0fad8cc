"""Models to export, one for each thing that an exporter can get wrong; each is made once a process."""

from functools import cache

import numpy as np

from edgehff.core import Net
from edgehff.data.dataset import Dataset, from_arrays
from edgehff.data.sources import load
from edgehff.data.split import train_test
from edgehff.export.forms import FORMS, Exported, Proof, proof_of
from edgehff.export.verify import Parity
from edgehff.geometry import ConvLayer
from edgehff.model.encoding import Encoding
from edgehff.model.float_network import FloatLayer, FloatNetwork
from edgehff.model.network import Network
from edgehff.recipe import EncoderRecipe, Recipe
from edgehff.train.local import trained

ROWS = 60


def blobs(shape, raw="int8", n_classes=3, n=90, size=12.0, center=0.0, seed=0, octaves=0):
    """A data set of n_classes clouds; the last third of its rows is for testing.

    octaves: channel by channel, samples are quieter by up to so many powers of two. Where logarithms are
    taken, values must spread: the core's log2 is good to 12 steps of 2^-16, and a graph's is another one.
    """
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    x = size * (rng.normal(size=(n, *shape)) + rng.normal(size=(n_classes, *shape))[y])
    x = center + x * 2.0 ** -rng.uniform(0, octaves, (n, *(1 for _ in shape[1:]), shape[-1]))
    if raw != "float32":
        x = x.round().clip(np.iinfo(raw).min, np.iinfo(raw).max)
    return from_arrays("blobs", x.astype(raw), y, is_test=np.arange(n) >= 2 * n // 3)


def train_rows(data):
    return data.rows(train_test(data)[0])


def spiked(raw="int16"):
    """Small values, and one so large that all others are left with few steps."""
    data = blobs((12,), raw, size=9.0)
    data.x[5, 3] = 30000
    return data


def loud_floats():
    """Floats, and a test row that lies far outside of the training rows."""
    data = blobs((10,), "float32", size=1.0)
    data.x[-1, ::2] = 40.0
    return data


WINDOW = {"features": ("mav", "rms", "wl"), "segments": 5, "log": True}
DATA = {
    "digits": lambda: load("digits"),
    "emg": lambda: load("emg-gestures"),
    "int8": lambda: blobs((12,)),
    "spiked": spiked,
    "ticks": lambda: spiked("float32"),
    "floats": loud_floats,
}
MODELS = {
    "plain": ("digits", Recipe(layers=(24, 16), data="digits")),
    "equal": ("digits", Recipe(layers=(16, 16, 16), arith="int8")),
    "k3": ("digits", Recipe(layers=(24, 16), prototypes_per_class=3, scale=12.0)),
    "weighted": ("digits", Recipe(layers=(24, 16), join="weighted", join_weights=(0.5, 2.0))),
    "deep": ("digits", Recipe(layers=(24,) * 16)),
    "last": ("digits", Recipe(layers=(24, 16), join="last")),
    "bias": ("digits", Recipe(layers=(24, 16), encoder=EncoderRecipe(standardize=True, bias=4096))),
    "windows": ("emg", Recipe(layers=(24, 16), encoder=EncoderRecipe(**WINDOW, standardize=True))),
    "logs": ("int8", Recipe(layers=(16, 8), encoder=EncoderRecipe(log=True))),
    "spiked": ("spiked", Recipe(layers=(16, 8), encoder=EncoderRecipe(center=True))),
    "ticks": ("ticks", Recipe(layers=(16, 8))),
    "floats": ("floats", Recipe(layers=(16, 8), encoder=EncoderRecipe(standardize=True))),
    "maps": (  # 7 rows in windows of 2 leave one over; 3 rows in a grid of 2 cells
        "digits",
        Recipe(
            layers=(),
            input_shape=(8, 8, 1),
            conv=(
                ConvLayer(6, kernel=(2, 2), padding=(0, 0), pool="max", pool_size=(2, 2), grid=(2, 2)),
                ConvLayer(10, grid=(3, 3)),
            ),
        ),
    ),
    "signals": (  # one dimension, eight channels
        "emg",
        Recipe(
            layers=(),
            arith="int8",
            input_shape=(1, 50, 8),
            conv=(
                ConvLayer(
                    12,
                    kernel=(1, 5),
                    stride=(1, 2),
                    padding=(0, 2),
                    pool="mean",
                    pool_size=(1, 3),
                    grid=(1, 3),
                ),
                ConvLayer(10, kernel=(1, 3), padding=(0, 1), grid=(1, 2)),
            ),
            encoder=EncoderRecipe(standardize=True),
        ),
    ),
    "depthwise": (  # over maps that are no squares
        "digits",
        Recipe(
            layers=(),
            prototypes_per_class=3,
            scale=12.0,
            join="last",
            input_shape=(8, 8, 1),
            conv=(
                ConvLayer(8, kernel=(3, 2), stride=(1, 2), padding=(2, 0)),
                ConvLayer(8, "depthwise", pool="mean", pool_size=(2, 1), grid=(2, 1)),
                ConvLayer(12, kernel=(1, 1), padding=(0, 0), grid=(2, 1)),
            ),
        ),
    ),
    "parts": (
        "digits",
        Recipe(layers=(16, 12), encoder=EncoderRecipe(standardize=True, bias=4096, segments=4)),
    ),
    "mixed": (  # a constant channel, and dense layers behind a map of 4 x 2 x 5
        "digits",
        Recipe(
            layers=(24, 16),
            input_shape=(8, 8, 2),
            conv=(ConvLayer(5, kernel=(3, 5), pool="max", pool_size=(2, 3)),),
            encoder=EncoderRecipe(standardize=True, bias=4096, segments=64),
        ),
    ),
}
"""Name to data and recipe."""


@cache
def data(name: str) -> Dataset:
    return DATA[name]()


@cache
def model(name: str) -> Network | FloatNetwork:
    if name in DERIVED:
        of, change = DERIVED[name]
        return change(model(of))
    of, recipe = MODELS[name]
    return trained(recipe.replace(epochs=2), train_rows(data(of)))


@cache
def proof(name: str) -> Proof:
    of = MODELS[DERIVED.get(name, (name,))[0]][0]
    whole = proof_of(model(name), data(of))
    n = min(ROWS, whole.n_rows)
    raw = np.concatenate([whole.raw[whole.n_rows - n : whole.n_rows], whole.raw[whole.n_rows :]])
    return Proof(whole.network, raw, n, whole.rows)


@cache
def built(name: str, form: str, max_batch: int = 1) -> Exported:
    return FORMS[form].build(model(name), max_batch)


def parity(name: str, form: str, max_batch: int = 1) -> Parity:
    return proof(name).check_built(built(name, form, max_batch))


def file_of(folder, name, form, max_batch=1):
    """The model as a file in folder."""
    path = folder / f"{name}{FORMS[form].suffix}"
    path.write_bytes(built(name, form, max_batch).data)
    return path


def floated(network: Network) -> FloatNetwork:
    """A float network of the same weights and prototypes, at another scale."""
    layers = tuple(
        FloatLayer((w.weight / 4096).astype(np.float32), (w.prototypes / 16384).astype(np.float32))
        for w in network.layers
    )
    return FloatNetwork(network.recipe.replace(arith="float"), network.class_names, network.encoding, layers)


DERIVED = {
    "small": ("plain", Network.with_int8_prototypes),
    "float": ("plain", floated),
    "small-maps": ("depthwise", Network.with_int8_prototypes),
    "float-maps": ("mixed", floated),
}
"""Name to the model that it is made of, and how."""

CONV = ("maps", "signals", "depthwise", "mixed", "small-maps", "float-maps")
ALL = (*MODELS, *DERIVED)


def fresh(layers, n_raw, n_classes=10, raw="uint8", **changes) -> Network:
    """A network as it is before it has learned."""
    recipe = Recipe(layers=layers, **changes)
    encoding = Encoding(raw, (n_raw, 1))
    names = [f"class {c}" for c in range(n_classes)]
    return Network.from_core(Net(recipe.core_config(n_raw, n_classes)), recipe, names, encoding)


def fresh_windows(shape, features):
    """A network over windows as it is before it has learned."""
    recipe = Recipe(layers=(12, 10))
    encoding = Encoding("int8", shape, features=tuple(features), segments=2)
    net = Net(recipe.core_config(encoding.n_features, 3))
    return Network.from_core(net, recipe, ["0", "1", "2"], encoding)
