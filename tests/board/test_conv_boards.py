"""Convolutions on emulated boards: the golden vectors over the serial line, and training on digits."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Data, network_of
from test_boards import EMULATED

from edgehff.core import Net, unit
from edgehff.data.sources import load
from edgehff.geometry import ConvLayer
from edgehff.recipe import CoreConfig
from firmware_bridge.boards import board
from firmware_bridge.build import factory_blob
from firmware_bridge.client import Device
from firmware_bridge.emulator import emulated

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from vector_cases import expand  # noqa: E402 (a tool, not a package)

VECTORS = json.loads((ROOT / "tests" / "vectors" / "convolutions.json").read_text(encoding="utf-8"))


def config_of(plain):
    """The configuration of a vector."""
    conv = [
        ConvLayer(**{k: tuple(v) if isinstance(v, list) else v for k, v in c.items()}) for c in plain["conv"]
    ]
    lists = {k: tuple(v) for k, v in plain.items() if isinstance(v, list)}
    return CoreConfig(**(plain | lists | {"conv": tuple(conv)}))


def start_of(case):
    """The network that a vector starts from, and its inputs with labels."""
    net = Net(config_of(case["config"]))
    for i, rule in enumerate(case.get("weights", [])):
        net.weights(i)[:] = np.reshape(expand(rule, net.weights(i).size), net.weights(i).shape)
    for i, rules in enumerate(case.get("prototypes", [])):
        rows = net.prototypes(i).reshape(-1, net.prototypes(i).shape[-1])
        for p, row in enumerate(rows):
            row[:] = expand(rules[min(p, len(rules) - 1)], len(row))
    for i, rule in enumerate(case.get("scales", [])):
        net.prototype_scales(i).ravel()[:] = expand(rule, net.prototype_scales(i).size)
    net.set_first_layer(case.get("first_layer", 0))
    n = net.config.dims[0]
    samples = [(unit(np.array(expand(s["a"], n), np.int32)), s["label"]) for s in case["samples"]]
    return net, samples


def runs_every_vector(name, elf):
    """Push, train and ask; every state is the oracle's."""
    with Device(emulated(board(name), elf), patience=20, deadline=60) as device:
        device.connect(30)
        for case in VECTORS["networks"]:
            net, samples = start_of(case)
            device.push(net.save_blob())
            steps = [samples[i % len(samples)] for i in range(case["steps"])]
            predicted = list(device.train(steps)) if steps else []
            want = case["expected"]
            assert predicted == want["predictions"].get("values", predicted), case["name"]
            crcs = tuple(int(want[f"{what}_crc32"], 16) for what in ("weights", "state"))
            assert device.crc() == crcs, case["name"]
            x, _ = samples[case["steps"] % len(samples)]
            assert list(device.predict([x])) == [want["answer"]], case["name"]


@pytest.fixture(scope="module")
def roomy():
    """Options of firmware that every vector fits."""
    arena = max(start_of(case)[0].model_bytes() for case in VECTORS["networks"])
    return {"arena_bytes": (arena + 3) // 4 * 4, "frame_bytes": 320, "factory": b"", "runner": False}


def options(name, roomy):
    return roomy | {"ring_bytes": 512 if board(name).ring else 0}


def test_every_vector_on_this_machine(firmware, roomy):
    runs_every_vector("host_pty", firmware("host_pty", **options("host_pty", roomy)))


@pytest.mark.qemu
@pytest.mark.parametrize("name", EMULATED)
def test_every_vector_on_a_board(name, firmware, roomy):
    runs_every_vector(name, firmware(name, **options(name, roomy)))


@pytest.fixture(scope="module")
def maps():
    """maps(arith): digits through two convolutions and a dense layer."""
    whole = load("digits")
    rows = whole.rows(~whole.is_test)
    made = {}

    def of(arith):
        if arith not in made:
            conv = (
                ConvLayer(8, pool="max", pool_size=(2, 2), grid=(2, 2)),
                ConvLayer(8, "depthwise", pool="mean", pool_size=(2, 2), padding=(1, 1)),
            )
            network = network_of(rows, (12,), arith, conv=conv, input_shape=(8, 8, 1))
            made[arith] = Data(network, factory_blob(network), rows.x, rows.y)
        return made[arith]

    return of


@pytest.mark.qemu
@pytest.mark.parametrize("arith", ["int8", "int16"])
@pytest.mark.parametrize("name", ["mps2-an386", "mps3-an547"])
def test_a_board_trains_convolutions_to_the_hosts_bits(name, arith, firmware, maps):
    data = maps(arith)
    host, pairs, tests = data.host(), data.pairs(150), data.pairs(20, start=1000)
    with Device(emulated(board(name), firmware(name, data.network)), patience=20, deadline=60) as device:
        device.connect(30)
        assert device.crc() == host.crc  # what the firmware was built with
        assert list(device.train(pairs)) == host.train(pairs)
        assert device.crc() == host.crc
        assert list(device.predict(raw for raw, _ in tests)) == host.predict(tests)
        assert device.pull() == host.saved()
        assert device.stats(0).updates == host.net.layer_stats(0)["updates"] > 20
        device.push(data.blob)
        assert device.crc() == data.host().crc
