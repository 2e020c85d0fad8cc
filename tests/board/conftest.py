"""Firmware built once a session, the host's copy of the model, and a time limit for each test here."""

import os
import shutil
import signal
import sys
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from edgehff.core import Net
from edgehff.data.sources import load
from edgehff.errors import MissingToolError
from edgehff.model.encoding import fit_encoding
from edgehff.model.network import Network
from edgehff.recipe import Recipe
from firmware_bridge import line, timing
from firmware_bridge.boards import board
from firmware_bridge.build import build, factory_blob, options_for, require_tool

sys.path.insert(0, str(Path(__file__).parent))

LIMIT_S = 120
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Each test ends in limit_s seconds (an attribute of its function), whatever it waits for."""
    limit = getattr(item.function, "limit_s", LIMIT_S)

    def over(*_):
        raise TimeoutError(f"{item.name} took more than {limit} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(limit)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@dataclass
class Data:
    """Training rows, and the network that boards start with."""

    network: Network
    blob: bytes
    x: np.ndarray
    y: np.ndarray

    def pairs(self, n, start=0):
        at = [i % len(self.x) for i in range(start, start + n)]
        return [(self.x[i].reshape(-1), int(self.y[i])) for i in at]

    def host(self):
        return Host(self.network, self.blob)


class Host:
    """What a board should hold and answer."""

    def __init__(self, network, blob):
        self.net = network.to_core()
        self.net.load_blob(blob)
        self._network, self._blob = network, blob
        self.encoder = network.encoding.to_core()

    def train(self, pairs):
        x = self.encoder.encode(np.stack([raw for raw, _ in pairs]))
        return self.net.train(x, np.array([label for _, label in pairs], np.uint16)).tolist()

    def predict(self, pairs):
        return self.net.predict(self.encoder.encode(np.stack([raw for raw, _ in pairs]))).tolist()

    def after(self, pairs):
        """Its state_crc32 after each number of these rows, from 0 on."""
        return [self.net.state_crc32, *(self.train([pair]) and self.net.state_crc32 for pair in pairs)]

    @property
    def crc(self):
        return self.net.weights_crc32, self.net.state_crc32

    def saved(self):
        return self.net.save_blob(self.encoder)


def network_of(rows, layers=(16,), arith="int8", **changes):
    """A network that has not learned, and its encoder."""
    recipe = Recipe(layers=layers, arith=arith, data="digits", **changes)
    encoding = fit_encoding(rows.x, recipe.encoder)
    net = Net(recipe.core_config(encoding.n_features, rows.n_classes))
    return Network.from_core(net, recipe, rows.class_names, encoding)


@cache
def digits():
    whole = load("digits")
    rows = whole.rows(~whole.is_test)
    network = network_of(rows)
    return Data(network, factory_blob(network), rows.x, rows.y)


@pytest.fixture(scope="session")
def data():
    return digits()


@pytest.fixture(scope="session")
def firmware(tmp_path_factory):
    """firmware(name, **options) is its ELF file, built once; skips where a tool is missing."""
    made = {}
    lock = threading.Lock()

    def built(name, network=None, **options):
        key = (name, id(network), *sorted(options.items()))
        with lock:
            if key not in made:
                machine = board(name)
                try:
                    if machine.toolchain:
                        require_tool(machine.emulator[0], machine.emulator_package)
                    folder = tmp_path_factory.mktemp(name)
                    chosen = options_for(machine, network or digits().network, **options)
                    flags = () if machine.toolchain else SANITIZE
                    made[key] = build(machine, chosen, folder / "firmware.elf", extra_flags=flags)
                except MissingToolError as error:
                    pytest.skip(error.message)
            return made[key]

    return built


@pytest.fixture(scope="session", autouse=True)
def sanitizer(tmp_path_factory):
    """What a sanitizer says of any firmware process fails the session's last test."""
    folder = tmp_path_factory.mktemp("sanitizer")
    before = dict(os.environ)
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
        os.environ[name] = f"log_path={folder / 'report'}:print_stacktrace=1"
    yield folder
    os.environ.clear()
    os.environ.update(before)
    reports = [path.read_text() for path in folder.iterdir()]
    shutil.rmtree(folder)
    assert reports == []


@pytest.fixture
def quick(monkeypatch):
    """First waits short: what is lost here is lost for certain."""
    monkeypatch.setattr(timing, "FIRST_TIMEOUT_S", 0.3)
    monkeypatch.setattr(line, "SLOW", {})
