"""`edgehff bench classes` as a user calls it."""

import pytest
from commands import document, run

RECIPE = 'data = "digits"\nlayers = [16]\nepochs = 1\nscale = 12\n'


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "r.toml").write_text(RECIPE)
    return tmp_path / "r.toml"


def test_new_classes_of_users_with_few_others(recipe, capsys):
    options = ("--by", "split", "--score", "answer", "--ways", 3, "--false-alarms", 20, "--workers", 2)
    found = document(capsys, "bench", "classes", recipe, *options)
    assert (found["cases"], found["ways"], found["asked"]) == (10, 3, 0.2)
    assert found["false_alarms"] == pytest.approx(0.2, abs=0.1)
    assert found["flagged"] > found["false_alarms"]
    assert found["new"] > 0.6


def test_people_have_the_classes_that_they_have(recipe, capsys):
    code, _, err = run(capsys, "bench", "classes", recipe, "--ways", 3)
    assert (code, "--ways goes with --by split" in err) == (2, True)
