"""Measures how much memory large uploads take, and how soon the files of failed uploads are removed.

    .venv/bin/python -m proofs.bench.uploads [--clients 20] [--bytes 1000000000]

In each round all clients upload at the same time, and all uploads end in the same way. The disk must have room for all
of them together.
"""

import argparse
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPResponse
from pathlib import Path
from select import select

import psutil

from proofs.bench.measure import MEBIBYTE, Meter, repeatedly, resident_mib
from proofs.bench.under_load import wav_header
from testing.recordings import tone
from testing.service import Service, eventually, serving

KEY = "bench-key"
HEAD = b'--bench\r\nContent-Disposition: form-data; name="file"; filename="call.wav"\r\n\r\n'
END = b"\r\n--bench--\r\n"
FIELDS = f"Host: localhost\r\nAuthorization: Bearer {KEY}\r\nContent-Type: multipart/form-data; boundary=bench\r\n"
SILENCE = bytes(MEBIBYTE)
WATCHING_SECONDS = 0.005


@dataclass(frozen=True)
class Fate:
    """An upload of `size` bytes.

    The client sends the share `sent` of them. If that is less than 1, it then disconnects.
    """

    title: str
    size: int
    chunked: bool = True
    sent: float = 1.0

    def request(self) -> Iterator[bytes]:
        """Yields the bytes of the request that the client sends."""
        length = f"Content-Length: {len(HEAD) + self.size + len(END)}"
        framing = "Transfer-Encoding: chunked" if self.chunked else length
        yield f"POST /v1/transcriptions HTTP/1.1\r\n{FIELDS}{framing}\r\n\r\n".encode()
        for piece in self._form():
            yield b"%x\r\n%b\r\n" % (len(piece), piece) if self.chunked else piece
        if self.chunked and self.sent == 1.0:
            yield b"0\r\n\r\n"

    def _form(self) -> Iterator[bytes]:
        header = wav_header(self.size)
        yield HEAD + header
        left = round(self.sent * (self.size - len(header)))
        while left > 0:
            yield SILENCE[:left]
            left -= len(SILENCE)
        if self.sent == 1.0:
            yield END


@dataclass(frozen=True)
class Ending:
    """How an upload ended for its client.

    `at` is a time of `time.monotonic`. `status` is None if the client disconnected.
    """

    at: float
    status: int | None = None
    link: str | None = None


def upload(service: Service, fate: Fate) -> Ending:
    """Sends until everything is sent or an answer has arrived."""
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        with suppress(ConnectionError):
            for piece in fate.request():
                if select([connection], [], [], 0)[0]:
                    break
                connection.sendall(piece)
        if fate.sent < 1.0:
            return Ending(time.monotonic())
        answer = HTTPResponse(connection)
        answer.begin()
        at = time.monotonic()
        return Ending(at, answer.status, answer.getheader("Location"))


@contextmanager
def watching(folder: Path) -> Iterator[list[float]]:
    """Watches the files of a folder until the end of the block. The list fills with the time of each file's removal."""
    gone, seen = list[float](), set[str]()

    def look() -> None:
        there = {path.name for path in folder.iterdir()}
        gone.extend([time.monotonic()] * len(seen - there))
        seen.clear()
        seen.update(there)

    with repeatedly(look, WATCHING_SECONDS):
        yield gone


def upload_from_all(service: Service, fate: Fate, clients: int) -> None:
    """Uploads from all clients at the same time, prints a row, and deletes the accepted jobs."""
    incoming = service.folder / "audio" / "incoming"
    process = psutil.Process(service.process.pid)
    before = resident_mib(process)
    with ThreadPoolExecutor(clients) as pool, watching(incoming) as gone, Meter([process]) as meter:
        endings = list(pool.map(partial(upload, service), [fate] * clients))
        eventually(lambda: not list(incoming.iterdir()))
    answers = Counter(str(ending.status or "left") for ending in endings)
    statuses = ", ".join(f"{count} × {answer}" for answer, count in answers.items())
    late = f"{max(gone) - max(ending.at for ending in endings):.2f}" if gone else "–"
    print(
        f"| {fate.title} | {statuses} | {meter.wall_seconds:.1f} | {before:.0f} | {meter.peak_mib:.0f} "
        f"| {meter.peak_mib - before:.1f} | {len(gone)} | {late} |",
        flush=True,
    )
    for ending in endings:
        if ending.link:
            service.client.delete(ending.link).raise_for_status()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m proofs.bench.uploads", description=__doc__)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--bytes", type=int, default=1_000_000_000, help="size of each recording, and the limit")
    parser.add_argument("--folder", type=Path, help="where the service keeps its files; the default is temporary")
    arguments = parser.parse_args()
    size = arguments.bytes
    fates = (
        Fate("accepted", size),
        Fate("over the limit, announced", 2 * size, chunked=False),
        Fate("over the limit, chunked", size + size // 50),
        Fate("left midway, announced", size, chunked=False, sent=0.5),
        Fate("left midway, chunked", size, sent=0.5),
    )
    settings = {"API_KEYS": f"bench:{KEY}", "MAX_UPLOAD_BYTES": str(size)}
    with (
        tempfile.TemporaryDirectory(dir=arguments.folder) as name,
        serving(Path(name) / "data", "--no-executor", key=KEY, **settings) as service,
    ):
        print(
            "| uploads | answers | s | MiB before | at most | growth | files removed | last one, s after the last end |"
        )
        print("|---|---|---|---|---|---|---|---|")
        upload_from_all(service, Fate("small ones first", len(tone())), arguments.clients)
        for fate in fates:
            upload_from_all(service, fate, arguments.clients)


if __name__ == "__main__":
    main()
