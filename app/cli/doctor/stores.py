"""Checks of the places for audio and transcripts: folders and buckets.

In the audio store, a small object is written, read and deleted. Other buckets belong to others, who may act on each
new object. So they are only asked for an object that does not exist.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from app import wording
from app.cli.doctor.findings import Finding, failed, fine, warning
from app.cli.doctor.folders import MAKE_ROOM, try_out
from app.cli.doctor.surroundings import Surroundings
from app.database.connections import DATABASE_TROUBLE
from app.jobs.upkeep import erasure
from app.process.threads import in_daemon_thread
from app.settings import ENDPOINTS
from app.storage.disk import is_disk_full
from app.storage.folder_store import MARKER, LocalAudioStore
from app.storage.s3 import Bucket, BucketUnavailable
from app.storage.s3_store import S3AudioStore
from app.storage.s3_url import S3Url
from app.storage.store import AudioStore, StoreUnavailable
from app.storage.workspace import Workspace

TRIAL = b"callscribe doctor"
CONNECT_SECONDS = 5.0
DENIED = {"AccessDenied", "403 Forbidden"}
ADVICE = {
    "NoSuchBucket": "Make the bucket, or correct its name.",
    "AccessDenied": "Give the credentials the permissions of docs/deploy.md (Audio in S3).",
    "403 Forbidden": "Give the credentials the permissions of docs/deploy.md (Audio in S3).",
    "InvalidAccessKeyId": "Correct AWS_ACCESS_KEY_ID.",
    "SignatureDoesNotMatch": "Correct AWS_SECRET_ACCESS_KEY.",
    "RequestTimeTooSkewed": "Set this machine's clock right, by NTP.",
    "no credentials": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine or pod a role.",
}
REACH = "Look at AWS_ENDPOINT_URL and AWS_REGION, at the network, and whether the server runs."


async def audio_store(at: Surroundings) -> Finding:
    place = at.settings.audio_place
    if isinstance(place, S3Url):
        return await _bucket_store(at, place)
    try:
        return await _folder_store(at, place)
    except (StoreUnavailable, OSError) as error:
        text = str(error) if isinstance(error, StoreUnavailable) else f"{place}: {wording.of_disk(error)}"
        full = is_disk_full(error) or is_disk_full(error.__cause__ or error)
        return failed(text, MAKE_ROOM if full else "Let the service's user write there, and mount its disk.")


async def _folder_store(at: Surroundings, place: Path) -> Finding:
    """Never makes the folder's mark, because the folder may be the empty mount point of a disk that is away."""
    store = await in_daemon_thread(partial(LocalAudioStore, place, may_be_new=False), "open-store")
    if store.marked:
        return await _tried(store, f"{place} was written, read and deleted from")
    if await _has_recordings(at):
        return failed(
            f"{place} has no mark {MARKER}, but the database has recordings: its disk is not mounted",
            "Mount the disk. If the recordings are lost, make the mark (docs/deploy.md, What is kept).",
        )
    above = next(folder for folder in (place, *place.parents) if folder.exists())
    if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
        return failed(f"{place} cannot be made: {above} may not be written", "Let the service's user write there.")
    return fine(f"{place} is not in use yet: the service makes it when it first starts")


async def _has_recordings(at: Surroundings) -> bool:
    if at.database is None:
        return False
    try:
        async with at.database.transaction() as session:
            return await erasure.any_audio(session)
    except DATABASE_TROUBLE:  # it has no tables yet
        return False


async def _bucket_store(at: Surroundings, place: S3Url) -> Finding:
    shown = f"s3://{place.bucket}/{place.key}".rstrip("/")
    if unreachable := await _unreachable():
        return failed(f"{shown}: {unreachable}", REACH)
    workspace = await asyncio.to_thread(Workspace, at.settings.data_dir / "work")
    try:
        return await _tried(S3AudioStore(place, workspace), f"{shown} was written, read and deleted from")
    except BucketUnavailable as error:
        return _refused(shown, error)
    finally:
        workspace.close()


async def _tried(store: AudioStore, done: str) -> Finding:
    key = f"doctor-{uuid4()}"
    await store.check()
    await store.save(key, _trial(), len(TRIAL))
    try:
        blocks = [block async for block in await store.read(key, range(len(TRIAL)))]
    finally:
        await store.delete(key)
    if b"".join(blocks) != TRIAL:
        return failed("it does not give back what was written", "Look at the disk or the server of the store.")
    return fine(done)


async def _trial() -> AsyncIterator[bytes]:
    yield TRIAL


async def _unreachable() -> str | None:
    """Returns why the server of AWS_ENDPOINT_URL cannot be connected to. The S3 library does not say."""
    address = next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), None)
    if address is None:
        return None
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(parts.hostname, port)
        writer.close()
    except TimeoutError:
        return f"its server {parts.hostname}:{port} does not answer"
    except OSError as error:
        why = (
            "nothing listens there" if isinstance(error, ConnectionRefusedError) else error.strerror or "no connection"
        )
        return f"its server {parts.hostname}:{port} cannot be reached: {why}"
    return None


def _refused(shown: str, error: BucketUnavailable) -> Finding:
    advice = next((text for word, text in ADVICE.items() if error.reason.startswith(word)), REACH)
    return failed(f"{shown}: {error.reason}", advice)


async def outputs(at: Surroundings) -> list[Finding]:
    found = [await asyncio.to_thread(_output_folder, folder) for folder in at.settings.output_folders]
    return found + [await _asked(place) for place in at.settings.output_buckets]


def _output_folder(folder: Path) -> Finding:
    try:
        try_out(folder)
    except OSError as error:
        return failed(f"{folder}: {wording.of_disk(error)}", "Let the service's user write there.", about=str(folder))
    return fine(f"{folder} can be written", about=str(folder))


async def source_buckets(at: Surroundings) -> list[Finding]:
    return [await _asked(S3Url(name, "")) for name in at.settings.source_buckets]


async def _asked(place: S3Url) -> Finding:
    """A right to write, or to read what exists, cannot be seen without an object. So a refusal to read is no fault."""
    shown = f"s3://{place.bucket}/{place.key}".rstrip("/")
    if unreachable := await _unreachable():
        return failed(f"{shown}: {unreachable}", REACH, about=shown)
    try:
        await Bucket(place.bucket, place.key).check()
    except BucketUnavailable as error:
        if error.reason in DENIED:
            return warning(
                f"{shown} answers, but refuses to say whether an object exists: {error.reason}",
                "If transcripts or recordings there fail, give the credentials the permissions of docs/deploy.md.",
                about=shown,
            )
        found = _refused(shown, error)
        return failed(found.text, found.advice, about=shown)
    return fine(f"{shown} answers", about=shown)
