"""A Raspberry Pi has room for it: peak memory of a personalization, torch and rich out of the way."""

import json
import subprocess
import sys

from edgehff.cli.main import main

PROBE = """
import json, sys
from pathlib import Path
from edgehff.cli.main import main
code = main(sys.argv[1:])
# the peak of this program alone: ru_maxrss would count its parent too
lines = Path("/proc/self/status").read_text().splitlines()
peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
heavy = sorted({"torch", "rich", "pooch", "requests"} & set(sys.modules))
print(json.dumps({"code": code, "peak_kib": peak, "modules": heavy}), file=sys.stderr)
"""


def test_personalizing_stays_under_60_mb(tmp_path):
    model = tmp_path / "model.safetensors"
    options = ["--layers", "128,64", "--features", "mav,rms,wl", "--log", "--standardize", "--epochs", "1"]
    assert main(["train", "--data", "emg-gestures", *options, "-q", "-o", str(model)]) == 0
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            PROBE,
            "personalize",
            str(model),
            "--json",
            "-o",
            str(tmp_path / "mine.safetensors"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert json.loads(done.stdout)["samples"] > 4000
    report = json.loads(done.stderr.splitlines()[-1])
    assert report["code"] == 0
    assert report["peak_kib"] < 60 * 1000 * 1000 / 1024
    assert report["modules"] == []
