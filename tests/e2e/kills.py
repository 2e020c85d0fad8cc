"""Kill a learning process at random moments: kills.py FOLDER MODEL TIMES SEED.

Each child goes on with the store in FOLDER and says through a pipe what is safe; it is ended by SIGKILL. Then
the store must hold a prefix of the one run there is, nothing that was reported may be missing, and at the end
replay gives the same state. Prints one JSON document.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

from edgehff.model import file
from edgehff.personalize.replay import replay
from edgehff.personalize.session import PersonalSession

JOURNAL_BYTES = 256 << 10
SETTINGS = {"memory_bytes": 16 << 10, "guard": True}


def sample(n):
    """The n-th sample of the run, and its label."""
    return np.random.default_rng(n).integers(-99, 99, 400).astype(np.int8), n % 3


def one_event(session, n):
    """The n-th event of the run."""
    if n % 1000 == 500:
        session.snapshot()
    elif n % 1000 == 700:
        session.rollback()
    elif n == 2000:
        session.add_class("new")
    else:
        x, label = sample(n)
        session.learn_one(x, "new" if n > 2000 and label == 1 else label)


def learn_on(folder, into):
    """Learn for ever, and say after each sync what is safe."""
    session = PersonalSession.open(folder)
    n = session.store.place.sequence
    os.write(into, b"s")
    while True:
        one_event(session, n)
        n += 1
        if n % 5 == 0:
            os.write(into, f" {session.sync()}".encode())


def main(folder, model, times, seed):
    """Kill, check, and again."""
    draw = random.Random(seed)  # noqa: S311
    network = file.load(model)
    PersonalSession.open(folder, network, journal_bytes=JOURNAL_BYTES, **SETTINGS).close()
    reference = PersonalSession(network, **SETTINGS)
    n_reference, safe, torn, sizes = 0, 0, 0, []
    for _ in range(times):
        out, into = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(out)
            try:
                learn_on(folder, into)
            finally:
                os._exit(1)
        os.close(into)
        told = os.read(out, 1)
        time.sleep(draw.uniform(0.0, 0.08))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert told == b"s", "the child could not open the store"
        assert os.WTERMSIG(status) == signal.SIGKILL
        with os.fdopen(out, "rb") as pipe:
            words = pipe.read().split(b" ")[1:]
        safe = max([safe, *(int(word) for word in words[:-1])])  # the last may be cut short
        with PersonalSession.open(folder) as session:
            events = session.store.place.sequence
            torn += session.store.lost_bytes > 0
            assert events >= safe, f"{safe} events were safe, {events} are there"
            while n_reference < events:
                one_event(reference, n_reference)
                n_reference += 1
            assert session.network().state_crc32 == reference.network().state_crc32
        sizes.append(sum(p.stat().st_size for p in Path(folder).iterdir()))
    *_, end = replay(Path(folder))
    assert end.learner.state_crc32 == reference._learner.state_crc32
    sys.stdout.write(json.dumps({
        "kills": times, "events": n_reference, "torn": torn, "largest_store_bytes": max(sizes),
        "state_crc32": f"{end.learner.state_crc32:08x}", "first_event": end.first_event,
    }))  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
