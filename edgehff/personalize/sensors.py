"""Samples of a camera or a microphone of this machine, and labels that somebody types meanwhile."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from queue import Empty, Full, Queue, SimpleQueue
from threading import Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehff.data.stream import Item
from edgehff.errors import InputError, MissingToolError, NoDeviceError
from edgehff.personalize.sources import PAUSE_S, Came

PROMPTED = 10
"""Samples that a typed name is the label of."""
WAITING = 64
"""Windows of sound that wait to be taken; what comes beyond them is lost."""


def camera(device: str, width: int, height: int, channels: int = 1) -> Iterator[NDArray[np.uint8]]:
    """Pictures of a camera, shape (height, width), or (height, width, 3), RGB; a video's end ends them.

    device: the camera's number, or a video file.

    Raises:
        MissingToolError: without opencv.
        NoDeviceError: no such camera or video, or the camera gives no pictures any more.
    """
    try:
        import cv2  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise MissingToolError("opencv is not installed", hint='pip install "edgehff[camera]"') from error
    capture = cv2.VideoCapture(int(device) if device.isdigit() else device)
    colors = cv2.COLOR_BGR2GRAY if channels == 1 else cv2.COLOR_BGR2RGB
    try:
        n = 0
        while (read := capture.read())[0]:
            n += 1
            picture = cv2.resize(cv2.cvtColor(read[1], colors), (width, height), interpolation=cv2.INTER_AREA)
            yield np.asarray(picture, np.uint8)
        if n == 0 or device.isdigit():
            raise NoDeviceError(f"camera {device} gives no picture", hint="ls /dev/video*")
    finally:
        capture.release()


def microphone(device: str, rate: int, width: int) -> Iterator[NDArray[np.int16] | None]:
    """Windows of width values of a microphone, one behind another; None where none has come for a second.

    device: a name, or a part of one, as `python -m sounddevice` lists them; "" for the system's own.
    rate: samples a second.

    Raises:
        MissingToolError: without sounddevice, or without PortAudio's library.
        NoDeviceError: no such microphone, or it does not give this rate.
    """
    try:
        import sounddevice  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise MissingToolError(
            "sounddevice is not installed", hint='pip install "edgehff[microphone]"'
        ) from error
    except OSError as error:
        raise MissingToolError(str(error), hint="apt install libportaudio2") from error
    windows: Queue[bytes] = Queue(WAITING)

    def take(data: Any, *_: object) -> None:
        try:
            windows.put_nowait(bytes(data))
        except Full:
            return

    try:
        stream = sounddevice.RawInputStream(
            rate, width, device or None, channels=1, dtype="int16", callback=take
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        raise NoDeviceError(
            f"microphone {device or 'of the system'}: {error}", hint="python -m sounddevice lists them"
        ) from error
    with closing(stream):
        stream.start()
        while True:
            try:
                yield np.frombuffer(windows.get(timeout=PAUSE_S), np.int16)
            except Empty:
                if not stream.active:
                    raise NoDeviceError(f"microphone {device} stopped", hint="plug it in again") from None
                yield None


def items(samples: Iterator[NDArray[Any] | None]) -> Iterator[Came]:
    """Samples without labels, each with an id of its own, so that one may come later."""
    begun = time.time_ns() // 1_000_000
    for n, sample in enumerate(samples):
        yield None if sample is None else Item(sample.ravel().astype(np.float32), None, f"{begun:x}-{n}")


def pictures(device: str, shape: tuple[int, ...]) -> Iterator[Came]:
    """A camera's pictures for a model of samples of this shape. InputError where those are no pictures."""
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise InputError(
            f"the model's samples of shape {shape} are no pictures",
            hint="--camera takes models with input_shape = [height, width, 1 or 3]",
        )
    return items(camera(device, shape[1], shape[0], shape[2]))


def sounds(device: str, rate: int, width: int, dtype: str) -> Iterator[Came]:
    """A microphone's windows for a model of raw sound. InputError where its samples are not int16."""
    if dtype != "int16":
        raise InputError(
            f"the model's samples are {dtype}, sound is int16",
            hint="--microphone takes models that were trained on windows of raw int16 sound",
        )
    return items(microphone(device, rate, width))


def typed() -> SimpleQueue[str]:
    """The lines that are typed at the keyboard from now on, while samples come from elsewhere."""
    words: SimpleQueue[str] = SimpleQueue()

    def wait() -> None:
        for line in sys.stdin:
            words.put(line.strip())

    Thread(target=wait, daemon=True).start()
    return words


def prompted(stream: Iterator[Came], words: SimpleQueue[str]) -> Iterator[Came]:
    """A stream in which a typed name is the label of the next ten samples that have none."""
    label, left = "", 0
    for came in stream:
        while not words.empty():
            label = words.get()
            left = PROMPTED if label else 0
        if left and isinstance(came, Item) and came.values is not None and came.label is None:
            left -= 1
            yield replace(came, label=label)
        else:
            yield came
