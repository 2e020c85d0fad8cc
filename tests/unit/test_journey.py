"""The demo's one model, all the way, where extras are here and where they are not."""

import pytest

from edgehff import extras
from edgehff.bench import journey
from edgehff.data.sources import load
from edgehff.model import file


@pytest.fixture(scope="module")
def data():
    return load("emg-gestures")


def test_without_extras_the_bundled_model_stands_in_and_each_leg_says_so(data, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    steps = list(journey.run(data))
    assert [s["step"] for s in steps] == ["pretrain", "quantize", "personalize", *["export"] * 4]
    assert "edgehff[torch]" in steps[0]["skipped"]
    assert "bundled" in steps[0]["skipped"]
    assert steps[1]["bundled"]
    assert all("is not installed" in s["skipped"] for s in steps[3:])
    assert steps[1]["accuracy"] > 0.75
    assert steps[2]["accuracy"] > steps[1]["accuracy"] + 0.03


@pytest.mark.torch
def test_with_torch_the_float_network_quantizes_without_loss(data):
    pytest.importorskip("torch")
    steps = []
    for step in journey.run(data):
        steps.append(step)
        if step["step"] == "personalize":
            break
    floats, integers, personal = (s["accuracy"] for s in steps)
    assert floats > 0.78
    assert abs(floats - integers) < 0.005
    assert personal > integers + 0.03


def test_the_bundled_model_is_small_and_of_its_recipe():
    path = journey.bundled("emg-gestures/model.safetensors")
    assert path.stat().st_size < 300_000
    network = file.load(path)
    assert network.recipe.layers == (128, 64)
    assert network.recipe.data == "emg-gestures"
    assert network.recipe.pretrain.optimizer == "sgd"


def test_a_person_s_network_leaves_the_factory_s_as_it_is(data):
    factory = file.load(journey.bundled("emg-gestures/model.safetensors"))
    before = factory.weights_crc32
    person = journey.unseen_people(data)[0]
    personal = journey.personalized(factory, data, person)
    assert factory.weights_crc32 == before != personal.weights_crc32
