"""train, eval and personalize, as a user runs them: outputs, documents, exit codes, and nothing lost."""

import json

import numpy as np
import pytest
from commands import document, run


@pytest.fixture
def data(tmp_path):
    """Three classes of two people (90 and 30 training rows), in windows of 6 x 2, and test rows."""
    rng = np.random.default_rng(4)
    y = np.tile(np.arange(3), 60)
    x = rng.integers(-20, 20, (180, 6, 2)) + 25 * np.array([[1, 1], [1, -1], [-1, 0.5]])[y][:, None]
    path = tmp_path / "data.npz"
    np.savez(
        path, X=x.astype(np.int8), y=y, group=np.arange(180) // 120, is_test=np.arange(180) % 90 >= 60,
        class_names=np.array(["rest", "fist", "wave"]),
    )  # fmt: skip
    return path


@pytest.fixture
def model(tmp_path, data, capsys):
    path = tmp_path / "model.safetensors"
    assert run(capsys, "train", "--data", data, "--layers", "16,8", "--epochs", 3, "-o", path)[0] == 0
    return path


@pytest.fixture
def stdin(monkeypatch, tmp_path):
    """Have text come from standard input: a real file, as a shell gives it."""
    opened = []

    def give(text):
        path = tmp_path / "stdin.txt"
        path.write_text(text)
        opened.append(path.open())
        monkeypatch.setattr("sys.stdin", opened[-1])

    yield give
    for file in opened:
        file.close()


def test_train_says_what_it_did(tmp_path, data, capsys):
    path = tmp_path / "m.safetensors"
    d = document(
        capsys, "train", "--data", data, "--layers", "16,8", "--epochs", 4, "--arith", "int8", "-o", path
    )
    assert d["format"] == "edgehff.train/1"
    assert d["samples"] == 4 * 120
    assert len(d["updates"]) == 2
    assert 0 < d["updates_all"][0] <= 1
    assert d["recipe"]["arith"] == "int8"
    e = document(capsys, "eval", path)
    assert e["weights_crc32"] == d["weights_crc32"]


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(tmp_path, data, capsys):
    def crcs(seed):
        d = document(
            capsys,
            "train",
            "--data",
            data,
            "--layers",
            "16",
            "--epochs",
            2,
            "--seed",
            seed,
            "-o",
            tmp_path / "m.st",
        )
        return d["weights_crc32"], d["state_crc32"]

    assert crcs(0) == crcs(0) != crcs(1)


def test_a_recipe_and_the_options_over_it(tmp_path, data, capsys):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'data = "{data}"\nlayers = [9]\nepochs = 2\nseed = 5\ngate = "off"\n')
    d = document(capsys, "train", recipe, "--epochs", 1, "-o", tmp_path / "m.st")
    assert (d["samples"], d["seed"], d["recipe"]["layers"], d["updates"]) == (120, 5, [9], [1.0])


def test_a_person_can_be_left_out_and_the_gate_be_off(tmp_path, data, capsys):
    options = ["--data", data, "--layers", "16", "--epochs", 1, "-o", tmp_path / "m.st"]
    assert document(capsys, "train", *options, "--without-group", 1)["samples"] == 90
    assert document(capsys, "train", *options, "--gate", "off")["updates"] == [1.0]
    assert document(capsys, "train", *options, "--gate", "0")["updates"] < [1.0]


def test_eval_measures_test_rows(model, data, capsys):
    d = document(capsys, "eval", model)
    assert d["samples"] == 60
    assert d["accuracy"] > 0.9
    matrix = np.array(d["confusion"])
    assert matrix.sum(axis=1).tolist() == [20, 20, 20]
    assert d["accuracy"] == np.trace(matrix) / 60
    assert d["per_class"] == [row[c] / 20 for c, row in enumerate(matrix)]
    assert len(d["per_layer"]) == 2
    code, out, _ = run(capsys, "eval", model)
    assert code == 0
    assert "Per class" in out
    assert "wave" in out
    assert document(capsys, "eval", model, "--group", 1, "--rows", "train")["samples"] == 30
    small = document(capsys, "eval", model, "--int8-prototypes")
    assert small["accuracy"] > 0.9
    assert small["weights_crc32"] != d["weights_crc32"]


