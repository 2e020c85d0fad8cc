"""What a model's firmware takes on a board: RAM as predicted and as built, flash, stack, and instructions.

All figures are of one binary: its sections and symbols, a bound of its stack, what it executes when emulated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.core import Net
from edgehff.data.dataset import Dataset
from edgehff.errors import CheckFailed
from edgehff.model.network import Network
from edgehff.train.local import decayed_rates, pass_order
from firmware_bridge import build as builder
from firmware_bridge.boards import PORTS, Board
from firmware_bridge.build import Options
from firmware_bridge.client import Device
from firmware_bridge.counter import Counter, Instructions, ProfileLine
from firmware_bridge.elf import Elf
from firmware_bridge.emulator import EmulatorTransport, workspace
from firmware_bridge.stack import StackBound, frames, stack_bound
from firmware_bridge.workload import Pair, make_every_request, samples_of

TRAIN, PREDICT = "ehff_model_train", "ehff_model_predict"
STEPS, PREDICTIONS = 200, 50
CONNECT_S = 20.0

_LINK = {"avr": (110, 6), "ilp32": (132, 8), "lp64": (176, 16)}
"""Of ehff_link by ABI: bytes without answers and runner, and those of the runner's fields."""
_ANSWER = 8
_GROUPS = ("arena", "frame", "ring", "link")


