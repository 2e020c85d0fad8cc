"""Downloads over HTTP, by pooch: bounded while they run, and never waiting for a silent server."""

from __future__ import annotations

from typing import IO, Any

TIMEOUT_S = 30
CHUNK_BYTES = 65536


def fetch(url: str, sink: IO[bytes], max_bytes: int) -> None:
    """Write what lies at an http:// or https:// address to sink, which never gets more than max_bytes.

    Raises:
        OSError: no answer, another status than 200, silence for TIMEOUT_S, a connection that breaks.
        ValueError: the address cannot be read, or there are more than max_bytes.
    """
    from pooch import HTTPDownloader  # noqa: PLC0415 (loaded when a download is near)

    answers: list[Any] = []

    def keep(answer: Any, **_: Any) -> None:
        answers.append(answer)

    bounded = _Bounded(sink, max_bytes)
    options = {"timeout": TIMEOUT_S, "hooks": {"response": keep}}
    try:
        HTTPDownloader(progressbar=bounded, chunk_size=CHUNK_BYTES, **options)(url, bounded, None)
    finally:
        for answer in answers:  # pooch leaves one that it did not read to its end open
            answer.close()


class _Bounded:
    """Stands where pooch wants its file and its progress bar, which is how it tells the announced length."""

    def __init__(self, sink: IO[bytes], max_bytes: int) -> None:
        self.sink, self.max_bytes = sink, max_bytes
        self.total = 0
        self.n_bytes = 0

    def write(self, chunk: bytes) -> None:
        self.n_bytes += len(chunk)
        if max(self.n_bytes, self.total) > self.max_bytes:
            raise ValueError(f"more than {self.max_bytes} bytes")
        self.sink.write(chunk)

    def flush(self) -> None:
        self.sink.flush()

    def update(self, n: int) -> None:
        """The bytes are counted as they are written: pooch counts whole chunks."""

    def reset(self) -> None:
        """Nothing is drawn."""

    def close(self) -> None:
        """Nothing is held open."""
