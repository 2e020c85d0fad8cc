"""Folders of class folders, and of IDX files."""

from __future__ import annotations

import builtins
import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from edgehff.data import folder as folder_module
from edgehff.data import idx
from edgehff.data.files import load_path
from edgehff.errors import DataError, MissingToolError

PIXELS = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


def image(path: Path, pixels: NDArray[Any] = PIXELS, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(path)
    return path


def array(path: Path, values: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    image(tmp_path / "cat" / "b.png", PIXELS + 1)
    image(tmp_path / "cat" / "a.pgm", PIXELS)
    image(tmp_path / "ant" / "c.PNG", PIXELS + 2)
    (tmp_path / ".cache").mkdir()
    (tmp_path / "ant" / ".hidden").write_text("x")
    (tmp_path / "README.txt").write_text("beside the class folders")
    return tmp_path


@pytest.mark.parametrize("backwards", [True, False])
def test_images_in_the_order_of_their_names(
    pictures: Path, backwards: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: iter(sorted(listed(path), reverse=backwards)))
    dataset = load_path(pictures)
    assert dataset.name == pictures.name
    assert dataset.class_names == ("ant", "cat")
    assert dataset.y.tolist() == [0, 1, 1]
    assert dataset.x.dtype == np.uint8
    np.testing.assert_array_equal(dataset.x, np.stack([PIXELS + 2, PIXELS, PIXELS + 1]))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "L"])
def test_colors_become_gray(tmp_path: Path, mode: str) -> None:
    image(tmp_path / "a" / "1.png", PIXELS, mode)
    image(tmp_path / "b" / "1.png", PIXELS)
    np.testing.assert_array_equal(load_path(tmp_path).x[0], PIXELS)


def test_jpeg_is_near(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "b/1.jpeg"):
        image(tmp_path / name, np.full((8, 8), 100, np.uint8))
    assert np.abs(load_path(tmp_path).x.astype(int) - 100).max() <= 2


def test_arrays_keep_shape_and_dtype(tmp_path: Path) -> None:
    array(tmp_path / "rest" / "1.npy", np.full((50, 8), -3, np.int8))
    array(tmp_path / "fist" / "1.npy", np.full((50, 8), 5, np.int8))
    dataset = load_path(tmp_path)
    assert (dataset.x.dtype, dataset.sample_shape) == (np.int8, (50, 8))
    assert dataset.x[:, 0, 0].tolist() == [5, -3]


def test_folder_without_class_folders(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match="no class folders"):
        load_path(tmp_path)


def test_folder_without_samples(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match="no samples in its 1 class folders"):
        load_path(tmp_path)


def test_class_folder_without_samples(pictures: Path) -> None:
    (pictures / "bee").mkdir()
    with pytest.raises(DataError, match="no sample of 1 of 3 classes: 'bee'"):
        load_path(pictures)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"hello", "not an image or a .npy file"),
        ("x.png", b"hello", "not a readable image"),
        ("x.png", b"", "not a readable image"),
        ("x.npy", b"hello", "not a numpy array"),
        ("x.gif", b"GIF89a", "not an image or a .npy file"),
        ("x.png", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", "not a readable image"),
        ("x.pgm", b"P5 70000 1 255\n", "70000 x 1 pixels; 65536 are possible"),
        ("x.pgm", b"P5 90000 90000 255\n", "x.pgm"),
        ("x.pgm", b"P5 2 2 65535\n" + bytes(8), "pixels of mode I"),
    ],
)
def test_unusable_files(pictures: Path, name: str, content: bytes, message: str) -> None:
    (pictures / "cat" / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_path(pictures)


def test_a_folder_inside_a_class_folder(pictures: Path) -> None:
    (pictures / "cat" / "more.png").mkdir()
    with pytest.raises(DataError, match="not an image"):
        load_path(pictures)


def test_one_shape_and_dtype(pictures: Path) -> None:
    image(pictures / "cat" / "z.png", PIXELS.T.copy())
    with pytest.raises(DataError, match=r"\(4, 3\) of uint8, the first sample is \(3, 4\)"):
        load_path(pictures)
    (pictures / "cat" / "z.png").unlink()
    array(pictures / "cat" / "z.npy", PIXELS.astype(np.int16))
    with pytest.raises(DataError, match=r"\(3, 4\) of int16"):
        load_path(pictures)


@pytest.mark.parametrize("values", [np.uint8(3), np.zeros(0, np.uint8), np.zeros(65537, np.uint8)])
def test_arrays_of_an_impossible_size(tmp_path: Path, values: Any) -> None:
    array(tmp_path / "a" / "1.npy", values)
    with pytest.raises(DataError, match="1 to 65536 values are possible"):
        load_path(tmp_path)


def test_too_many_bytes(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "MAX_BYTES", 35)
    with pytest.raises(DataError, match="more than 35 bytes of samples"):
        load_path(pictures)


def test_images_without_pillow(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_pillow(name: str, *rest: Any) -> Any:
        if name == "PIL":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_pillow)
    with pytest.raises(MissingToolError) as refused:
        load_path(pictures)
    assert refused.value.hint == 'pip install "edgehff[images]"'
    assert refused.value.exit_code == 4


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ending=st.sampled_from(["png", "jpg", "pgm"]),
    cut=st.integers(1, 400),
    at=st.integers(0, 400),
    to=st.integers(0, 255),
)
def test_damaged_images_end_in_a_data_error_or_in_pixels(
    tmp_path: Path, ending: str, cut: int, at: int, to: int
) -> None:
    path = image(tmp_path / f"x.{ending}")
    damaged = bytearray(path.read_bytes()[:cut])
    damaged[at % len(damaged)] = to
    path.write_bytes(bytes(damaged))
    try:
        pixels = folder_module.read_image(path)
    except DataError:
        return
    assert pixels.dtype == np.uint8


