"""personalize with a store, and replay, as a user runs them; terminated and started again."""

import json
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from commands import document, run
from personal import NAMES, save_three_classes

from edgehff.model import file
from edgehff.personalize import replay as audit
from edgehff.personalize.session import PersonalSession


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return save_three_classes(tmp_path_factory.mktemp("data") / "data.npz")


@pytest.fixture(scope="module")
def model(data):
    path = data.parent / "model.safetensors"
    command = [sys.executable, "-m", "edgehff", "train", "--data", data, "--layers", "8", "-o", path]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return path


def csv(data, n, names=NAMES):
    with np.load(data) as z:
        return "".join(
            f"{','.join(map(str, x))},{names[c]}\n" for x, c in zip(z["X"][:n], z["y"], strict=False)
        )


def test_a_stream_is_learned_kept_and_made_again(tmp_path, model, data, capsys):
    (tmp_path / "s.csv").write_text(csv(data, 50) + "1,2\n")
    store = tmp_path / "store"
    d = document(capsys, "personalize", model, "--stream", tmp_path / "s.csv", "--store", store)
    assert (d["samples"], d["events"], d["refused"]) == (50, 50, {"malformed": 1})
    again = document(capsys, "personalize", "--store", store, "--stream", tmp_path / "s.csv")
    assert again["events"] == 100
    assert again["state_crc32"] != d["state_crc32"]
    r = document(capsys, "replay", store, "-o", tmp_path / "now.safetensors")
    assert (r["events"], r["first_event"], r["trailing_bytes"]) == (100, 0, 0)
    assert r["state_crc32"] == again["state_crc32"]
    assert [p["state_crc32"] for p in r["proved"]] == [again["state_crc32"]]
    e = document(capsys, "eval", tmp_path / "now.safetensors", "--data", data)
    assert e["weights_crc32"] == again["weights_crc32"]
    code, out, _ = run(capsys, "replay", store)
    assert code == 0
    assert "made again from the factory's model" in out


def test_answers_as_json_lines(tmp_path, model, data, capsys):
    first, second = csv(data, 2).splitlines()
    x = list(map(int, first.split(",")[:-1]))
    lines = [json.dumps({"x": x, "id": "a"}), second, '{"id": "a", "label": "wave"}', "oops"]
    (tmp_path / "s.jsonl").write_text("\n".join(lines) + "\n")
    code, out, err = run(
        capsys, "personalize", model, "--stream", tmp_path / "s.jsonl", "--store", tmp_path / "s",
        "--answers", "jsonl",
    )  # fmt: skip
    assert code == 0, err
    got = [json.loads(line) for line in out.splitlines()]
    answer = got[0]["answer"]
    assert got[0] == {"id": "a", "answer": answer}
    assert got[1]["learned"] == second.rsplit(",", 1)[1]
    assert got[2] == {"id": "a", "learned": "wave", "answer": got[2]["answer"]}
    assert got[3]["refused"] == "malformed"
    assert got[-1] == {"saved": 2}
    assert "passed over line 4" in err


def test_a_class_is_forgotten_as_if_it_had_never_been(tmp_path, model, data, capsys):
    (tmp_path / "s.csv").write_text(csv(data, 60, ["rest", "fist", "clap"]))
    (tmp_path / "without.csv").write_text(
        "".join(line + "\n" for line in csv(data, 60).splitlines() if not line.endswith("wave"))
    )
    document(
        capsys,
        "personalize",
        model,
        "--stream",
        tmp_path / "s.csv",
        "--store",
        tmp_path / "a",
        "--new-classes",
    )
    d = document(capsys, "personalize", "--store", tmp_path / "a", "--forget", "clap", "--exact")
    never = document(
        capsys, "personalize", model, "--stream", tmp_path / "without.csv", "--store", tmp_path / "b"
    )
    assert d["state_crc32"] == never["state_crc32"]
    assert d["forgotten"] == "clap"
    assert document(capsys, "replay", tmp_path / "a")["state_crc32"] == never["state_crc32"]


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ((), 2, "name a MODEL"),
        (("--store", "none"), 3, "is no store"),
        (("{model}", "--exact"), 2, "--exact goes with"),
        (("{model}", "--forget", "fist", "--exact"), 3, "keeps no journal"),
        (("{model}", "--forget", "first"), 3, "did you mean fist"),
        (("{model}", "--stream", "none.csv"), 3, "cannot read none.csv"),
        (("{model}", "--watch", "none/none"), 3, "No such file"),
        (("{model}", "--serial", "/dev/none"), 5, "cannot open"),
        (("{model}", "--stream", "a", "--serial", "b"), 2, "two sources"),
        (("{model}", "--data", "-", "--watch", "b"), 2, "two sources"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path, monkeypatch, model, capsys, args, code, message):
    monkeypatch.chdir(tmp_path)
    got, _, err = run(capsys, "personalize", *(str(model) if a == "{model}" else a for a in args))
    assert got == code, err
    assert message in err
    assert not list(tmp_path.iterdir())