@dataclass(frozen=True)
class Measurement:
    """The figures of one firmware; None where there is none: on this machine itself, which is not emulated.

    predicted, static: static RAM by part, before and after building; the keys are the same.
    flash: the program and the model that it starts with.
    bound, painted: the stack's bound, and the most that it took when every request had been made.
    train, predict: instructions, from the model as it is on, at the rates of learning from its user.
    learn: of the same steps from the same model on with the gate off: every layer learns from every sample.
    constants_in_ram: objects that RAM and flash hold both, which no port needs.
    """

    board: str
    flags: tuple[str, ...]
    predicted: dict[str, int]
    static: dict[str, int]
    flash: dict[str, int]
    bound: StackBound | None
    painted: int | None
    train: Instructions | None
    predict: Instructions | None
    learn: Instructions | None
    constants_in_ram: tuple[str, ...] = ()
    profile: tuple[ProfileLine, ...] = ()

    @property
    def ram(self) -> dict[str, int]:
        """All of RAM by part: the static parts and the stack's bound."""
        return self.static | {"stack": self.bound.bytes if self.bound else 0}

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON."""
        stack = self.bound
        return {
            "board": self.board,
            "flags": list(self.flags),
            "ram_bytes": sum(self.ram.values()),
            "flash_bytes": sum(self.flash.values()),
            "stack_bytes": stack.bytes if stack else None,
            "train_instructions": self.train.to_dict() if self.train else None,
            "predict_instructions": self.predict.to_dict() if self.predict else None,
            "learn_instructions": self.learn.to_dict() if self.learn else None,
            "predicted": {"ram": self.predicted, "static_bytes": sum(self.predicted.values())},
            "measured": {
                "ram": self.static,
                "static_bytes": sum(self.static.values()),
                "flash": self.flash,
                "constants_in_ram": list(self.constants_in_ram),
                "stack": None
                if stack is None
                else {
                    "bound_bytes": stack.bytes,
                    "painted_bytes": self.painted,
                    "interrupt_bytes": stack.interrupt_bytes,
                    "chain": [list(link) for link in stack.chain],
                },
            },
            "profile": [vars(line) for line in self.profile],
        }


def predicted_ram(board: Board, options: Options) -> dict[str, int]:
    """Static RAM by part, without building: exact for every emulated board."""
    base, runner = _LINK[board.abi]
    parts = {
        "arena": (options.arena_bytes + 3) // 4 * 4,
        "frame": (options.frame_bytes + 3) // 4 * 4,
        "ring": options.ring_bytes if board.ring else 0,
        "link": base + _ANSWER * options.window + runner * options.runner,
        "port": board.port_bytes + board.clock_bytes * options.runner,
    }
    return parts | {"padding": -sum(parts.values()) % _alignment(board)}


def _alignment(board: Board) -> int:
    """What the linker script rounds the end of static RAM to."""
    if not board.script:
        return 1
    script = (PORTS / "common" / board.script).read_text()
    found = re.search(r"\.bss.*ALIGN\((\d+)\)", script)
    return int(found[1]) if found else 1


def static_ram(elf: Elf) -> dict[str, int]:
    """Static RAM of a built firmware, with the parts of predicted_ram."""
    writable = [range(s.address, s.address + s.size) for s in elf.sections.values() if s.writable]
    inside = [s for s in elf.symbols if s.kind == "OBJECT" and any(s.address in r for r in writable)]
    groups = {name: sum(s.size for s in inside if s.source_name == name) for name in _GROUPS}
    port = sum(s.size for s in inside if s.source_name not in _GROUPS)
    return groups | {"port": port, "padding": elf.ram_bytes - port - sum(groups.values())}


def measure(
    board: Board,
    network: Network,
    data: Dataset,
    *,
    steps: int = STEPS,
    predictions: int = PREDICTIONS,
    profile: bool = False,
    lean: bool = False,
    **changes: object,
) -> Measurement:
    """Build firmware for the network and measure it, on rows of data, whose classes are the network's.

    steps, predictions: calls whose instructions are counted.  profile: totals of each function too.
    lean, changes: of the options, as in options_for.

    Raises:
        MissingToolError: a compiler or the emulator is not installed.
        CheckFailed: it does not fit the board, or its stack has no bound.
        DeviceError: the emulated board refused something.
    """
    if board.toolchain:
        builder.require_tool(board.emulator[0], board.emulator_package)
    options = builder.options_for(board, network, lean=lean, **changes)
    with workspace() as folder:
        path = builder.build(board, options, Path(folder) / "firmware.elf")
        elf = Elf(board, path)
        factory = elf.size_of("factory_blob")
        found = Measurement(
            board=board.name,
            flags=tuple(builder.compiler_flags(board, options)),
            predicted=predicted_ram(board, options),
            static=static_ram(elf),
            flash={"program": elf.flash_bytes - factory, "factory_model": factory},
            bound=None,
            painted=None,
            train=None,
            predict=None,
            learn=None,
        )
        if not board.toolchain:
            return found
        bound = stack_bound(elf, frames(Path(folder).glob("*.su")))
        counter = Counter(elf, (TRAIN, PREDICT), Path(folder), profile=profile)
        transport = EmulatorTransport(board, path, counter.arguments)
        pairs, raws = samples_of(network, data, steps, predictions)
        with Device(transport) as device:
            device.connect(CONNECT_S)
            device.push(builder.factory_blob(network))
            train = _counted_steps(device, counter, pairs)
            predict = _counted_predictions(device, counter, raws)
            device.push(builder.factory_blob(replace(network, recipe=network.recipe.replace(gate=None))))
            learn = _counted_steps(device, counter, pairs)
            make_every_request(device, builder.factory_blob(network), pairs[0], runner=options.runner)
            painted = device.line.begin(CONNECT_S).stack_used
            lines = tuple(counter.profile(transport)) if profile else ()
        return Measurement(
            **(
                vars(found)
                | {"bound": bound, "painted": painted, "profile": lines}
                | {"train": train, "predict": predict, "learn": learn}
                | {"constants_in_ram": tuple(s.name for s in elf.data_symbols())}
            )
        )


def train_profile(
    board: Board, network: Network, rows: Dataset, passes: int, *, lean: bool = False, **changes: object
) -> tuple[Instructions, Network]:
    """Instructions of each step of a whole training on the board, as train.local does it; what it learned.

    The network's recipe and encoder are taken; its weights are drawn anew. rows: those that it is trained on,
    passes times.

    Raises:
        As measure.
    """
    recipe = network.recipe.replace(epochs=passes)
    net = Net(recipe.core_config(network.encoding.n_features, len(network.class_names)))
    fresh = Network.from_core(net, recipe, network.class_names, network.encoding)
    raw, encoder = network.encoding.quantize_raw(rows.x), network.encoding.to_core()
    options = builder.options_for(board, fresh, lean=lean, **changes)
    with workspace() as folder:
        path = builder.build(board, options, Path(folder) / "firmware.elf")
        counter = Counter(Elf(board, path), (TRAIN,), Path(folder))
        with Device(EmulatorTransport(board, path, counter.arguments)) as device:
            device.connect(CONNECT_S)
            for epoch in range(passes):
                net.set_rates(*decayed_rates(recipe, epoch))
                device.push(net.save_blob(encoder))
                order = pass_order(len(rows), recipe.seed, epoch)
                for _ in device.train((raw[i], int(rows.y[i])) for i in order):
                    pass
                net.load_blob(device.pull())
        calls = _whole(counter.calls(TRAIN), passes * len(rows))
    return Instructions(calls), Network.from_core(net, recipe, network.class_names, network.encoding)


def _counted_steps(device: Device, counter: Counter, pairs: Sequence[Pair]) -> Instructions:
    before = len(counter.calls(TRAIN))
    for _ in device.train(pairs):
        pass
    return Instructions(_whole(counter.calls(TRAIN)[before:], len(pairs)))


def _counted_predictions(
    device: Device, counter: Counter, raws: Sequence[NDArray[np.generic]]
) -> Instructions:
    """One at a time: a prediction that the line repeats would be counted twice."""
    found: list[int] = []
    for raw in raws:
        before = len(counter.calls(PREDICT))
        for _ in device.predict([raw]):
            pass
        found += counter.calls(PREDICT)[before : before + 1]
    return Instructions(_whole(tuple(found), len(raws)))


def _whole(calls: tuple[int, ...], wanted: int) -> tuple[int, ...]:
    if len(calls) != wanted or not calls:
        raise CheckFailed(
            f"{len(calls)} calls were counted, {wanted} were made", hint="the same command once more"
        )
    return calls
