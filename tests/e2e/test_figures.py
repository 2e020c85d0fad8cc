"""The figures that the README states, measured again and held to their bounds."""

import json
import subprocess
import sys

import numpy as np
import pytest

from edgehff.bench import core as bench
from edgehff.bench import one_pass
from edgehff.cli.main import main
from edgehff.data.sources import load
from edgehff.train.metrics import bootstrap_interval

SEEDS = 10


@pytest.fixture(scope="module")
def demo():
    done = subprocess.run(
        [sys.executable, "-m", "edgehff", "demo", "--json"],
        capture_output=True,
        text=True,
        timeout=900,
        check=True,
    )
    return json.loads(done.stdout)


def test_one_pass_learns_an_unseen_person(demo):
    means = {name: r["mean"] for name, r in demo["results"].items()}
    assert demo["people"] == 31
    assert means["int16_shuffled"] >= 0.92
    assert means["int16_recording"] >= 0.905
    assert means["int8_shuffled"] >= 0.92 - 0.015
    assert means["int8_recording"] >= 0.905 - 0.015
    for arith in ("int16", "int8"):
        assert means[f"{arith}_recording"] > means[f"{arith}_before"] + 0.05
    assert means["int16_shuffled"] > means["last_layer_shuffled"]
    assert means["int16_recording"] > means["last_layer_recording"]


@pytest.mark.torch
@pytest.mark.onnx
@pytest.mark.executorch
def test_the_demo_goes_all_the_way(demo):
    for package in ("torch", "onnxruntime", "executorch"):
        pytest.importorskip(package)
    steps = demo["journey"]
    assert [s["step"] for s in steps] == ["pretrain", "quantize", "personalize", *["export"] * 4]
    assert all("skipped" not in s for s in steps)
    assert all(s["passed"] and s["argmax_agreement"] >= 0.99 for s in steps[3:])
    assert steps[2]["accuracy"] > steps[1]["accuracy"] + 0.03


def test_the_demo_states_worst_person_and_interval(demo):
    for result in demo["results"].values():
        values = np.array(list(result["per_person"].values()))
        assert len(values) == 31
        assert result["mean"] == pytest.approx(values.mean())
        assert result["worst"] == values.min()
        assert result["interval"][0] < result["mean"] < result["interval"][1]


def test_unseen_people_pick_no_setting():
    """Other labels in the unseen people's second series leave every setting as it is."""
    data = load("emg-gestures")
    people = one_pass.people_with_both(data)[:9]
    data = data.rows(np.isin(data.group, people))
    unseen = one_pass.folds_by_person(people, 3, 0)[0]
    chosen = one_pass.choose(
        data.rows(~np.isin(data.group, unseen)), [p for p in people if p not in unseen], 0
    )
    fold = one_pass.run_fold(data, people, unseen, 0)
    assert fold["settings"]["rates"] == chosen.rates
    other = np.array(data.y)
    second = np.isin(data.group, unseen) & data.is_test
    other[second] = (other[second] + 1) % 6
    poisoned = one_pass.run_fold(
        type(data)(data.name, data.x, other, data.class_names, data.group, data.is_test), people, unseen, 0
    )
    assert poisoned["settings"] == fold["settings"]
    assert poisoned["results"]["int16_recording"] != fold["results"]["int16_recording"]


def test_digits_in_integers_equal_digits_in_float(capsys):
    assert main(["bench", "core", "--part", "digits", "--seeds", str(SEEDS), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["digits"]["results"]
    assert results["int8_1"]["mean"] >= 0.925
    assert results["int8_20"]["mean"] >= 0.975
    assert results["int16_minus_float"]["interval"][0] >= -0.01
    for arith in ("int8", "int16"):
        assert results[f"{arith}_int8_prototypes_minus_int16"]["mean"] >= -0.003


@pytest.mark.parametrize("arith", ["int8", "int16"])
@pytest.mark.parametrize("seed", range(5))
def test_a_million_steps_end_where_they_peaked(arith, seed):
    run = bench.stability_run(load("digits"), arith, "all", seed, 1_000_000)
    assert run["final"] >= run["best"] - 0.01
    assert run["dead_rows"] == 0
    assert run["saturated"] < 0.001


def test_without_stabilizers_accuracy_sinks():
    """The bounds above can fail: without gate, cap and revive they do."""
    runs = [bench.stability_run(load("digits"), "int8", "none", seed, 1_000_000) for seed in range(3)]
    assert max(r["best"] - r["final"] for r in runs) > 0.01
    assert max(r["saturated"] for r in runs) > 0.001


def test_an_interval_of_equal_values_is_a_point():
    assert bootstrap_interval(np.full(5, 0.25)) == (0.25, 0.25)
