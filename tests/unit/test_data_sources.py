"""Named data sets: where each is looked for, and downloads from a server of our own."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgehff.data import sources
from edgehff.data.catalog import SOURCES
from edgehff.data.files import load_path
from edgehff.data.idx import FILES
from edgehff.data.sources import describe, load, locate
from edgehff.errors import DataError

SYSTEM_FASHION = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture(autouse=True)
def own_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folders, caches or proxies of the machine that runs the tests."""
    for name in ("EDGEHFF_DATA", "EDGEHFF_MIRROR", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "RETRIES", 0)


def small_idx() -> dict[str, bytes]:
    """Four IDX files: 20 training and 10 test images of 2 x 2, ten classes."""
    contents = {}
    for part, n, first in (("train", 20, 0), ("t10k", 10, 100)):
        x = (np.arange(n * 4) + first).astype(np.uint8)
        y = (np.arange(n) % 10).astype(np.uint8)
        contents[f"{part}-images-idx3-ubyte.gz"] = (
            bytes([0, 0, 8, 3]) + struct.pack(">III", n, 2, 2) + x.tobytes()
        )
        contents[f"{part}-labels-idx1-ubyte.gz"] = bytes([0, 0, 8, 1]) + struct.pack(">I", n) + y.tobytes()
    return {name: gzip.compress(content, mtime=0) for name, content in contents.items()}