def test_replay_of_what_is_no_store(tmp_path, capsys):
    code, _, err = run(capsys, "replay", tmp_path)
    assert code == 3
    assert "is no store" in err


def test_replay_ends_with_7_where_the_journal_was_altered(tmp_path, model, data, capsys):
    (tmp_path / "s.csv").write_text(csv(data, 30))
    document(capsys, "personalize", model, "--stream", tmp_path / "s.csv", "--store", tmp_path / "s")
    path = tmp_path / "s" / "journal-00000001.bin"
    altered = bytearray(path.read_bytes())
    altered[700] ^= 1
    path.write_bytes(altered)
    code, _, err = run(capsys, "replay", tmp_path / "s")
    assert code == 7
    assert "the journal ends after" in err


def start(model, store):
    command = [
        sys.executable, "-u", "-m", "edgehff", "personalize", model, "--data", "-", "--store", store,
        "--answers", "jsonl",
    ]  # fmt: skip
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def told_safe(lines):
    return max([0, *(json.loads(line)["saved"] for line in lines if b'"saved"' in line)])


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_with_all_that_came_saved(tmp_path, model, data, capsys, sent, code):
    process = start(model, tmp_path / "s")
    try:
        process.stdin.write(csv(data, 5).encode())
        process.stdin.flush()
        lines = [process.stdout.readline() for _ in range(5)]
        assert all(b"learned" in line for line in lines)
        process.send_signal(sent)
        rest, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == code, err
    assert document(capsys, "replay", tmp_path / "s")["events"] == 5
    assert told_safe(rest.splitlines()) in (0, 5)


def test_a_calibrated_model_answers_unknown(tmp_path, model, data, capsys):
    known = tmp_path / "known.safetensors"
    code, out, err = run(capsys, "calibrate", model, "--data", data, "-o", known, "--false-alarms", 10)
    assert code == 0, err
    assert "unknown below 0." in out
    d = document(capsys, "calibrate", model, "--data", data, "-o", known, "--score", "answer")
    assert (d["samples"], d["people"], d["score"]) == (60, 1, "answer")
    strange = ",".join(["100", "-100"] * 6) + "\n"
    (tmp_path / "s.csv").write_text(csv(data, 60) + strange)
    document(capsys, "calibrate", model, "--data", data, "-o", known, "--false-alarms", 5)
    store = ("--store", tmp_path / "s", "--answers", "jsonl")
    code, out, err = run(capsys, "personalize", known, "--stream", tmp_path / "s.csv", *store)
    assert code == 0, err
    answer = next(json.loads(line) for line in out.splitlines() if "familiarity" in line)
    assert answer["unknown"]
    (tmp_path / "s.csv").write_text(strange)
    code, out, err = run(capsys, "personalize", "--store", tmp_path / "s", "--stream", tmp_path / "s.csv")
    assert out == "unknown\n"
    code, _, err = run(capsys, "calibrate", model, "--data", data)
    assert code == 2


@pytest.mark.plot
def test_replay_draws_where_a_class_drifted(tmp_path, model, capsys):
    """After 40 samples of one class come others' under its label: the plot's data has the alarm."""
    pytest.importorskip("matplotlib")
    with PersonalSession.open(tmp_path / "s", file.load(model)) as session:
        right = 25 * np.repeat([1, 1], 6)
        for n in range(90):
            session.learn_one((right if n < 40 else -right).astype(np.int8), 0)
        alarms = session.metrics()["classes"][0]
    drifts: audit.Drifts = {}
    list(audit.replay(tmp_path / "s", partial(audit.follow, drifts)))
    course = drifts[NAMES[0]]
    assert [n for n, _, _ in course] == list(range(1, 91))
    marked = [n for n, _, alarmed in course if alarmed]
    assert len(marked) == alarms["drifts"] > 0
    assert marked[-1] == alarms["drifted_at"]
    assert marked[0] > 40
    picture = tmp_path / "drift.png"
    r = document(capsys, "replay", tmp_path / "s", "--plot", picture)
    assert r["plot"] == str(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
