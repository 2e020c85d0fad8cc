"""What is known of the trained models that are too large for the repository, and are fetched."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """What is known of a trained model that is fetched.

    name: of its folder in models/, which has its recipe and its card.  title: what it does, in one line.
    file: the name under which every address has it.  bytes and sha256: of that file, and of no other.
    """

    name: str
    title: str
    file: str
    bytes: int
    sha256: str


RELEASES: dict[str, Release] = {
    r.name: r
    for r in (
        Release(
            name="cifar10-conv",
            title="CIFAR-10 by convolutions, float",
            file="cifar10-conv.safetensors",
            bytes=2_691_888,
            sha256="496928d483019da814c17efd78cae5abb8428bafc2d449446531d41a98c5a646",
        ),
    )
}
