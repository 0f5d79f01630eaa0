"""Measures how fast the service answers while it works, and how much memory a large upload takes.

    .venv/bin/python -m proofs.bench.under_load

Two calls are transcribed and one large recording is uploaded, while `/healthz` is requested all the time.
"""

import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil

from proofs.bench.measure import MEBIBYTE, Meter, resident_mib
from proofs.bench.ours import asking_for_health
from proofs.bench.results import percentile
from testing.recordings import SAMPLE_CALL
from testing.service import Service, serving

UPLOAD_BYTES = 2 * 1024**3
RATE, CHANNELS = 48_000, 2


def wav_header(size: int) -> bytes:
    """Returns the header of a WAV file of `size` bytes."""
    layout = struct.pack("<IHHIIHH", 16, 1, CHANNELS, RATE, RATE * CHANNELS * 2, CHANNELS * 2, 16)
    return b"RIFF" + struct.pack("<I", size - 8) + b"WAVEfmt " + layout + b"data" + struct.pack("<I", size - 44)


def silent_wav(path: Path, size: int) -> None:
    """Writes a WAV header and zeros, `size` bytes in all. The file is sparse."""
    with path.open("wb") as file:
        file.write(wav_header(size))
        file.truncate(size)


def upload(service: Service, recording: Path) -> str:
    """Sends a file as a form, in pieces. Returns the path of the new job."""
    boundary = "bench"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{recording.name}"\r\n\r\n'

    def body() -> Iterator[bytes]:
        yield head.encode()
        with recording.open("rb") as file:
            while chunk := file.read(MEBIBYTE):
                yield chunk
        yield f"\r\n--{boundary}--\r\n".encode()

    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    response = httpx.post(f"{service.url}/v1/transcriptions", content=body(), headers=headers, timeout=600)
    response.raise_for_status()
    link: str = response.json()["links"]["self"]
    return link


def main() -> None:
    with tempfile.TemporaryDirectory() as name, serving(Path(name) / "data") as service:
        folder = Path(name)
        process = psutil.Process(service.process.pid)
        silent_wav(folder / "large.wav", UPLOAD_BYTES)
        calls = [service.create(SAMPLE_CALL.read_bytes(), channels="split") for _ in range(2)]
        for call in calls:
            service.ended(call)

        before = resident_mib(process)
        with Meter([process]) as meter:
            link = upload(service, folder / "large.wav")
        service.client.delete(link).raise_for_status()
        print(f"2 GiB upload: {meter.wall_seconds:.1f} s; memory {before:.0f} MiB before, {meter.peak_mib:.0f} at most")

        calls = [service.create(SAMPLE_CALL.read_bytes(), channels="split") for _ in range(2)]
        with asking_for_health(service.url) as found:
            link = upload(service, folder / "large.wav")
            service.client.delete(link).raise_for_status()
            for call in calls:
                service.ended(call)
        p50, p95, p99 = (percentile(found, share) for share in (0.5, 0.95, 0.99))
        print(
            f"/healthz under load, {len(found)} answers: p50 {p50:.1f} ms, p95 {p95:.1f}, p99 {p99:.1f},"
            f" max {max(found):.1f}"
        )


if __name__ == "__main__":
    main()
