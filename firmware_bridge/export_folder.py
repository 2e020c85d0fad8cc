"""A folder of generated files: written whole or not at all, and never over somebody's work.

The file MARKER lists the folder's files with their SHA-256: it tells a folder of ours from another one, and
what was changed in it since. Files of other names are nobody's business here: they stay.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from edgehff.errors import InputError

MARKER = "edgehff-export.sha256"
_TITLE = f"# edgehff firmware export; to compare: sha256sum -c {MARKER}"
_FORCE = "another folder; or --force, which replaces the files of these names and leaves others alone"


def write(folder: Path, files: Mapping[str, bytes], *, force: bool = False) -> None:
    """Write files and MARKER into folder; afterwards it is as it should be, or as it was before.

    A new folder takes its name in one step. In one that is there, files change one by one, and change back
    where one fails; files of the last export that are no more in this one go, unless they were changed.

    force: also into a folder of other files, and over changed ones.

    Raises:
        InputError: there are other files, or changed ones, without force; a file or link stands where a
            folder should be, or the other way round; or something cannot be written.
    """
    try:
        target = folder.resolve()
        files = {**files, MARKER: _marker(files)}
        ours = _check(folder, target, files, force)
        target.parent.mkdir(parents=True, exist_ok=True)
        where = target if target.exists() else target.parent  # in it: it may be a mount of its own
        staging = where / f".edgehff{os.getpid()}-{secrets.token_hex(4)}.tmp"
        try:
            for name, data in files.items():
                path = staging / "new" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            if target.exists():
                _merge(staging, target, files, [name for name in ours if name not in files])
            else:
                (staging / "new").rename(target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, in Python before 3.13
        raise InputError(
            f"cannot write {folder}: {getattr(error, 'strerror', None) or error}",
            hint="check that its parent may be written and has space",
        ) from error


def _check(folder: Path, target: Path, files: Iterable[str], force: bool) -> list[str]:
    """The last export's files that are as it left them. InputError where nothing may be written."""
    if not target.exists():
        return []
    if not target.is_dir():
        raise InputError(f"{folder} is a file", hint="the name of a folder")
    recorded = _recorded(target / MARKER)
    if any(target.iterdir()) and not recorded and not force:
        raise InputError(f"{folder} has files of somebody else", hint=_FORCE)
    for name in files:
        path = target / name
        parents = [target / parent for parent in PurePosixPath(name).parents if parent.name]
        odd = [p for p in parents if p.is_symlink() or (p.exists() and not p.is_dir())]
        if path.is_dir() and not path.is_symlink():
            odd.append(path)
        if odd:
            raise InputError(f"{odd[0]} is in the way", hint="move it away; --force does not")
    same = [name for name, digest in recorded.items() if _digest(target, name) == digest]
    names = {*files, *recorded} - {MARKER}
    changed = sorted(name for name in names if name not in same and _present(target / name))
    if changed and not force:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise InputError(f"{folder}: {', '.join(changed[:3])}{more} changed since the export", hint=_FORCE)
    return same


def _marker(files: Mapping[str, bytes]) -> bytes:
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}" for name, data in sorted(files.items())]
    return "\n".join([_TITLE, *lines, ""]).encode()


def _recorded(marker: Path) -> dict[str, str]:
    """Names and SHA-256 of a marker; empty where it is none of ours. Names that lead elsewhere are out."""
    try:
        lines = marker.read_bytes().decode("utf-8", "replace").splitlines()
    except OSError:
        return {}
    if not lines or not lines[0].startswith("# edgehff firmware export"):
        return {}
    found = [re.fullmatch(r"([0-9a-f]{64})  ([\w./-]+)", line) for line in lines[1:]]
    pairs = {match[2]: match[1] for match in found if match}
    return {name: digest for name, digest in pairs.items() if name[0] != "/" and ".." not in name.split("/")}


def _present(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def _digest(target: Path, name: str) -> str:
    """SHA-256 of a file in the folder; empty where there is none, or where a link leads elsewhere."""
    path = target / name
    if not path.is_file() or path.resolve() != path:
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _merge(staging: Path, target: Path, files: Iterable[str], stale: Iterable[str]) -> None:
    """Put staging's new files in their places and take the stale ones away; all of it or nothing."""
    moved: list[tuple[Path, Path]] = []
    placed: list[Path] = []
    try:
        for name in (*files, *stale):
            path, kept = target / name, staging / "old" / name
            if _present(path):
                kept.parent.mkdir(parents=True, exist_ok=True)
                path.rename(kept)
                moved.append((path, kept))
            if name in files:
                path.parent.mkdir(parents=True, exist_ok=True)
                (staging / "new" / name).rename(path)
                placed.append(path)
    except BaseException:
        for path in placed:
            path.unlink()
        for path, kept in moved:
            kept.rename(path)
        _tidy(target, [path.parent for path in placed])
        raise
    _tidy(target, [path.parent for path, _ in moved])


def _tidy(target: Path, folders: Iterable[Path]) -> None:
    """Remove folders that are empty now, and what of their parents is."""
    for folder in folders:
        for path in (folder, *folder.parents):
            if path == target:
                break
            with suppress(OSError):
                path.rmdir()
