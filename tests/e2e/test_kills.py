"""A process that is killed while it learns: what is on the disk is a prefix of its run, and bounded."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from personal import small_network

from edgehff.model import file

KILLS = Path(__file__).with_name("kills.py")


@pytest.mark.parametrize(("times", "seed"), [(40, 1), pytest.param(500, 2, marks=pytest.mark.slow)])
def test_nothing_is_lost_to_kill_9(tmp_path, times, seed):
    model = tmp_path / "model.safetensors"
    file.save(small_network(), model)
    done = subprocess.run(
        [sys.executable, KILLS, tmp_path / "store", model, str(times), str(seed)],
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] == times
    assert found["events"] > 5 * times
    n_states, state_bytes = 5, 80 << 10
    assert found["largest_store_bytes"] < (256 << 10) + n_states * state_bytes
