"""How long an answer may take."""

from __future__ import annotations

FIRST_TIMEOUT_S = 1.0
MIN_TIMEOUT_S = 0.05
MAX_TIMEOUT_S = 4.0


class RoundTrip:
    """How long to wait for an answer: smoothed round trips and their deviation (RFC 6298).

    work: seconds that the other side may work on a request, as long as nothing was measured.
    """

    def __init__(self, work: float = 0.0) -> None:
        self._first = FIRST_TIMEOUT_S + work
        self._mean: float | None = None
        self._deviation = 0.0
        self._backoff = 1.0

    def add(self, seconds: float) -> None:
        """Take in the round trip of a frame that was sent once."""
        if self._mean is None:
            self._mean, self._deviation = seconds, seconds / 2
        else:
            self._deviation += (abs(seconds - self._mean) - self._deviation) / 4
            self._mean += (seconds - self._mean) / 8
        self._backoff = 1.0

    def back_off(self) -> None:
        """No answer came in time: wait twice as long for the next."""
        self._backoff = min(self._backoff * 2, 64.0)

    def answered(self) -> None:
        """Something was answered, after however many sends: the board is there."""
        self._backoff = 1.0

    @property
    def timeout(self) -> float:
        """Seconds to wait for an answer."""
        base = self._first if self._mean is None else self._mean + 4 * self._deviation
        return min(max(base, MIN_TIMEOUT_S) * self._backoff, max(base, MAX_TIMEOUT_S))