class Quiet(SimpleHTTPRequestHandler):
    requests: list[str] = []  # noqa: RUF012 (the test reads it)

    def log_message(self, *_: Any) -> None:
        self.requests.append(self.path)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A server on this machine with small files under mnist/, and a catalog that expects exactly those."""
    folder = tmp_path / "mirror"
    (folder / "mnist").mkdir(parents=True)
    contents = small_idx()
    for name, content in contents.items():
        (folder / "mnist" / name).write_bytes(content)
    digests = {name: hashlib.sha256(contents[name]).hexdigest() for name in FILES}
    monkeypatch.setitem(SOURCES, "mnist", replace(SOURCES["mnist"], sha256=digests))
    Quiet.requests.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("EDGEHFF_MIRROR", f"http://127.0.0.1:{server.server_port}/")
    yield folder
    server.shutdown()
    server.server_close()
    thread.join()


def test_download_is_kept_and_not_repeated(mirror: Path, tmp_path: Path) -> None:
    notices: list[str] = []
    assert locate("mnist") is None
    dataset = load("mnist", notice=notices.append)
    assert dataset.name == "mnist"
    assert dataset.x.shape == (30, 2, 2)
    assert dataset.x[20:].ravel().tolist() == list(range(100, 140))
    assert dataset.is_test is not None
    assert dataset.is_test.sum() == 10
    assert len(notices) == 1
    assert "downloading MNIST" in notices[0]
    assert f"from {os.environ['EDGEHFF_MIRROR']}mnist/ to " in notices[0]
    assert locate("mnist") == tmp_path / "cache" / "edgehff" / "mnist"
    assert len(Quiet.requests) == 4
    load("mnist", notice=notices.append)
    assert len(Quiet.requests) == 4
    assert len(notices) == 1


def test_a_damaged_copy_in_the_cache_is_fetched_again(mirror: Path, tmp_path: Path) -> None:
    load("mnist")
    damaged = tmp_path / "cache" / "edgehff" / "mnist" / FILES[0]
    damaged.write_bytes(b"damaged")
    assert load("mnist").x.shape == (30, 2, 2)
    assert len(Quiet.requests) == 5


def test_wrong_checksum(mirror: Path, tmp_path: Path) -> None:
    (mirror / "mnist" / FILES[1]).write_bytes(gzip.compress(b"something else"))
    with pytest.raises(
        DataError, match=r"mnist could not be fetched .*does not match the known hash"
    ) as refused:
        load("mnist")
    assert "EDGEHFF_DATA" in refused.value.hint
    assert "EDGEHFF_MIRROR" in refused.value.hint
    assert not (tmp_path / "cache" / "edgehff" / "mnist" / FILES[1]).exists()


def test_missing_file_on_the_mirror(mirror: Path) -> None:
    (mirror / "mnist" / FILES[0]).unlink()
    with pytest.raises(DataError, match=r"could not be fetched from .*404"):
        load("mnist")


def test_too_large_a_download(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_DOWNLOAD", 60)
    with pytest.raises(DataError, match="more than 60 bytes"):
        load("mnist")


def test_no_server_names_every_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEHFF_MIRROR", "http://127.0.0.1:1")
    monkeypatch.setitem(SOURCES, "fashion-mnist", replace(SOURCES["fashion-mnist"], system_folder=""))
    with pytest.raises(DataError, match=r"from http://127\.0\.0\.1:1/fashion-mnist/") as refused:
        load("fashion-mnist")
    for way in ("EDGEHFF_DATA", "EDGEHFF_MIRROR", "apt install dataset-fashion-mnist"):
        assert way in refused.value.hint


@pytest.mark.parametrize("form", ["npz", "folder"])
def test_own_folder_comes_before_the_system_and_the_cache(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    load("mnist")
    own = tmp_path / "own"
    own.mkdir()
    x = np.full((20, 2, 2), 7, np.uint8)
    if form == "npz":
        np.savez(own / "mnist.npz", X=x, y=np.arange(20) % 10)
    else:
        (own / "mnist").mkdir()
        for name, content in small_idx().items():
            (own / "mnist" / name).write_bytes(content)
    monkeypatch.setenv("EDGEHFF_DATA", str(own))
    assert locate("mnist") == (own / "mnist.npz" if form == "npz" else own / "mnist")
    assert len(load("mnist")) == (20 if form == "npz" else 30)


def test_own_copy_without_class_names_gets_the_known_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "fashion-mnist.npz", X=np.zeros((10, 4), np.uint8), y=np.arange(10))
    monkeypatch.setenv("EDGEHFF_DATA", str(tmp_path))
    assert load("fashion-mnist").class_names[8] == "bag"


def test_other_names_in_the_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "my-motor.npz", X=np.zeros((4, 3), np.int8), y=np.arange(4) % 2)
    monkeypatch.setenv("EDGEHFF_DATA", str(tmp_path))
    assert load("my-motor").name == "my-motor"
    assert locate("../" + tmp_path.name + "/my-motor") is None


def test_own_folder_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEHFF_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="which is no folder"):
        load("mnist")


@pytest.mark.skipif(not SYSTEM_FASHION.is_dir(), reason="needs apt install dataset-fashion-mnist")
def test_fashion_mnist_of_the_system() -> None:
    dataset = load("fashion-mnist")
    assert locate("fashion-mnist") == SYSTEM_FASHION
    assert dataset.x.shape == (70000, 28, 28)
    assert np.bincount(dataset.y).tolist() == [7000] * 10
    assert dataset.is_test is not None
    assert dataset.is_test.sum() == 10000


@pytest.mark.parametrize(
    ("name", "near"),
    [("digit", "digits"), ("emg", None), ("MNIST", None), ("fashion_mnist", "fashion-mnist")],
)
def test_unknown_names_name_the_nearest(name: str, near: str | None) -> None:
    with pytest.raises(DataError, match=f"no data set is called '{name}'") as refused:
        load(name)
    assert refused.value.hint == "edgehff data list"
    assert (f"did you mean {near}?" in refused.value.message) == (near is not None)


def test_what_looks_like_a_path_is_named_as_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        load(str(tmp_path / "digits"))
    with pytest.raises(DataError, match=r"digits\.npz: no such file"):
        load("digits.npz")


def test_paths_are_loaded(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, X=np.zeros((4, 3), np.int8), y=np.arange(4) % 2)
    assert len(load(path)) == len(load(str(path))) == 4


@pytest.mark.parametrize("name", ["digits", "emg-gestures"])
def test_bundled_sets_are_what_the_catalog_says(name: str) -> None:
    dataset, source = load(name), describe(name)
    assert dataset.name == name
    assert len(dataset) == source.samples
    assert dataset.sample_shape == source.shape
    assert dataset.class_names == source.class_names
    assert dataset.is_test is not None
    assert dataset.is_test.sum() == source.test_samples
    assert source.bundled
    assert source.obtained == "in the package"


def test_digits_are_those_of_scikit_learn() -> None:
    dataset = load("digits")
    assert dataset.x.dtype == np.uint8
    assert dataset.x[0].tolist()[0] == [0, 0, 5, 13, 9, 1, 0, 0]
    assert int(dataset.x.sum()) == 561718
    assert np.bincount(dataset.y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert dataset.is_test is not None
    assert np.flatnonzero(dataset.is_test)[0] == 1797 - 360


def test_emg_has_33_people_in_order_and_both_series_of_31() -> None:
    dataset = load("emg-gestures")
    assert dataset.x.dtype == np.int8
    assert dataset.group is not None
    assert dataset.is_test is not None
    assert np.unique(dataset.group).size == 33
    assert (np.diff(dataset.group) >= 0).all()
    both = [g for g in np.unique(dataset.group) if np.unique(dataset.is_test[dataset.group == g]).size == 2]
    assert len(both) == 31


def test_bundled_files_are_small_and_carry_no_clock() -> None:
    files = sorted(sources.BUNDLED.glob("*.npz"))
    assert [f.stem for f in files] == ["digits", "emg-gestures"]
    assert sum(f.stat().st_size for f in files) < 850_000
    assert all(load_path(f).x.size for f in files)


def test_catalog_is_complete() -> None:
    for source in SOURCES.values():
        assert source.citation
        assert source.license
        assert source.bundled or set(source.sha256) == set(FILES)
        assert all(len(bytes.fromhex(digest)) == 32 for digest in source.sha256.values())
