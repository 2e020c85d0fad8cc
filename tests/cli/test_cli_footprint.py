import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgehff.cli.main import main
from edgehff.core import Net
from edgehff.geometry import ConvLayer
from edgehff.model.encoding import fit_encoding
from edgehff.model.file import save
from edgehff.model.network import Network
from edgehff.recipe import EncoderRecipe, Recipe

SIZES = ["--layers", "32,16", "--inputs", "64", "--classes", "10"]


@pytest.fixture
def run(capsys):
    def call(*arguments):
        code = main(["footprint", *map(str, arguments)])
        caught = capsys.readouterr()
        return code, caught.out, caught.err

    return call


@pytest.fixture
def model(tmp_path):
    x = np.random.default_rng(0).normal(size=(30, 8, 2)).astype(np.float32)
    recipe = Recipe(
        layers=(12, 6), arith="int8", encoder=EncoderRecipe(features=("rms",), segments=4, standardize=True)
    )
    encoding = fit_encoding(x, recipe.encoder)
    net = Net(recipe.core_config(encoding.n_features, 3))
    path = tmp_path / "gestures.safetensors"
    save(Network.from_core(net, recipe, ("a", "b", "c"), encoding), path)
    return path, net, encoding


def test_a_model_from_its_file(run, model):
    path, net, encoding = model
    code, out, _ = run(path, "--json")
    document = json.loads(out)
    assert code == 0
    assert document["format"] == "edgehff.footprint/1"
    assert document["model"] == str(path)
    assert document["weights_crc32"] == f"{net.weights_crc32:08x}"
    assert document["flash_bytes"] == len(net.save_blob(encoding.to_core()))
    assert document["ram"]["raw_sample"] == 8 * 2 * 2
    assert (document["stack_bytes"], document["passed"], document["board"]) == (None, True, None)


def test_the_newest_model_here_is_the_default(run, model, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("--json")
    assert (code, json.loads(out)["model"]) == (0, "gestures.safetensors")
    assert "gestures.safetensors" in err
    model[0].unlink()
    code, out, err = run()
    assert (code, out) == (3, "")
    assert "no model in ." in err
    assert "try: edgehff train" in err


def test_a_network_that_does_not_exist(run):
    documents = {arith: json.loads(run(*SIZES, "--arith", arith, "--json")[1]) for arith in ("int8", "int16")}
    assert documents["int16"]["flash"]["weights"] == 2 * documents["int8"]["flash"]["weights"] == 2 * 2560
    assert json.loads(run(*SIZES, "--json")[1]) == documents["int16"]
    assert documents["int8"]["ram"]["raw_sample"] == 64
    assert documents["int8"]["model"] is None


def test_tables_and_markdown(run):
    code, out, err = run(*SIZES)
    assert (code, err) == (0, "")
    for text in (
        "RAM while learning",
        "Flash",
        "backpropagation, float32, batch 32",
        "times ours",
        "Code and stack",
    ):
        assert text in out
    code, out, _ = run(*SIZES, "--markdown")
    assert code == 0
    assert "| weights | 5,120 |" in out
    assert "- Code and stack" in out


@pytest.mark.parametrize("form", [[], ["--json"], ["--markdown"]])
def test_over_a_budget_ends_with_7_after_the_report(run, form):
    code, out, err = run(*SIZES, *form, "--budget-ram", "7k", "--budget-flash", "6000")
    assert code == 7
    assert "5120" in out.replace(",", "")
    assert (
        "flash: 6,192 bytes are 192 over the budget of 6,000; the largest part is weights with 5,120" in err
    )
    assert "RAM" not in err
    assert "try: edgehff footprint --layers 32,16 --inputs 64 --classes 10 --arith int8" in err
    if form == ["--json"]:
        document = json.loads(out)
        assert document["passed"] is False
        assert document["budgets"] == {"ram_bytes": 7168, "flash_bytes": 6000}


def test_a_board_sets_budgets_that_options_override(run):
    code, _, err = run(*SIZES, "--board", "uno")
    assert code == 7
    assert "RAM: 6,752 bytes are 4,704 over the budget of 2,048" in err
    code, _, err = run(*SIZES, "--board", "uno", "--budget-ram", "8k")
    assert code == 0
    assert "8,192 bytes of RAM, 32,768 of flash" in err
    code, out, _ = run(*SIZES, "--board", "microbit", "--json")
    assert json.loads(out)["budgets"] == {"ram_bytes": 16384, "flash_bytes": 262144}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("7056", 7056),
        ("7k", 7168),
        ("7K", 7168),
        ("7KiB", 7168),
        ("7 kb", 7168),
        ("6.5k", 6656),
        ("1M", 2**20),
        ("9b", 9),
    ],
)
def test_sizes_as_people_write_them(run, text, size):
    out = run(*SIZES, "--budget-ram", text, "--json")[1]
    assert json.loads(out)["budgets"]["ram_bytes"] == size


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--budget-ram", "lots", *SIZES], "no size"),
        (["--budget-ram", "-1", *SIZES], "no size"),
        (["--budget-flash", "1g", *SIZES], "no size"),
        (["--layers", "32"], "--inputs, --classes"),
        (["--arith", "int8"], "--layers, --inputs, --classes"),
        (["model.safetensors", "--arith", "int8"], "leave --arith out"),
        (["--layers", "32,", "--inputs", "9", "--classes", "2"], "128,64"),
        (["--board", "pico", *SIZES], "microbit"),
        (["--inputs", "0", "--layers", "3", "--classes", "2"], "--inputs"),
    ],
)
def test_wrong_usage_ends_with_2(run, arguments, words):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert words in err


