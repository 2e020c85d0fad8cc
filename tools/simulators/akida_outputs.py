"""A file of `edgehff export --target akida` in BrainChip's own engine: the same outputs?

python tools/simulators/akida_outputs.py mnist.akida.npz --data mnist [--first 100]

Runs the data's test rows in the engine (build/simulators/akida, made by install.py akida) and in the
reference. Prints JSON: how many outputs differ, accuracy, and what the virtual chip AKD1000 takes. Exit code
7 where an output differs.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from edgehff.data.sources import load
from edgehff.data.split import train_test
from edgehff.errors import EdgehffError
from edgehff.spiking.targets.akida import from_bytes
from edgehff.spiking.targets.akida_engine import HOME, compare


def main() -> None:
    """Run it in both, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--first", type=int)
    parser.add_argument("--home", type=Path, default=Path(__file__).resolve().parents[2] / HOME)
    args = parser.parse_args()
    data = args.file.read_bytes()
    whole = load(args.data)
    rows = whole.rows(train_test(whole)[1][: args.first])
    found = compare(data, rows.x, args.home)
    accuracy = float((from_bytes(data).predict(rows.x) == rows.y).mean())
    print(json.dumps(asdict(found) | {"accuracy": accuracy, "passed": found.passed}, indent=2))
    sys.exit(0 if found.passed else 7)


if __name__ == "__main__":
    try:
        main()
    except EdgehffError as error:
        sys.exit(f"{error.message}\n  try: {error.hint}")
