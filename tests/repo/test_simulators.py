"""Other groups' simulators give the spikes again; each has its own environment, `make simulators`."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build/simulators"
NAMES = sorted(path.stem.removeprefix("run_") for path in (ROOT / "tools/simulators").glob("run_*.py"))


def tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/simulators/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def there(name):
    return (FOLDER / name / "installed.txt").is_file()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Small layers, trained for two passes: accuracy has no part in it."""
    path = tmp_path_factory.mktemp("spikes")
    text = (ROOT / "models/digits-spiking/recipe.toml").read_text()
    (path / "r.toml").write_text(text.replace("epochs = 20", "epochs = 2").replace("[128, 128]", "[48, 32]"))
    command = [
        sys.executable,
        "-m",
        "edgehff",
        "spike",
        "train",
        path / "r.toml",
        "-o",
        path / "m.safetensors",
    ]
    subprocess.run(command, check=True, capture_output=True)
    return path / "m.safetensors"


@pytest.mark.slow
@pytest.mark.spiking
@pytest.mark.parametrize("name", NAMES)
def test_a_simulator_gives_the_same_spikes(name, model):
    if not there(name):
        pytest.skip(f"needs python tools/simulators/install.py {name}")
    pytest.importorskip("snntorch")
    command = [sys.executable, "-m", "edgehff", "spike", "verify", str(model), "--simulator", name]
    done = subprocess.run(
        [*command, "--first", "40", "--json"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    lines = json.loads(done.stdout)["simulators"]
    assert done.returncode == 0, done.stderr
    assert all(line["spikes"] > 100 and line["differing"] == 0 for line in lines)
    assert len(lines) == (2 if name == "lava" else 1)
    if name == "neurobench":
        theirs, ours = lines[0]["operations"]
        assert theirs == ours > 1000


@pytest.mark.slow
@pytest.mark.spiking
@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_lavas_engine_learns_the_same_weights(reset):
    if not there("lava"):
        pytest.skip("needs python tools/simulators/install.py lava")
    pytest.importorskip("snntorch")
    command = [sys.executable, "tools/simulators/lava_learning.py", "--samples", "50", "--reset", reset]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert max(found["differ"].values()) < 1e-13
    assert min(found["moved"].values()) > 0.01


def fixed_learning(*options):
    command = [sys.executable, "tools/simulators/lava_learning.py", "--arithmetic", "fixed_pt", *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.spiking
@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_lavas_fixed_point_engine_learns_the_same_integers(reset):
    if not there("lava"):
        pytest.skip("needs python tools/simulators/install.py lava")
    pytest.importorskip("snntorch")
    code, found = fixed_learning("--samples", "60", "--reset", reset)
    assert code == 0
    assert found["differ"]["weight_0"] == found["differ"]["weight_1"] == 0
    assert max(found["differ"].values()) < 1e-13
    assert min(found["moved"][f"weight_{i}"] for i in range(2)) > 8


@pytest.mark.spiking
@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_the_engines_integers_learn(reset):
    pytest.importorskip("snntorch")
    code, found = fixed_learning("--no-lava", "--samples", "400", "--reset", reset)
    assert code == 0
    assert max(found["accuracy_before"]) < 0.15
    assert min(found["accuracy_after"]) > 0.68  # 0.60 by prototypes alone
    assert max(found["at_ends"].values()) < 0.01


@pytest.mark.parametrize("name", NAMES)
def test_each_program_says_what_it_needs(name):
    version, packages = tool("install").needs(ROOT / f"tools/simulators/run_{name}.py")
    assert version in ("3.10", "3.11")
    assert all("==" in package or "<" in package for package in packages)


def test_what_cannot_be_installed_is_said(tmp_path, monkeypatch, capsys):
    install = tool("install")
    monkeypatch.setattr(install, "TARGET", tmp_path)
    monkeypatch.setattr(install, "python_of", {}.get)
    monkeypatch.setattr(sys, "argv", ["install.py", "norse", "nobody"])
    with pytest.raises(SystemExit, match="1"):
        install.main()
    out = capsys.readouterr().out
    assert "norse: needs Python 3.11, which is not installed" in out
    assert "nobody: there is no run_nobody.py" in out
    script = tmp_path / "run_x.py"
    script.write_text('"""Says nothing."""\n')
    with pytest.raises(SystemExit, match="says nowhere what it needs"):
        install.needs(script)
