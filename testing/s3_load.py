"""Measures how much time and memory it takes to save one large recording in an S3 store and to read it.

    python -m testing.s3_load BYTES [BUCKET]

It uses BUCKET in the store that the AWS variables name. Without BUCKET it starts its own server.
"""

import asyncio
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from app.process.package_files import sha256_of
from app.storage.s3_store import S3AudioStore
from app.storage.s3_url import S3Url
from app.storage.workspace import Workspace
from testing.s3_server import s3_serving

CHUNK = os.urandom(64 * 1024)


async def stream(total: int) -> AsyncIterator[bytes]:
    for start in range(0, total, len(CHUNK)):
        yield CHUNK[: total - start]


def peak_kib() -> int:
    """Returns the largest amount of memory that this process has ever used."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


async def measure(store: S3AudioStore, total: int) -> dict[str, float]:
    """Saves and reads a recording of `total` bytes. The memory is the growth of this process's peak."""
    before, started = peak_kib(), time.monotonic()
    audio = await store.save("load", stream(total), total)
    saved = time.monotonic()
    async with store.local_path("load") as path:
        read, grown = time.monotonic(), peak_kib() - before
        assert (path.stat().st_size, sha256_of(path)) == (total, audio.sha256)
    await store.delete("load")
    return {
        "mib": total / 1024**2,
        "save_seconds": round(saved - started, 1),
        "read_seconds": round(read - saved, 1),
        "growth_mib": round(grown / 1024, 1),
    }


def main(total: int, bucket: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        print(json.dumps(asyncio.run(measure(S3AudioStore(S3Url(bucket, ""), workspace), total))))
        workspace.close()


if __name__ == "__main__":
    if len(sys.argv) == 3:
        main(int(sys.argv[1]), sys.argv[2])
    else:
        with s3_serving() as server:
            os.environ.update(server.environment())
            server.create_bucket("load")
            main(int(sys.argv[1]), "load")
