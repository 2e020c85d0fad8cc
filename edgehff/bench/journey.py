"""One model's whole way on bundled data: float, integers, one person, stock runtimes, proof."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import edgehff
from edgehff import recipe as recipes
from edgehff.bench.rows import folds_by_person, people_with_both
from edgehff.data.dataset import Dataset
from edgehff.data.stream import samples
from edgehff.errors import EdgehffError, MissingToolError
from edgehff.export.forms import FORMS, Form, proof_of
from edgehff.extras import require
from edgehff.model import file
from edgehff.model.float_network import FloatNetwork
from edgehff.model.network import Network
from edgehff.personalize.session import PersonalSession
from edgehff.quantize import quantize
from edgehff.train.metrics import accuracy

MODEL = "emg-gestures"


def bundled(name: str) -> Path:
    """A file of the models that come with the package: `NAME/recipe.toml` or `NAME/model.safetensors`."""
    package = Path(edgehff.__file__).parent
    here = package / "models" / name
    return here if here.exists() else package.parent / "models" / name  # a checkout


def unseen_people(data: Dataset) -> list[int]:
    """The people that the journey's model is not trained on: the first fold of the benchmark."""
    return folds_by_person(people_with_both(data), 5, 0)[0]


def pretrained(data: Dataset, unseen: list[int]) -> FloatNetwork:
    """A float network from everyone's first series but the unseen's, by the bundled recipe.

    Raises:
        MissingToolError: torch is not installed.
    """
    require("torch", "torch")
    from edgehff.train import float as in_float

    recipe = recipes.load(bundled(f"{MODEL}/recipe.toml")).replace(arith="float")
    assert data.group is not None
    assert data.is_test is not None
    return in_float.trained(recipe, data.rows(~np.isin(data.group, unseen) & ~data.is_test))


def run(data: Dataset) -> Iterator[dict[str, Any]]:
    """One document a step: pretrain, quantize, personalize, and export for each form.

    Each has "step" and either what was measured or "skipped" with the reason. Accuracies are means over
    people's second series; the last person's network is the one that is exported.
    """
    unseen = unseen_people(data)
    try:
        trained = pretrained(data, unseen)
        yield {"step": "pretrain", "people": len(unseen), "accuracy": mean_accuracy(trained, data, unseen)}
        network = quantize(trained, "int16")
        step: dict[str, Any] = {"step": "quantize", "arith": "int16"}
    except MissingToolError as error:
        reason = f"{error.message}: {error.hint}; the bundled model stands in"
        yield {"step": "pretrain", "people": len(unseen), "skipped": reason}
        network = file.load(bundled(f"{MODEL}/model.safetensors"))
        step = {"step": "quantize", "arith": "int16", "bundled": True}
    yield {**step, "accuracy": mean_accuracy(network, data, unseen)}
    after, personal = [], network
    for person in unseen:
        personal = personalized(network, data, person)
        after.append(mean_accuracy(personal, data, [person]))
    yield {"step": "personalize", "people": len(unseen), "accuracy": float(np.mean(after))}
    assert data.group is not None
    theirs = data.rows(data.group == unseen[-1])
    for form in FORMS.values():
        yield {"step": "export", "form": form.name, **_exported(form, personal, theirs)}


def personalized(network: Network, data: Dataset, person: int) -> Network:
    """The network after one pass over a person's first series, sample by sample, as it was recorded."""
    assert data.group is not None
    assert data.is_test is not None
    first = data.rows((data.group == person) & ~data.is_test)
    session = PersonalSession(network)
    for sample, label in samples(first, "recording", seed=0):
        session.learn_one(sample, label)
    return session.network()


def mean_accuracy(network: Network | FloatNetwork, data: Dataset, people: list[int]) -> float:
    """Mean over people of the accuracy on their second series."""
    assert data.group is not None
    assert data.is_test is not None
    scores = []
    for person in people:
        rows = data.rows((data.group == person) & data.is_test)
        if isinstance(network, FloatNetwork):
            scores.append(accuracy(network.predict(network.encode(rows.x)), rows.y))
        else:
            scores.append(accuracy(network.to_core().predict(network.encode(rows.x)), rows.y))
    return float(np.mean(scores))


def _exported(form: Form, network: Network, data: Dataset) -> dict[str, Any]:
    try:
        exported = form.build(network)
        parity = proof_of(network, data).check_built(exported)
    except MissingToolError as error:
        return {"skipped": f"{error.message}: {error.hint}"}
    except EdgehffError as error:
        return {"passed": False, "reason": error.message}
    return {
        "bytes": len(exported.data),
        "samples": parity.samples,
        "argmax_agreement": parity.argmax_agreement,
        "max_abs_diff": parity.max_abs_diff,
        "passed": parity.passed,
        "reason": parity.reason,
    }
