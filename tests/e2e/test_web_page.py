"""The page in a real browser, beside a real process that learns from a pipe."""

import json
import re
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from personal import save_three_classes

from edgehff.personalize.replay import Replayed, replay

pytestmark = pytest.mark.browser
wait = pytest.importorskip("selenium.webdriver.support.wait")
WAIT_S = 60
NAMES = ["rest", "<b>fist</b>", "wave"]


@pytest.fixture(scope="module")
def browser():
    pytest.importorskip("waitress")
    webdriver = pytest.importorskip("selenium.webdriver")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("chromium or its driver is not installed: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    started.set_page_load_timeout(WAIT_S)
    yield started
    started.quit()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three classes that lie apart, one of them with markup for a name."""
    return save_three_classes(tmp_path_factory.mktemp("data") / "data.npz", NAMES)


@pytest.fixture
def learning(tmp_path, data):
    """A process that learns from what is written to its stdin, its page on a free port."""
    model = tmp_path / "model.safetensors"
    program = [sys.executable, "-u", "-m", "edgehff"]
    train = [*program, "train", "--data", data, "--layers", "8", "-o", model]
    subprocess.run(train, check=True, capture_output=True, timeout=120)
    command = [*program, "personalize", model, "--data", "-", "--store", tmp_path / "store"]
    command += ["--new-classes", "--answers", "jsonl", "--web", "0", "--web-token", "a-token-of-this-test"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        bound = threading.Timer(2 * WAIT_S, process.kill)  # then nothing waits for its words any more
        bound.start()
        yield process
        bound.cancel()
        process.kill()


def write(process, document):
    process.stdin.write(json.dumps(document).encode() + b"\n")
    process.stdin.flush()


def told(process, key):
    """The next line on stdout that has a key."""
    for line in process.stdout:
        document = json.loads(line)
        if key in document:
            return document
    raise AssertionError(process.stderr.read().decode())


def test_a_click_labels_a_sample_and_it_is_learned(browser, learning, data, tmp_path):
    with np.load(data) as z:
        rows = [row.tolist() for row in z["X"][:20]]
    address = re.fullmatch(r"page: (http://\S+)\n", learning.stderr.readline().decode())[1]
    browser.get(address)

    def find(selector):
        return browser.find_elements("css selector", selector)

    def shown(what, selector):
        """Wait until an element of the selector says so."""

        def look(_):
            return [e for e in find(selector) if re.fullmatch(what, e.get_attribute("textContent"))]

        return wait.WebDriverWait(browser, WAIT_S).until(look, f"{selector} never said {what}")[0]

    shown("learning", "#state")
    assert "token" not in browser.current_url
    assert find("#accuracy")[0].text == "\N{EN DASH}"
    answer = None
    for wrong in (False, True):  # the label that is answered, then another one
        write(learning, {"x": rows[0]})
        answer = told(learning, "answer")["answer"]
        write(learning, {"x": rows[0], "label": NAMES[(NAMES.index(answer) + wrong) % 3]})
        assert told(learning, "learned")["answer"] == answer
        shown("50.0 %" if wrong else "100 %", "#accuracy")
    assert "50.0 % after" in find("#curve")[0].get_attribute("aria-label")
    assert sorted(e.text for e in find("#cosines .name")) == sorted(NAMES)

    for row, name in ((1, "first"), (2, "second"), (4, "third")):
        write(learning, {"x": rows[row], "id": name})
    shown("3", "#waiting-count")
    assert [e.text for e in find(".card .id")] == ["third", "second", "first"]
    assert [e.text for e in find(".card")[0].find_elements("css selector", ".choices button")] == NAMES
    for sample, name in (("first", "<b>fist</b>"), ("second", "wave")):
        find(f".choices button[aria-label='Label {sample} as {name}']")[0].click()
        learned = told(learning, "learned")
        assert (learned["id"], learned["learned"]) == (sample, name)
        shown(re.escape(f"learned as {name}"), ".card .answer")
    field = find(".card input")[0]
    browser.execute_script("arguments[0].closest('details').open = true", field)
    field.send_keys("clap\n")
    assert told(learning, "learned")["learned"] == "clap"
    shown("0", "#waiting-count")
    shown("5", "#samples")
    assert not find("main b")
    assert [entry["message"] for entry in browser.get_log("browser")] == []

    _, err = learning.communicate(timeout=WAIT_S)
    assert learning.returncode == 0, err
    shown("the stream has ended.*", "#state")
    *_, end = replay(tmp_path / "store")
    assert isinstance(end, Replayed)
    counts = dict(zip(end.learner.names, end.learner.learned, strict=True))
    assert (sum(counts.values()), counts["clap"]) == (5, 1)
    assert min(counts["<b>fist</b>"], counts["wave"]) >= 1