@pytest.mark.parametrize("layers", ["0", "70000", ",".join(["9"] * 33), "65536,65536"])
def test_sizes_that_no_network_has_end_with_3(run, layers):
    code, out, err = run("--layers", layers, "--inputs", "9", "--classes", "2")
    assert (code, out) == (3, "")
    assert "error:" in err
    assert "try:" in err


def test_a_damaged_model_ends_with_3(run, tmp_path):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(b"not a model")
    code, out, err = run(path)
    assert (code, out) == (3, "")
    assert str(path) in err


def test_help_loads_no_numpy():
    code = "import sys; from edgehff.cli.main import main; main(['footprint', '--help']); "
    code += "sys.exit('numpy' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60).returncode
        == 0
    )


def test_the_example_of_the_documentation(run, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    page = Path(__file__).parents[2] / "docs" / "how-to" / "read-a-footprint.md"
    example = page.read_text(encoding="utf-8").split("```console\n")[1].split("```")[0]
    command, _, wanted = example.partition("\n")
    assert command.startswith("$ edgehff footprint ")
    code, out, _ = run(*command.split()[3:])
    assert (code, out.strip()) == (0, wanted.strip())


def test_convolutions_from_a_file_and_what_makes_them_smaller(run, tmp_path):
    recipe = Recipe(
        layers=(5,), conv=(ConvLayer(4, pool="max", pool_size=(2, 2)),), input_shape=(8, 8, 1), arith="int16"
    )
    path = tmp_path / "maps.safetensors"
    encoding = fit_encoding(np.zeros((3, 8, 8), np.uint8), recipe.encoder)
    net = Net(recipe.core_config(64, 3))
    save(Network.from_core(net, recipe, ("a", "b", "c"), encoding), path)
    document = json.loads(run(path, "--json")[1])
    assert document["flash_bytes"] == len(net.save_blob(encoding.to_core()))
    assert document["flash"]["weights"] == 2 * (4 * 9 + 64 * 5)
    code, _, err = run(path, "--budget-ram", "1k")
    assert code == 7
    assert 'try: arith = "int8", fewer channels' in err
    assert "--layers" not in err


def test_the_table_of_the_results_is_what_the_command_prints(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    page = Path(__file__).parents[2] / "docs" / "explanation" / "results.md"
    section = page.read_text(encoding="utf-8").split("`edgehff bench depth`\n")[1].split("\n## ")[0]
    row = re.compile(r"\s*(\d+),\s+(int\d+)\s+((?:[\d,]+\s*){8})")
    written = [row.fullmatch(re.sub("[|`]", " ", line)) for line in section.splitlines()]
    assert main(["bench", "depth"]) == 0
    printed = [row.fullmatch(line) for line in capsys.readouterr().out.splitlines()]
    wanted = [(found[1], found[2], found[3].split()) for found in printed if found]
    assert len(wanted) == 8
    assert [(found[1], found[2], found[3].split()) for found in written if found] == wanted
