"""When a sample is unknown: the threshold that few known samples fall below, found before a model ships."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgehff.data.dataset import Dataset
from edgehff.errors import DataError
from edgehff.model.network import Network
from edgehff.personalize.session import MEMORY_BYTES, PersonalSession
from edgehff.recipe import UnknownRecipe

MIN_ROWS = 50


@dataclass(frozen=True)
class Calibration:
    """A model that knows when it does not know.

    network: the same, with [unknown] in its recipe.  n_people: sessions it was found in.  n_rows: test rows.
    """

    network: Network
    n_people: int
    n_rows: int


def calibrate(
    network: Network,
    data: Dataset,
    score: str,
    false_alarms: float = 0.06,
    per_class: int = 10,
    only_own: bool = False,
) -> Calibration:
    """Find the threshold that a share of known samples falls below.

    Each person of the data begins a session, which learns the first samples of each class among that person's
    training rows; then the person's test rows are scored. Data without people is one person's.

    false_alarms: the share, above 0 and below 1.  per_class: samples that a session learns of each class.
    only_own: a session forgets the classes that its person has no training rows of.

    Raises:
        DataError: fewer than 50 test rows of people who have training rows.
    """
    found = list(
        _scores(_with(network, score, -1.0 if score == "nearest" else -1024.0), data, per_class, only_own)
    )
    rows = np.concatenate(found) if found else np.empty(0)
    if len(rows) < MIN_ROWS:
        raise DataError(
            f"{len(rows)} test rows of people with training rows; {MIN_ROWS} are needed",
            hint="edgehff data show NAME says which rows there are",
        )
    threshold = float(np.quantile(rows, false_alarms))
    return Calibration(_with(network, score, threshold), len(found), len(rows))


def _scores(network: Network, data: Dataset, per_class: int, only_own: bool) -> Iterator[NDArray[np.float64]]:
    people = np.zeros(len(data), np.int64) if data.group is None else data.group
    is_test = np.zeros(len(data), np.bool_) if data.is_test is None else data.is_test
    for person in np.unique(people):
        own, later = data.rows((people == person) & ~is_test), data.rows((people == person) & is_test)
        if len(own) == 0 or len(later) == 0:
            continue
        session = PersonalSession(network, memory_bytes=MEMORY_BYTES)
        if only_own:
            for label in np.setdiff1d(np.arange(data.n_classes), own.y).tolist():
                session.forget_class(label)
            later = later.rows(np.isin(later.y, own.y))
        first = [np.flatnonzero(own.y == label)[:per_class] for label in range(data.n_classes)]
        for row in np.sort(np.concatenate(first)):
            session.learn_one(own.x[row], int(own.y[row]))
        answers = [session.answer_one(x).familiarity for x in later.x]
        yield np.array([a for a in answers if a is not None], np.float64)


def _with(network: Network, score: str, threshold: float) -> Network:
    return replace(network, recipe=network.recipe.replace(unknown=UnknownRecipe(score, threshold)))
