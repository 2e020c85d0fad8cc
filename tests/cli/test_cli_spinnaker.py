"""`edgehff export --target spinnaker` as a user calls it, with an engine and without one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import document, run
from spiking_networks import network_of, samples, saved_with_noise, simulator

from edgehff.errors import CheckFailed, MissingToolError
from edgehff.model import file
from edgehff.spiking.chain import inputs_of
from edgehff.spiking.targets import spinnaker
from edgehff.spiking.targets.spinnaker_engine import compare_with

ENGINE = """
import json, sys, numpy as np
from pathlib import Path
folder = Path(sys.argv[1])
net, x = np.load(folder / "network.npz"), np.load(folder / "case.npz")["x"]
found = {{str(i): net[f"spikes_{{i}}"][: len(x)] for i in range(2)}}
assert x.shape[1:] == (6, 84 * 4) and x.dtype == bool and len(x) in (5, 10)
numbers = dict(version="1!7.4.1", cores=3, chips=1, bytes=5000, words=70, differing_words=0, slower=2)
{change}
np.savez(folder / "trace.npz", **found)
(folder / "mapping.json").write_text(json.dumps(numbers))
"""


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A model and its data, in a folder without an engine."""
    monkeypatch.chdir(tmp_path)
    return saved_with_noise(network_of(), tmp_path)[0]


def engine(folder, change=""):
    home = folder / "spinnaker"
    if not home.exists():
        simulator(folder, "spinnaker", "")
    (home / "chip.py").write_text(ENGINE.format(change=change))
    return home


def test_export_as_a_user_sees_it(model, capsys):
    found = document(capsys, "export", "--target", "spinnaker", model)
    path = model.with_suffix(".npz")
    assert (found["file"], found["bytes"], found["target"]) == (str(path), path.stat().st_size, "spinnaker")
    assert (found["samples"], found["slots"], found["differing"]) == (20, 2040, 0)
    assert (found["sources"], found["spynnaker"]) == (336, None)
    with np.load(path) as written:
        trace = spinnaker.run(spinnaker.from_bytes(path.read_bytes()), written["samples"])
        assert len(written["samples"]) == 20
        assert all(np.array_equal(s, written[f"spikes_{i}"]) for i, s in enumerate(trace.spikes))
    assert found["spikes"] == sum(int(s.sum()) for s in trace.spikes) > 20
    assert (found["leaking"], found["largest"]) == (trace.leaking, trace.largest)
    code, out, _ = run(capsys, "export", "-t", "spinnaker", model)
    assert (code, "0 of 2,040 slots differ; 336 sources of spikes; ring buffers 12% full" in out) == (0, True)
    assert "sPyNNaker is not installed: python tools/simulators/install.py spinnaker" in out


def test_export_writes_nothing_that_differs(model, capsys, monkeypatch):
    monkeypatch.setattr(spinnaker, "FULL", 500)
    code, _, err = run(capsys, "export", "-t", "spinnaker", model)
    assert (code, model.with_suffix(".npz").exists()) == (7, False)
    assert "of 2,040 slots differ, the first in layer 0; it was not written" in err
    assert "weights of 7,564 came in a step, of 500; [spiking] levels" in err
    monkeypatch.setattr(spinnaker, "FULL", 65535)
    monkeypatch.setattr(spinnaker, "EXP_TC", 32000)
    code, _, err = run(capsys, "export", "-t", "spinnaker", model)
    assert (code, "try: 840 membranes leaked; [spiking] levels, fewer" in err) == (7, True), err


def test_an_engine_that_differs_is_heard(model, capsys):
    engine(Path("build/simulators"), 'found["1"][3, 2, 1] ^= 1')
    code, _, err = run(capsys, "export", "-t", "spinnaker", model)
    assert (code, model.with_suffix(".npz").exists()) == (7, False)
    assert "1 of 1,020 slots differ in its machine code; it was not written" in err
    engine(Path("build/simulators"), "")
    code, out, err = run(capsys, "export", "-t", "spinnaker", model)
    assert (code, "running 10 rows in its machine code" in err) == (0, True)
    told = "3 cores on 1 of 48 chips, 5,000 bytes; 0 of 70 words differ; 0 of 1,020 slots differ"
    assert f"sPyNNaker 7.4.1: {told} in its machine code" in out
    found = document(capsys, "export", "--target", "spinnaker", model)["spynnaker"]
    assert (found["cores"], found["samples"], found["slots"], found["differing"]) == (3, 10, 1020, 0)


def test_the_engines_folder_is_believed_in_nothing(tmp_path):
    network, x = network_of(), inputs_of(network_of(), samples())
    data = spinnaker.to_bytes(spinnaker.quantize(network), network, x)
    home = engine(tmp_path)
    for name in ("bin/python", "chip.py"):
        (home / name).rename(home / "elsewhere")
        with pytest.raises(MissingToolError, match="no engine in"):
            compare_with(data, x, home)
        (home / "elsewhere").rename(home / name)
    assert compare_with(data, x, home).passed
    for change, told in (
        ('numbers["differing_words"] = 1', "1 of 70 words differ; 0 of 510 slots differ"),
        ('found["0"] = found["0"][:, :2]', "layer 0: spikes of (5, 2, 9), ours of (5, 6, 9)"),
        ('found["0"][0] ^= 1; found["1"][4, 5, 7] ^= 1', "0 of 70 words differ; 55 of 510 slots differ"),
    ):
        outcome = compare_with(data, x, engine(tmp_path, change))
        assert (outcome.passed, told in outcome.told) == (False, True), outcome.told
    for change, told in (
        ('del found["1"]', "sPyNNaker's files: KeyError"),
        ('del numbers["cores"]', "sPyNNaker's files: KeyError"),
        ("numbers = 7", "sPyNNaker's files: TypeError"),
        (
            "sys.exit('SynapseRowTooBigException: 283')",
            "sPyNNaker: exit code 1: SynapseRowTooBigException: 283",
        ),
        ("import time; time.sleep(60)", "sPyNNaker: no answer in 5 s"),
    ):
        with pytest.raises(CheckFailed, match=told):
            compare_with(data, x, engine(tmp_path, change), timeout=5 if "sleep" in change else 60)
    (home / "chip.py").write_text(
        "import sys; f = sys.argv[1]\nfor n in ('trace.npz', 'mapping.json'):\n"
        "    open(f + '/' + n, 'w').write('{')\n"
    )
    with pytest.raises(CheckFailed, match="sPyNNaker's files"):
        compare_with(data, x, home)


def test_what_the_command_is_refused_for(model, tmp_path, capsys):
    network = file.load_spiking(model)
    high = replace(network, layers=(network.layers[0], replace(network.layers[1], threshold=20000)))
    file.save(high, tmp_path / "high.safetensors")
    cases = [
        ((model, "-o", "x.bin"), 3, "-o x.npz"),
        ((model, "-o", "no/x.npz"), 3, "mkdir -p no"),
        (("high.safetensors",), 3, "layer 1: a threshold of 20,000"),
        ((model, "--batch", 2), 2, "--batch is of --target executorch"),
        ((), 2, "--target spinnaker wants MODEL"),
    ]
    for arguments, wanted, words in cases:
        code, _, err = run(capsys, "export", "-t", "spinnaker", *arguments)
        assert (code, words in err) == (wanted, True), err
    assert not Path("high.npz").exists()
