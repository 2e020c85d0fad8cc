"""The files of a store: its manifest, and states of a learner; docs/reference/store.md is the table."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.numpy
from safetensors import SafetensorError

from edgehff.errors import EdgehffError, ModelFileError, StoreError
from edgehff.model import file
from edgehff.model.document import Tensors, canonical, payload_sha256
from edgehff.personalize import journal
from edgehff.personalize.journal import Place
from edgehff.personalize.learner import Learner, Settings

FORMAT = 1
BASE, CHECKPOINT, MANIFEST, LOCK = "base.safetensors", "checkpoint.safetensors", "store.json", "lock"
KEY = "edgehff-state"
_AUDIT = "edgehff replay FOLDER says what is whole"


@dataclass(frozen=True)
class Manifest:
    """What a store is: written whole, and replaced in one step.

    store_id: 16 random bytes, in every file of it.  first: the oldest segment that counts.
    from_base: the journal reaches back to the factory's model.
    """

    store_id: bytes
    settings: Settings
    journal_bytes: int
    first: int
    from_base: bool

    def to_bytes(self) -> bytes:
        """As JSON."""
        document = {
            "format": FORMAT,
            "store": self.store_id.hex(),
            "settings": self.settings.to_dict(),
            "journal_bytes": self.journal_bytes,
            "first": self.first,
            "from_base": self.from_base,
        }
        return canonical(document) + b"\n"

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """The manifest in a file. StoreError where it is none."""
        try:
            with path.open("rb") as stream:
                document = json.loads(stream.read(1 << 16))
            if document["format"] != FORMAT:
                raise StoreError(
                    f"{path} has format {str(document['format'])[:20]}, this edgehff reads {FORMAT}",
                    hint="pip install -U edgehff",
                )
            return cls(
                bytes.fromhex(document["store"]),
                Settings(**document["settings"]),
                int(document["journal_bytes"]),
                int(document["first"]),
                bool(document["from_base"]),
            )
        except OSError as error:
            raise StoreError(
                f"{path.parent} is no store: {error.strerror}", hint="name a new folder"
            ) from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise StoreError(f"{path} is damaged: {error}", hint="take the store from a copy") from error


def state_path(folder: Path, segment: int) -> Path:
    """Where the state at a segment's start is kept."""
    return folder / f"state-{segment:08d}.safetensors"


def journal_path(folder: Path, segment: int) -> Path:
    """Where a segment's records are kept."""
    return folder / f"journal-{segment:08d}.bin"


def start_segment(folder: Path, manifest: Manifest, learner: Learner, before: Place) -> Place:
    """The state, then the journal's header: a segment counts from the moment that both are there."""
    header, place = journal.start_of(manifest.store_id, before)
    write_state(state_path(folder, place.segment), manifest, learner, place)
    with store_errors():
        file.write_atomically(journal_path(folder, place.segment), header)
    return place


def write_state(path: Path, manifest: Manifest, learner: Learner, place: Place) -> None:
    """Write a learner's state at a place of the journal, atomically. StoreError where the disk refuses."""
    tensors, document = learner.to_state()
    document = {
        "format": FORMAT,
        "store": manifest.store_id.hex(),
        "place": [place.segment, place.offset, place.sequence, place.digest.hex()],
        "state_crc32": f"{learner.state_crc32:08x}",
        "learner": document,
    }
    document["payload_sha256"] = payload_sha256(tensors, document)
    data = safetensors.numpy.save(tensors, {KEY: canonical(document).decode("ascii")})
    with store_errors():
        file.write_atomically(path, data)


def read_state(path: Path, manifest: Manifest) -> tuple[Learner, Place]:
    """A state and its place. StoreError where it is missing, altered, or of another store."""
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > file.MAX_FILE_BYTES:
                raise StoreError(f"{path} has {size} bytes, a state has at most 1 GiB", hint=_AUDIT)
            data = stream.read(size)
        tensors: Tensors = safetensors.numpy.load(data)
        n = int.from_bytes(data[:8], "little")
        document: dict[str, Any] = json.loads(json.loads(data[8 : 8 + n])["__metadata__"][KEY])
        if payload_sha256(tensors, document) != document["payload_sha256"]:
            raise StoreError(f"{path}: its SHA-256 does not match", hint=_AUDIT)
        if document["store"] != manifest.store_id.hex() or document["format"] != FORMAT:
            raise StoreError(f"{path} is of another store or format", hint=_AUDIT)
        segment, offset, sequence, digest = document["place"]
        learner = Learner.from_state(tensors, document["learner"], manifest.settings)
        if f"{learner.state_crc32:08x}" != document["state_crc32"]:
            raise StoreError(f"{path}: state_crc32 is not {document['state_crc32']}", hint=_AUDIT)
        return learner, Place(int(segment), int(offset), int(sequence), bytes.fromhex(digest))
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}", hint=_AUDIT) from error
    except StoreError:
        raise
    except (SafetensorError, EdgehffError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(f"{path} is damaged: {error}", hint=_AUDIT) from error


class store_errors:  # noqa: N801 (reads as a phrase after with)
    """What the model file's writing refuses is the store's matter here."""

    def __enter__(self) -> None:
        """Nothing to set up."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Turn a ModelFileError into a StoreError."""
        if isinstance(error, ModelFileError):
            raise StoreError(error.message, hint=error.hint) from error
