"""Pictures, sound and typed labels: a real video file, a real sound system with a tape in it."""

import os
import subprocess
import sys
from itertools import pairwise
from queue import SimpleQueue

import numpy as np
import pytest
from commands import run

from edgehff.data.stream import Item
from edgehff.errors import InputError
from edgehff.personalize import sensors
from edgehff.personalize.sources import Refusal

SIDE = 28


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Forty pictures: a white stroke on black, its left half blue."""
    cv2 = pytest.importorskip("cv2")
    path = tmp_path_factory.mktemp("video") / "camera.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (112, 112))
    picture = np.zeros((112, 112, 3), np.uint8)
    picture[20:90, 50:62] = 255
    picture[:, :40] = (200, 0, 0)  # of opencv: blue first
    for _ in range(40):
        writer.write(picture)
    writer.release()
    return path


def test_a_camera_that_is_not_there_names_its_extra():
    with pytest.raises(Exception, match=r"opencv is not installed|gives no picture"):
        next(sensors.camera("99", 8, 8))


def test_pictures_have_the_models_shape_and_colors(video):
    gray = [item.values.reshape(SIDE, 32) for item in sensors.pictures(str(video), (SIDE, 32, 1))]
    assert len(gray) == 40
    assert gray[0].dtype == np.float32
    assert gray[0][14, 16] > 200
    assert gray[0][2, 30] < 20
    color = next(sensors.pictures(str(video), (SIDE, SIDE, 3))).values.reshape(SIDE, SIDE, 3)
    assert color[14, 4, 2] > 150
    assert color[14, 4, 0] < 60
    with pytest.raises(InputError, match="no pictures"):
        next(sensors.pictures(str(video), (50, 8)))


def test_each_sample_has_an_id_of_its_own():
    first = list(sensors.items(iter([np.zeros(3), None, np.ones(3)])))
    assert first[1] is None
    assert first[0].sample_id != first[2].sample_id
    assert [first[0].label, first[2].values.tolist()] == [None, [1, 1, 1]]


def test_a_typed_name_is_the_label_of_the_next_ten():
    words = SimpleQueue()
    plain = Item(np.zeros(2, np.float32), None, "a")
    own = Item(np.zeros(2, np.float32), "rest", "b")

    def stream():
        yield plain
        words.put("fist")
        yield Refusal("line 2", "bad")
        yield None
        yield own
        for _ in range(12):
            yield plain
        words.put("wave")
        words.put("")
        yield plain

    came = list(sensors.prompted(stream(), words))
    labels = [c.label if isinstance(c, Item) else c for c in came]
    assert labels == [None, Refusal("line 2", "bad"), None, "rest", *["fist"] * 10, None, None, None]


def test_a_camera_teaches_what_is_typed(video):
    """The command itself: forty pictures, the first ten after the name are learned under it."""
    model = "models/mnist-conv/model.safetensors"
    done = subprocess.run(
        [sys.executable, "-m", "edgehff", "personalize", model, "--camera", video, "--prompt",
         "--new-classes", "--memory", "64", "--answers", "jsonl"],
        input="stroke\n", capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"learned": "stroke"') == 10
    assert done.stdout.splitlines()[-1].endswith('"answer": "stroke"}')


@pytest.fixture
def tape(tmp_path, monkeypatch):
    """A sound system whose microphone `tape` plays a file."""
    try:
        import sounddevice  # noqa: F401, PLC0415 (without PortAudio an OSError)
    except (ImportError, OSError) as error:
        pytest.skip(str(error))
    sound = np.arange(160_000) % 30_000
    sound.astype("<i2").tofile(tmp_path / "tape.raw")
    (tmp_path / "asound.conf").write_text(
        'pcm.tape { type file; slave.pcm "null"; file "/dev/null"; '
        f'infile "{tmp_path / "tape.raw"}"; format "raw" }}\n'
    )
    return os.environ | {"ALSA_CONFIG_PATH": f"/usr/share/alsa/alsa.conf:{tmp_path / 'asound.conf'}"}


HEAR = """
import sys
from itertools import islice
from edgehff.errors import EdgehffError
from edgehff.personalize import sensors
try:
    for window in islice(sensors.microphone(sys.argv[1], int(sys.argv[2]), 400), 5):
        print(*window[:2], len(window))
except EdgehffError as error:
    print(type(error).__name__, error.message)
"""


@pytest.mark.sound
def test_a_microphone_gives_windows_one_behind_another(tape):
    """In a process of its own: PortAudio reads the sound system's configuration once."""

    def heard(*arguments):
        done = subprocess.run(
            [sys.executable, "-c", HEAR, *arguments],
            env=tape, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    windows = [list(map(int, line.split())) for line in heard("tape", "16000")]
    assert [w[2] for w in windows] == [400] * 5
    assert all(w[1] == w[0] + 1 for w in windows)
    assert [b[0] - a[0] for a, b in pairwise(windows)] == [400] * 4
    assert heard("no such microphone", "16000")[0].startswith("NoDeviceError microphone no such")


def test_sound_is_for_models_of_sound():
    with pytest.raises(InputError, match="sound is int16"):
        sensors.sounds("", 16000, 400, "uint8")


def test_two_sources_or_a_prompt_on_stdin_are_refused(tmp_path, capsys):
    model = "models/emg-gestures/model.safetensors"
    code, _, err = run(capsys, "personalize", model, "--camera", "0", "--microphone", "")
    assert (code, "two sources" in err) == (2, True)
    code, _, err = run(capsys, "personalize", model, "--data", "-", "--prompt")
    assert (code, "reads stdin" in err) == (2, True)
    code, _, err = run(capsys, "personalize", model, "--camera", "0")
    assert (code, "no pictures" in err) == (3, True)
