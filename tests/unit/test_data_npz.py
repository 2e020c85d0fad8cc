"""Archives that users bring: the layouts that are read, and files that are broken or hostile."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgehff.data import npz
from edgehff.data.files import load_path
from edgehff.errors import DataError

X = np.arange(12, dtype=np.uint8).reshape(6, 2)
Y = np.array([0, 1, 2, 0, 1, 2])


def save(folder: Path, **arrays: Any) -> Path:
    path = folder / "mine.npz"
    np.savez_compressed(path, **arrays)
    return path


def test_x_and_y_with_all_that_may_go_with_them(tmp_path: Path) -> None:
    path = save(
        tmp_path, X=X, y=Y, group=np.arange(6), is_test=Y == 2, class_names=["a", "b", "c"], scale=1.5
    )
    dataset = load_path(path)
    assert dataset.name == "mine"
    np.testing.assert_array_equal(dataset.x, X)
    assert dataset.y.tolist() == Y.tolist()
    assert dataset.group is not None
    assert dataset.group.tolist() == list(range(6))
    assert dataset.is_test is not None
    assert dataset.is_test.tolist() == (Y == 2).tolist()
    assert dataset.class_names == ("a", "b", "c")


@pytest.mark.parametrize("group", ["group", "subject", "Speaker"])
def test_letters_of_either_case_and_three_words_for_group(tmp_path: Path, group: str) -> None:
    dataset = load_path(save(tmp_path, x=X, Y=Y, **{group: np.arange(6) % 2}))
    assert dataset.group is not None
    assert dataset.group.tolist() == [0, 1, 0, 1, 0, 1]


def test_layout_of_mnist(tmp_path: Path) -> None:
    path = save(tmp_path, X_train=X[:4], y_train=Y[:4], X_test=X[4:], y_test=Y[4:])
    dataset = load_path(path)
    np.testing.assert_array_equal(dataset.x, X)
    assert dataset.y.tolist() == Y.tolist()
    assert dataset.is_test is not None
    assert dataset.is_test.tolist() == [False] * 4 + [True] * 2


def test_column_order_is_undone(tmp_path: Path) -> None:
    dataset = load_path(save(tmp_path, X=np.asfortranarray(X), y=Y))
    np.testing.assert_array_equal(dataset.x, X)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": X}, "needs arrays X and y"),
        ({"a": X}, "it has none that edgehff knows"),
        ({"X_train": X, "y_train": Y, "X_test": X}, "needs arrays X and y"),
        ({"X": X, "x": X, "y": Y}, "two arrays are called x"),
        ({"X": X.astype(object), "y": Y}, "X: an array of object"),
        ({"X": X, "y": np.array(["a", 1, None] * 2, dtype=object)}, "y: an array of object"),
        ({"X": X.astype("M8[s]"), "y": Y}, "X: an array of datetime64"),
        ({"X": X, "y": Y, "class_names": np.arange(3)}, "class_names is int64"),
        (
            {"X": X, "y": Y, "class_names": np.array([["a", "b", "c"]])},
            r"class_names is <U1 of shape \(1, 3\)",
        ),
        ({"X": X, "y": Y, "class_names": ["a", "b", "c", "unused"]}, "no sample of 1 of 4 classes: 'unused'"),
        ({"X": X, "y": Y.astype("S1")}, "labels are |S1"),
        ({"X": X[:0], "y": Y[:0]}, "no samples"),
        ({"X": X + np.float32(np.nan), "y": Y}, "12 values are NaN"),
        ({"X_train": X, "y_train": Y, "X_test": X[:, :1], "y_test": Y}, r"X_test is \(6, 1\)"),
        ({"X_train": X, "y_train": Y, "X_test": X, "y_test": Y.astype(str)}, "y_test is"),
        ({"X_train": X[:5], "y_train": Y, "X_test": X, "y_test": Y[:5]}, "X_train has 5 rows, y_train 6"),
        ({"X_train": np.uint8(1), "y_train": Y, "X_test": np.uint8(1), "y_test": Y}, "X_train is "),
    ],
)
def test_unusable_archives(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as refused:
        load_path(save(tmp_path, **arrays))
    assert refused.value.hint


@pytest.mark.parametrize("size", [0, 1, 30, 100, 300, -1])
def test_truncated_archive(tmp_path: Path, size: int) -> None:
    path = save(tmp_path, X=X, y=Y)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=r"not a readable \.npz file"):
        load_path(path)


def _member(header: bytes, data: bytes = b"") -> bytes:
    header = header.ljust((len(header) + 10 + 63) // 64 * 64 - 10)
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (b"", "X: not a numpy array"),
        (b"no array", "X: not a numpy array"),
        (
            _member(b"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999,), }"),
            "needs 99999999999999 bytes",
        ),
        (_member(b"{'descr': '|u1', 'fortran_order': False, 'shape': (-4,), }", b"1234"), "X: "),
        (
            _member(b"{'descr': '|u1', 'fortran_order': False, 'shape': (100,), }", b"1234"),
            "truncated: 4 of 100 bytes",
        ),
        (_member(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"cos\n"), "would need pickle"),
        (
            _member(b"{'descr': [('a', 'u1')], 'fortran_order': False, 'shape': (4,), }", b"1234"),
            "would need pickle",
        ),
        (
            _member(b"{'descr': '|u1', 'fortran_order': False, 'shape': (0, %d, %d), }" % (2**62, 2**62)),
            "impossible",
        ),
        (
            _member(b"{'descr': '<U0', 'fortran_order': False, 'shape': (99999999999999,), }"),
            "an array of <U0",
        ),
        (_member(b"__import__('os')"), "X: not a numpy array"),
        (_member(b"{" * 9000), "X: not a numpy array"),
    ],
)
def test_hostile_member(tmp_path: Path, member: bytes, message: str) -> None:
    path = tmp_path / "mine.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("X.npy", member)
        buffer = io.BytesIO()
        np.save(buffer, Y)
        archive.writestr("y.npy", buffer.getvalue())
    with pytest.raises(DataError, match=message):
        load_path(path)


def test_archive_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = np.zeros((6, 60000), np.uint8)
    path = save(tmp_path, X=zeros, y=Y)
    assert path.stat().st_size < zeros.nbytes / 100
    monkeypatch.setattr(npz, "MAX_BYTES", zeros.nbytes)
    with pytest.raises(DataError, match=f"declares 36[0-9]+ bytes; {zeros.nbytes} are possible"):
        load_path(path)


def test_packing_methods_beyond_deflate_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("X.npy", b"0" * 100)
    with pytest.raises(DataError, match="packed by method 12"):
        load_path(path)


@pytest.fixture(scope="module")
def good_archive() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, X=X, y=Y, class_names=["a", "b", "c"])
    return buffer.getvalue()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6))
def test_flipped_bytes_end_in_a_data_error_or_in_data(
    good_archive: bytes, tmp_path: Path, edits: list[tuple[int, int]]
) -> None:
    damaged = bytearray(good_archive)
    for at, value in edits:
        damaged[at % len(damaged)] = value
    path = tmp_path / "mine.npz"
    path.write_bytes(bytes(damaged))
    try:
        dataset = load_path(path)
    except DataError:
        return
    assert isinstance(dataset.x, np.ndarray)


def test_read_npy_reads_an_empty_array() -> None:
    buffer = io.BytesIO()
    empty: NDArray[np.float32] = np.zeros((0, 3), np.float32)
    np.save(buffer, empty)
    buffer.seek(0)
    assert npz.read_npy(buffer, len(buffer.getvalue()), "it").shape == (0, 3)
