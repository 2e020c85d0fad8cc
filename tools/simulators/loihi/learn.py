"""The online rule as three-factor learning in Lava's engine for Loihi. Run in Lava's environment.

learn.py CASE    where lava_learning.py, which calls this, has put case.npz; writes learned.npz

A synapse has a tag t and the presynaptic trace x1; its neuron sends three values in the place of
postsynaptic traces: y1, the surrogate's slope at each step; y2, the error of the neuron's count once a sample
has ended; y3, which clears the tag afterwards. The case says in which arithmetic, and how they are scaled.

    dt = u0 * x1 * y1 - u0 * t * y3        dw = u0 * t * y2

In the engine: x1, t, both rules. Off it, in the neuron's program: membrane, slope, count, cosines,
prototypes and the error. The engine reads x1 and y1 one step apart: inputs come at every second step, so that
the trace decays by sqrt(beta) a step. A layer works a step later than the one before it. Samples are apart
by so many steps that a trace is gone.
"""

import sys
from pathlib import Path

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.learning.learning_rule import Loihi3FLearningRule
from lava.magma.core.model.py.neuron import LearningNeuronModelFixed, LearningNeuronModelFloat
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.neuron import LearningNeuronProcess
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.dense.process import LearningDense
from lava.proc.io.source import RingBuffer

Y_DECAY = np.exp(1 / 65535)
"""What the engine takes off a y in a step, given back before."""
HALF = 0.5


def error_of(count, prototypes, label, scale):
    """(gradient by the count, by the prototypes): edgehff's rule for one sample, written anew."""
    length = max(np.sqrt(count @ count), 1e-6)
    unit = count / (length + HALF)
    logits = scale * (prototypes @ unit)
    e = np.exp(logits - logits.max())
    e /= e.sum()
    e[label] -= 1
    at_unit = scale * (e @ prototypes)
    by_count = (at_unit - (at_unit @ unit) * count / length) / (length + HALF)
    by_prototype = scale * np.outer(e, unit)
    by_prototype -= (by_prototype * prototypes).sum(1, keepdims=True) * prototypes
    return by_count, by_prototype


class Neurons(LearningNeuronProcess, AbstractProcess):
    """Integrate-and-fire neurons with prototypes, which send the rule's factors."""

    def __init__(self, *, prototypes, labels, learning_rule, **options):
        shape = (prototypes.shape[1],)
        super().__init__(shape=shape, learning_rule=learning_rule, **options)
        self.a_in, self.s_out = InPort(shape=shape), OutPort(shape=shape)
        self.v, self.count = Var(shape=shape, init=0.0), Var(shape=shape, init=0.0)
        self.prototypes = Var(shape=prototypes.shape, init=prototypes)
        self.labels = Var(shape=labels.shape, init=labels)


class Program:
    """What the neurons do in a step of Lava's; how membranes and factors are held is said below."""

    def __init__(self, given):
        super().__init__(given)
        self.given = given

    def run_spk(self):
        """One step."""
        g = self.given
        current = self.a_in.recv()
        sample, phase = divmod(self.time_step - 1 - g["layer"], g["period"])
        spikes = np.zeros_like(self.v)
        y1, y2, y3 = np.zeros((3, *self.v.shape))
        if phase == 0:
            self.v, self.count = np.zeros_like(self.v), np.zeros_like(self.count)
        if phase % 2 == 1 and phase < 2 * g["steps"]:
            u, threshold = self.charged(current), self.threshold()
            spikes = (u > threshold).astype(u.dtype)
            y1 = g["slope"] / (1 + (np.pi * (u / threshold - 1)) ** 2)
            self.v = u * (1 - spikes) if g["reset"] == "zero" else u - spikes * threshold
            self.count = self.count + spikes
        elif phase == 2 * g["steps"] and 0 <= sample < len(self.labels):
            by_count, by_prototype = error_of(self.count, self.prototypes, self.labels[sample], g["scale"])
            y2 = -g["gain"] * by_count
            moved = self.prototypes - g["lr"] * by_prototype
            self.prototypes = moved / np.linalg.norm(moved, axis=1, keepdims=True)
        elif phase == 2 * g["steps"] + 1:
            y3 = np.full(self.v.shape, g["clear"])
        self.s_out.send(spikes)
        self.s_out_bap.send(np.zeros(spikes.shape, bool))
        for port, y in ((self.s_out_y1, y1), (self.s_out_y2, y2), (self.s_out_y3, y3)):
            port.send(self.factor(y))