def write_idx(path: Path, values: NDArray[np.uint8]) -> None:
    content = (
        bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()
    )
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture(params=[".gz", ""])
def idx_folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    x = np.arange(6 * 4, dtype=np.uint8).reshape(6, 2, 2)
    y = np.array([0, 1, 2, 0, 1, 2], np.uint8)
    for part, rows in (("train", slice(0, 4)), ("t10k", slice(4, 6))):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte{request.param}", x[rows])
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte{request.param}", y[rows])
    return tmp_path


def test_idx_files(idx_folder: Path) -> None:
    dataset = load_path(idx_folder)
    assert dataset.x.ravel().tolist() == list(range(24))
    assert dataset.sample_shape == (2, 2)
    assert dataset.y.tolist() == [0, 1, 2, 0, 1, 2]
    assert dataset.is_test is not None
    assert dataset.is_test.tolist() == [False] * 4 + [True] * 2


def test_a_missing_idx_file(idx_folder: Path) -> None:
    next(idx_folder.glob("t10k-labels*")).unlink()
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz is missing"):
        load_path(idx_folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with nothing"),
        (bytes([0, 0, 9, 3]) + bytes(12), "starts with 00000903, not with 00000803"),
        (bytes([0, 0, 8, 1]) + bytes(12), "starts with 00000801"),
        (bytes([0, 0, 8, 3]) + b"\xff" * 12, "declares [0-9]+ bytes"),
        (
            bytes([0, 0, 8, 3]) + struct.pack(">III", 4, 2, 2) + bytes(15),
            r"\(4, 2, 2\) needs 16 bytes, the file has 15",
        ),
        (bytes([0, 0, 8, 3]) + struct.pack(">III", 4, 2, 2) + bytes(17), "the file has more"),
        (bytes([0, 0, 8, 3]) + struct.pack(">III", 3, 2, 2) + bytes(12), "3 train images, 4 labels"),
        (
            bytes([0, 0, 8, 3]) + struct.pack(">III", 4, 1, 4) + bytes(16),
            r"images of \(1, 4\) and of \(2, 2\)",
        ),
    ],
)
def test_unusable_idx_files(idx_folder: Path, content: bytes, message: str) -> None:
    path = next(idx_folder.glob("train-images*"))
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    with pytest.raises(DataError, match=message):
        load_path(idx_folder)


@pytest.mark.parametrize("cut", [0, 5, 20, -4])
def test_truncated_gzip(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    write_idx(path, np.random.default_rng(1).integers(0, 255, (9, 9, 9)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match="train-images"):
        idx.read_idx(path, 3)


def test_plain_text_called_gz(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_text("no gzip at all")
    with pytest.raises(DataError, match="damaged"):
        idx.read_idx(path, 3)


def test_paths_of_no_known_form(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        load_path(tmp_path / "nothing.npz")
    (tmp_path / "a.h5").touch()
    with pytest.raises(DataError, match="not a form of data"):
        load_path(tmp_path / "a.h5")


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.touch()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"a\.csv: cannot be read: Permission denied"):
        load_path(path)
