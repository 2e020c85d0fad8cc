"""Memory and disk of a long session: soak.py FOLDER MODEL SAMPLES [--bad N] [--web].

A real `edgehff personalize --store` reads binary records from a pipe, half of them labeled, each Nth (100) of
no class; its resident memory and its store are looked at 200 times. With --web it serves its page too, whose
data a thread asks for again and again, as a browser does. Prints a JSON document; the first tenth is warm-up.
"""

import argparse
import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np

WIDTH, LOOKS = 400, 200


def resident_kib(pid):
    """Resident memory of a process, and the most it ever had."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]), int(status["VmHWM"].split()[0])


def size_of(store):
    """Bytes of all files of a folder, which may come and go."""
    total = 0
    for path in store.glob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def records(n, rng, bad=100):
    """n binary records; every other one has a label, each bad-th one that is none."""
    data = np.empty((n, 2 + WIDTH), np.uint8)
    labels = np.where(np.arange(n) % 2, 0xFFFF, np.arange(n) % 3).astype("<u2")
    labels[7::bad] = 999  # no class: refused
    data[:, :2] = labels.view(np.uint8).reshape(n, 2)
    data[:, 2:] = rng.integers(0, 256, (n, WIDTH), np.uint8)
    return data.tobytes()


def free_port():
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


class Page:
    """Asks for the data of a page, ten times a second; answers: how often it came."""

    def __init__(self, port):
        self.answers, self.ends = 0, threading.Event()
        self.url = f"http://127.0.0.1:{port}/data"
        self.thread = threading.Thread(target=self.ask, daemon=True)
        self.thread.start()

    def ask(self):
        while not self.ends.wait(0.1):
            with contextlib.suppress(OSError), urllib.request.urlopen(self.url, timeout=10) as reply:  # noqa: S310
                self.answers += bool(json.load(reply))

    def close(self):
        self.ends.set()
        self.thread.join(20)
        return self.answers


def main(folder, model, samples, bad, web):
    """Feed, look, and print."""
    rng = np.random.default_rng(0)
    store = folder / "store"
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "edgehff", "personalize", model, "--data", "-", "--format", "binary"),
            *("--store", store, "--journal", "1", "--memory", "16", "--quiet", "--json"),
            *(("--web", str(port)) if web else ()),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    page = Page(port) if web else None
    began, looks, batch = time.monotonic(), [], samples // LOOKS
    for _ in range(LOOKS):
        for start in range(0, batch, 1000):
            process.stdin.write(records(min(1000, batch - start), rng, bad))
        process.stdin.flush()
        looks.append((*resident_kib(process.pid), size_of(store)))
    answers = page.close() if page else 0
    out, _ = process.communicate(timeout=600)
    seconds = time.monotonic() - began
    after = looks[LOOKS // 10 :]
    sys.stdout.write(json.dumps({
        "samples": batch * LOOKS, "seconds": seconds, "exit_code": process.returncode,
        "resident_kib": [rss for rss, _, _ in looks[:: LOOKS // 20]],
        "peak_kib": max(peak for _, peak, _ in looks),
        "grown_kib": max(rss for rss, _, _ in after) - after[0][0],
        "store_bytes": max(size for _, _, size in looks),
        "page_answers": answers,
        "document": json.loads(out),
    }))  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("model")
    parser.add_argument("samples", type=int)
    parser.add_argument("--bad", type=int, default=100)
    parser.add_argument("--web", action="store_true")
    main(**vars(parser.parse_args()))
