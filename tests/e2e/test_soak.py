"""A session that runs for long: memory and disk stay as they are."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from personal import small_network

from edgehff.model import file
from edgehff.personalize.replay import replay

SOAK = Path(__file__).with_name("soak.py")


def soaked(folder, *arguments):
    model = folder / "model.safetensors"
    file.save(small_network(), model)
    done = subprocess.run(
        [sys.executable, SOAK, folder, model, *map(str, arguments)],
        capture_output=True, text=True, timeout=3600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("samples", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_memory_and_store_stay_bounded(tmp_path, samples):
    found = soaked(tmp_path, samples)
    assert found["exit_code"] == 0
    assert found["document"]["samples"] == samples // 2
    assert found["document"]["answers"] == samples // 2 - samples // 100
    assert found["document"]["refused"] == {"sample": samples // 100}
    assert found["grown_kib"] < 1024
    assert found["peak_kib"] < 60 * 1024
    assert found["store_bytes"] < (1 << 20) + 5 * (64 << 10)
    assert list(replay(tmp_path / "store"))[-1].place.sequence == found["document"]["events"]


def test_what_is_refused_takes_no_memory(tmp_path):
    samples = 40_000
    found = soaked(tmp_path, samples, "--bad", 2)
    assert found["document"]["refused"]["sample"] > 0.4 * samples
    assert found["grown_kib"] < 1024


@pytest.mark.slow
def test_a_page_takes_little_more(tmp_path):
    pytest.importorskip("waitress")
    samples = 1_000_000
    found = soaked(tmp_path, samples, "--web")
    assert found["page_answers"] > 100
    assert found["document"]["answers"] == samples // 2 - samples // 100
    resident = found["resident_kib"]
    assert resident[-1] - resident[len(resident) // 2] < 1024  # the page is warm after half a million
    assert found["peak_kib"] < 80 * 1024