@implements(proc=Neurons, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class NeuronsModel(Program, LearningNeuronModelFloat):
    """In floats."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    v: np.ndarray = LavaPyType(np.ndarray, float)
    count: np.ndarray = LavaPyType(np.ndarray, float)
    prototypes: np.ndarray = LavaPyType(np.ndarray, float)
    labels: np.ndarray = LavaPyType(np.ndarray, int)

    def threshold(self):
        """Of membranes."""
        return self.given["threshold"]

    def charged(self, current):
        """Membranes before they fire."""
        return self.given["beta"] * self.v + current

    def factor(self, y):
        """As it is sent."""
        return y * Y_DECAY


@implements(proc=Neurons, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class NeuronsModelFixed(Program, LearningNeuronModelFixed):
    """In the chip's integers: membranes have 6 bits below a weight's, beta 12 bits, factors 7 and a sign."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=16)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=8)
    v: np.ndarray = LavaPyType(np.ndarray, np.int32, precision=24)
    count: np.ndarray = LavaPyType(np.ndarray, float)
    prototypes: np.ndarray = LavaPyType(np.ndarray, float)
    labels: np.ndarray = LavaPyType(np.ndarray, int)

    def threshold(self):
        """Of membranes."""
        return int(self.given["threshold"]) << 6

    def charged(self, current):
        """Membranes before they fire, of which nothing comes near 24 bits."""
        kept = np.sign(self.v) * ((np.abs(self.v) * int(self.given["beta"] * 4096)) >> 12)
        return kept + (current << 6)

    def factor(self, y):
        """As it is sent."""
        return np.clip(np.rint(y), -127, 127).astype(np.int32)


def learn(case):
    """Weights and prototypes of all layers after all samples."""
    x, labels, beta = case["x"], case["y"].astype(int), float(case["beta"])
    n, steps, n_in = x.shape
    period = 2 * (steps + int(case["gap"])) + 4
    stream = np.zeros((n_in, n * period + 4))
    for k in range(steps):
        stream[:, 2 * k : n * period : period] = x[:, k].T
    source = RingBuffer(data=stream.astype(int))
    port, parts = source.s_out, []
    for i in range(int(case["layers"])):
        rule = Loihi3FLearningRule(
            dw=str(case["dw"]),
            dt=str(case["dt"]),
            x1_impulse=float(case["impulse"]),
            x1_tau=-1 / np.log(np.sqrt(beta)),
            t_epoch=1,
            rng_seed=int(case["seed"]) + 4 * i,  # of four generators
        )
        dense = LearningDense(weights=case[f"weight_{i}"].copy(), learning_rule=rule, name=f"layer{i}")
        neurons = Neurons(
            prototypes=case[f"prototypes_{i}"].copy(),
            labels=labels,
            learning_rule=rule,
            steps=steps,
            period=period,
            layer=i,
            reset=str(case["reset"]),
            beta=beta,
            **{k: float(case[k]) for k in ("lr", "scale", "threshold", "slope", "gain", "clear")},
        )
        port.connect(dense.s_in)
        dense.a_out.connect(neurons.a_in)
        neurons.s_out_bap.connect(dense.s_in_bap)
        neurons.s_out_y1.connect(dense.s_in_y1)
        neurons.s_out_y2.connect(dense.s_in_y2)
        neurons.s_out_y3.connect(dense.s_in_y3)
        port = neurons.s_out
        parts.append((dense, neurons))
    how = Loihi2SimCfg(select_tag=str(case["arithmetic"]))
    source.run(condition=RunSteps(num_steps=n * period + 4), run_cfg=how)
    found = {}
    for i, (dense, neurons) in enumerate(parts):
        found[f"weight_{i}"] = dense.weights.get().copy()
        found[f"prototypes_{i}"] = neurons.prototypes.get().copy()
    source.stop()
    return found


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    np.savez(folder / "learned.npz", **learn(np.load(folder / "case.npz")))
