"""An armband that changes its wearer twice and is turned in the end: CSV for `edgehff personalize --data -`.

armband_stream.py > stream.csv

Three people of the bundled data set emg-gestures, all their windows three times, the third time of the last
with every sensor three places on. docs/how-to/keep-learning.md draws drift from it.
"""

from __future__ import annotations

import sys

import numpy as np

from edgehff.data.sources import load

PEOPLE, PASSES, TURN = (1, 3, 5), 3, 3


def main() -> None:
    """Print the lines: 400 values and the gesture's name."""
    data = load("emg-gestures")
    assert data.group is not None
    for person in PEOPLE:
        rows = np.flatnonzero(data.group == person)
        for part in range(PASSES):
            windows = data.x[rows].reshape(-1, 50, 8)
            if (person, part) == (PEOPLE[-1], PASSES - 1):
                windows = np.roll(windows, TURN, axis=2)
            for values, label in zip(windows.reshape(len(rows), -1), data.y[rows], strict=True):
                sys.stdout.write(f"{','.join(map(str, values))},{data.class_names[label]}\n")


if __name__ == "__main__":
    main()
