"""Drift of a class: its samples have become more surprising than they were (Page 1954, Hinkley 1971)."""

from __future__ import annotations

from dataclasses import dataclass

ALLOWED = 1 << 15
"""Rise of the surprise that is no drift: half a bit, Q16."""
ALARM = 20 << 16
"""Surprise beyond that, summed up since its lowest: twenty bits, Q16."""
LARGEST = 8 << 16
"""One sample counts as no more than eight bits."""
WARM_UP = 16


@dataclass
class PageHinkley:
    """The test of one class, in integers.

    count, total: samples since the last alarm, and their surprise.  risen: what surprise exceeds its mean and
    what is allowed by, summed up; never below 0.  alarms: so far.  at: the class's samples at the last one.
    """

    count: int = 0
    total: int = 0
    risen: int = 0
    alarms: int = 0
    at: int = 0

    def take(self, surprise: int, n_learned: int) -> bool:
        """Take one sample's surprise in, -log2 of its class's probability, Q16; whether this is an alarm."""
        surprise = min(max(surprise, 0), LARGEST)
        mean = self.total // max(self.count, 1)
        self.count += 1
        self.total += surprise
        if self.count <= WARM_UP:
            return False
        self.risen = max(0, self.risen + surprise - mean - ALLOWED)
        if self.risen < ALARM:
            return False
        self.count = self.total = self.risen = 0
        self.alarms += 1
        self.at = n_learned
        return True
