"""Where an export goes, and what it leaves alone."""

import shutil
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from test_firmware_export import network, tree

from edgehff.errors import InputError
from firmware_bridge import export_folder
from firmware_bridge.export import export, files_of
from firmware_bridge.export_folder import MARKER

LISTED = b"somebody's\n" + b"0" * 64 + b"  README.md\n"


def test_a_new_folder_has_the_modes_of_any_other(tmp_path):
    (tmp_path / "other").mkdir()
    export(network(), tmp_path / "deep" / "new")
    made = tmp_path / "deep" / "new"
    assert made.stat().st_mode == (tmp_path / "other").stat().st_mode
    assert not (made / "README.md").stat().st_mode & 0o111
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["new"]


def test_an_empty_folder_is_filled_in_place(tmp_path, monkeypatch):
    """A shell may stand in it: the folder stays the one that it is."""
    folder = tmp_path / "here"
    folder.mkdir()
    before = folder.stat().st_ino
    monkeypatch.chdir(folder)
    export(network(), ".")
    assert folder.stat().st_ino == before
    assert (folder / MARKER).exists()


@pytest.mark.parametrize(
    "marker", [None, b"", b"mine\n", b"\xff\xfe", b"# edgehff firmware export\nnonsense\n", LISTED]
)
def test_a_folder_of_somebody_else_is_left_alone(tmp_path, marker):
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "notes").write_text("mine")
    if marker is not None:
        (tmp_path / MARKER).write_bytes(marker)
    before = tree(tmp_path)
    with pytest.raises(InputError, match="somebody else") as caught:
        export(network(), tmp_path)
    assert "--force" in caught.value.hint
    assert tree(tmp_path) == before
    export(network(), tmp_path, force=True)
    assert (tmp_path / "notes").read_text() == "mine"
    assert (tmp_path / "README.md").read_text() != "mine"


def test_exporting_again_replaces_what_nobody_changed(tmp_path):
    export(network(), tmp_path, link=True)
    (tmp_path / "src" / "mine.c").write_text("mine")
    export(network(("a", "b")), tmp_path)
    found = tree(tmp_path)
    assert found.pop("src/mine.c") == b"mine"
    found.pop(MARKER)
    assert found == files_of(network(("a", "b")))
    assert not (tmp_path / "examples" / "link").exists()


def test_a_changed_file_is_kept(tmp_path):
    export(network(), tmp_path, link=True)
    for name in ("example.c", "port_template.c"):
        with (tmp_path / name).open("a") as file:
            file.write("/* mine */\n")
    before = tree(tmp_path)
    with pytest.raises(InputError, match=r"example\.c, port_template\.c changed"):
        export(network(("a", "b")), tmp_path, link=True)
    assert tree(tmp_path) == before
    export(network(("a", "b")), tmp_path, force=True)
    assert (tmp_path / "port_template.c").read_bytes() == before["port_template.c"]  # not of this export
    assert b"mine" not in (tmp_path / "example.c").read_bytes()


def test_a_file_that_an_export_would_newly_cover_is_kept(tmp_path):
    export(network(), tmp_path)
    (tmp_path / "port_template.c").write_text("mine")
    with pytest.raises(InputError, match=r"port_template\.c changed"):
        export(network(), tmp_path, link=True)
    assert (tmp_path / "port_template.c").read_text() == "mine"


def test_a_file_that_was_deleted_comes_back(tmp_path):
    export(network(), tmp_path)
    before = tree(tmp_path)
    shutil.rmtree(tmp_path / "src")
    export(network(), tmp_path)
    assert tree(tmp_path) == before


def test_nothing_is_written_through_links(tmp_path):
    away = tmp_path / "away"
    away.mkdir()
    folder = tmp_path / "folder"
    export(network(), folder)
    shutil.rmtree(folder / "src")
    (folder / "src").symlink_to(away)
    with pytest.raises(InputError, match="in the way"):
        export(network(), folder, force=True)
    assert list(away.iterdir()) == []
    (folder / "src").unlink()
    (away / "file").write_text("mine")
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to(away / "file")
    with pytest.raises(InputError, match="changed"):
        export(network(), folder)
    export(network(), folder, force=True)
    assert (away / "file").read_text() == "mine"
    assert not (folder / "README.md").is_symlink()


def test_a_marker_cannot_name_files_elsewhere(tmp_path):
    export(network(), tmp_path / "folder")
    (tmp_path / "victim").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    with (tmp_path / "folder" / MARKER).open("a") as file:
        file.write(f"{empty}  ../victim\n{empty}  {tmp_path}/victim\n")
    export(network(("a", "b")), tmp_path / "folder")
    assert (tmp_path / "victim").exists()


@pytest.mark.parametrize("name", ["src/edgehff_model.c", "src"])
def test_a_folder_or_file_in_the_way_is_named(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name == "src":
        path.write_text("mine")
    else:
        path.mkdir()
    with pytest.raises(InputError, match="in the way"):
        export(network(), tmp_path, force=True)
    assert len(list(tmp_path.rglob("*"))) == len(PurePosixPath(name).parts)


def test_what_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        export(network(), tmp_path / "file", force=True)
    with pytest.raises(InputError, match="cannot write"):
        export(network(), tmp_path / "file" / "below")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(InputError):
        export(network(), tmp_path / "loop")


@pytest.mark.parametrize("there", ["nothing", "with link", "without link"])
@pytest.mark.parametrize("fails_at", [0, 1, 5, 40])
def test_a_failure_leaves_the_folder_as_it_was(tmp_path, monkeypatch, there, fails_at):
    folder = tmp_path / "folder"
    if there != "nothing":
        export(network(), folder, link=there == "with link")
        (folder / "src" / "mine.c").write_text("mine")
    before = tree(tmp_path)
    calls, rename, write = [], Path.rename, Path.write_bytes

    def counted(real):
        def call(self, *arguments):
            calls.append(self)
            if len(calls) == fails_at + 1:
                raise OSError(28, "No space left on device")
            return real(self, *arguments)

        return call

    if there != "nothing":
        monkeypatch.setattr(Path, "rename", counted(rename))
    else:
        monkeypatch.setattr(Path, "write_bytes", counted(write))
    changed = replace(network(("a", "b")), step=7)
    with pytest.raises(InputError, match="No space left"):
        export(changed, folder, link=there != "with link", force=True)
    assert tree(tmp_path) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ([] if there == "nothing" else ["folder"])
    monkeypatch.undo()
    export(changed, folder)
    assert export_folder._recorded(folder / MARKER).keys() == files_of(changed).keys()