def test_personalize_learns_one_person_and_leaves_the_model(tmp_path, model, data, capsys):
    before = model.read_bytes()
    target = tmp_path / "mine.safetensors"
    d = document(capsys, "personalize", model, "--data", data, "--group", 1, "-o", target)
    assert (d["samples"], d["test_samples"]) == (30, 30)
    assert d["steps"] == 3 * 120 + 30
    assert model.read_bytes() == before
    e = document(capsys, "eval", target, "--group", 1)
    assert e["accuracy"] == d["accuracy"]
    assert e["weights_crc32"] == d["weights_crc32"]
    again = document(capsys, "personalize", model, "--data", data, "--group", 1)
    assert again["weights_crc32"] == d["weights_crc32"]
    other = document(capsys, "personalize", model, "--data", data, "--group", 1, "--order", "shuffled")
    assert other["weights_crc32"] != d["weights_crc32"]


def test_lines_with_labels_are_learned_and_those_without_answered(model, data, capsys, stdin, tmp_path):
    with np.load(data) as z:
        rows = z["X"].reshape(-1, 12)
    text = ",".join(map(str, rows[1])) + ",fist\n" + json.dumps({"x": rows[2].tolist(), "label": 2}) + "\n"
    text += ",".join(map(str, rows[0])) + "\n"
    stdin(text)
    code, out, err = run(capsys, "personalize", model, "--data", "-", "-o", tmp_path / "p.st")
    assert code == 0, err
    assert out.strip() == "rest"
    assert "learned 2 samples" in err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,3", "line 1: 3 cells"),
        (",".join(["1"] * 12) + ",dance", "label 'dance' is no class"),
        (",".join(["1"] * 12) + ",3", "label 3 is no class"),
        (",".join(["1.5"] * 12) + ",0", "is not int8"),
        (",".join(["200"] * 12) + ",0", "is not int8"),
        (",".join(["nan"] * 12) + ",0", "not a finite number"),
    ],
)
def test_a_bad_line_is_refused_with_the_reason(model, capsys, stdin, line, message):
    stdin(line + "\n")
    code, _, err = run(capsys, "personalize", model, "--data", "-")
    assert code == 3
    assert message in err
    assert "try:" in err


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("train", "-o", "x.st"), 3, "no data set is named"),
        (("train", "--data", "digits"), 2, "Missing option"),
        (("train", "--data", "digitz", "-o", "x.st"), 3, "digitz"),
        (("train", "--data", "digits", "--layers", "a", "-o", "x.st"), 3, "--layers a cannot be read"),
        (("train", "--data", "digits", "--gate", "x", "-o", "x.st"), 3, "--gate x cannot be read"),
        (("train", "--data", "digits", "--arith", "int9", "-o", "x.st"), 3, "none of int8, int16, float"),
        (
            ("train", "--data", "digits", "--dropout", "0.5", "-o", "x.st"),
            3,
            "is for --arith float",
        ),
        (("train", "none.toml", "-o", "x.st"), 3, "cannot read none.toml"),
        (
            ("train", "--data", "digits", "--without-group", "3", "-o", "x.st"),
            3,
            "no training rows of group 3",
        ),
        (("train", "--data", "digits", "-o", "no/such/folder/x.st"), 3, "does not exist"),
        (("eval", "none.safetensors"), 3, "none.safetensors"),
        (("personalize", "none.safetensors"), 3, "none.safetensors"),
    ],
)
def test_bad_input_has_an_exit_code_and_a_next_step(tmp_path, monkeypatch, capsys, args, code, message):
    monkeypatch.chdir(tmp_path)
    got, out, err = run(capsys, *args)
    assert got == code
    assert message in err
    assert "try:" in err
    assert "Traceback" not in err
    assert not out
    assert not list(tmp_path.iterdir())


def test_data_of_other_classes_or_shape_are_refused(tmp_path, model, capsys):
    code, _, err = run(capsys, "eval", model, "--data", "digits")
    assert code == 3
    assert "10 classes" in err
    np.savez(
        tmp_path / "wide.npz",
        X=np.zeros((6, 7, 2), np.int8),
        y=[0, 1, 2] * 2,
        class_names=["rest", "fist", "wave"],
    )
    code, _, err = run(capsys, "eval", model, "--data", tmp_path / "wide.npz", "--rows", "all")
    assert code == 3
    assert "(7, 2)" in err


def test_a_group_that_is_not_there(model, capsys):
    code, _, err = run(capsys, "personalize", model, "--group", 9)
    assert code == 3
    assert "groups: 0, 1" in err
