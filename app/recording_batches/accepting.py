"""Makes a request into a recording batch. All rows are checked before the batch is accepted.

The rows are written in many short transactions, to a batch that nobody sees until all of them are there. If a row is
wrong or the request is interrupted, the batch is erased.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import IO, Any
from uuid import UUID

from uuid_utils.compat import uuid7

from app.access.callers import Caller
from app.database.connections import Database
from app.errors import AppError, FieldError, Forbidden, InvalidRequest, TooLarge, UrlNotAllowed
from app.intake.intake import Intake
from app.recording_batches import changing, feeding
from app.recording_batches.changing import NewRow
from app.recording_batches.key_patterns import KeyPattern
from app.recording_batches.manifest import ManifestRow, read_manifest
from app.recording_batches.models import BatchStatus, RecordingBatch
from app.recording_batches.requests import BatchFields, CreateBatch, asked_of, fingerprint_of, of_all, of_row
from app.sources.s3_listing import S3Listing
from app.storage.disk import FreeSpace
from app.storage.store import StoredAudio
from app.storage.workspace import Workspace

MANIFEST_BYTES = 128 * 1024 * 1024
ROWS_AT_ONCE = 500
MOST_ERRORS = 20
LEFT_BEHIND = timedelta(hours=1)
EXAMPLE_KEY = "recording.wav"


@dataclass(frozen=True)
class Checked:
    """Rows that were checked, and what is wrong with some of them."""

    rows: Sequence[NewRow]
    errors: Sequence[FieldError]
    are_places: bool
    """Whether all errors are about places that the service may not fetch from or write to."""


class BatchIntake:
    """Accepts recording batches."""

    def __init__(
        self, database: Database, intake: Intake, listing: S3Listing, workspace: Workspace, free_space: FreeSpace
    ) -> None:
        self._database = database
        self._intake = intake
        self._listing = listing
        self._workspace = workspace
        self._free_space = free_space

    async def accept(
        self, request: CreateBatch, caller: Caller, idempotency_key: str | None
    ) -> tuple[RecordingBatch, bool]:
        """Accept a list of URLs or a pattern. Returns the batch, and whether it is new. Raises AppError."""
        batch = self._new(request, caller, fingerprint_of(request))
        if (earlier := await self._earlier(batch, idempotency_key)) is not None:
            return earlier, False
        self._intake.require_open()
        if isinstance(request.source, str) or len(request.source.urls) > 1:
            request.require_distinct_output()
        if not isinstance(request.source, str):
            rows = (ManifestRow(number, {"url": url}) for number, url in enumerate(request.source.urls, start=1))
            return await self._accept(batch, caller, idempotency_key, rows)
        self._check_pattern(request.source, request, caller)
        batch.source, batch.is_listed = request.source, False
        return await self._accept(batch, caller, idempotency_key, iter(()))

    def _check_pattern(self, source: str, request: CreateBatch, caller: Caller) -> None:
        try:
            pattern = KeyPattern.parse(source)
        except ValueError as error:
            raise InvalidRequest("Some fields are not valid.", errors=(FieldError("source", str(error)),)) from None
        self._listing.require_allowed(pattern.bucket)
        try:
            self._intake.check(*asked_of(request.asked, pattern.url_of(EXAMPLE_KEY), {}), caller)
        except AppError as error:
            raise of_all(request.asked, {}, error) or error from None

    @asynccontextmanager
    async def receiving(self) -> AsyncIterator[tuple[Path, Callable[[AsyncIterator[bytes]], Any]]]:
        """Gives the path of a temporary file, and a function that saves a manifest there from a stream.

        The function raises TooLarge and InsufficientStorage. The file is erased at the end of the block.
        """
        async with self._workspace.folder() as folder:
            path = folder / "manifest"

            async def save(stream: AsyncIterator[bytes]) -> StoredAudio:
                return await _save(self._free_space.guard(stream), path)

            yield path, save

    async def accept_manifest(
        self, path: Path, sha256: str, fields: BatchFields, caller: Caller, idempotency_key: str | None
    ) -> tuple[RecordingBatch, bool]:
        """Accept the rows of a manifest. Returns the batch, and whether it is new. Raises AppError."""
        batch = self._new(fields, caller, fingerprint_of(fields, sha256))
        if (earlier := await self._earlier(batch, idempotency_key)) is not None:
            return earlier, False
        self._intake.require_open()
        fields.require_distinct_output()
        with await asyncio.to_thread(path.open, "rb") as file:
            return await self._accept(batch, caller, idempotency_key, read_manifest(file), is_manifest=True)

    def _new(self, request: BatchFields, caller: Caller, fingerprint: str) -> RecordingBatch:
        at = datetime.now(UTC)
        return RecordingBatch(
            id=uuid7(),
            caller=caller.label,
            tenant=caller.tenant,
            fingerprint=fingerprint,
            name=request.name,
            status=BatchStatus.RECEIVING,
            asked=request.asked,
            is_listed=True,
            look_at=at + LEFT_BEHIND,
            created_at=at,
        )

    async def _earlier(self, batch: RecordingBatch, idempotency_key: str | None) -> RecordingBatch | None:
        if idempotency_key is None:
            return None
        async with self._database.transaction() as session:
            return await changing.repeated(session, batch.caller, idempotency_key, batch.fingerprint)

    async def _accept(
        self,
        batch: RecordingBatch,
        caller: Caller,
        idempotency_key: str | None,
        rows: Iterator[ManifestRow],
        *,
        is_manifest: bool = False,
    ) -> tuple[RecordingBatch, bool]:
        batch_id = batch.id
        async with self._database.transaction() as session:
            await changing.begin(session, batch)
        try:
            total = await self._write(batch_id, batch.asked, caller, rows, is_manifest=is_manifest)
            if is_manifest and not total:
                raise InvalidRequest("The manifest has no rows.", errors=(FieldError("file", "has no rows"),))
            async with self._database.transaction() as session:
                accepted, is_new = await changing.accept(session, batch_id, idempotency_key, total)
        except BaseException:
            await asyncio.shield(self._erase(batch_id))
            raise
        if not is_new:
            await self._erase(batch_id)
        return accepted, is_new

    async def _write(
        self, batch_id: UUID, asked: dict[str, Any], caller: Caller, rows: Iterator[ManifestRow], *, is_manifest: bool
    ) -> int:
        """Check and write all rows. Returns how many there are. Raises AppError if any of them is wrong."""
        total, errors, are_places = 0, list[FieldError](), True
        while True:
            checked = await asyncio.to_thread(self._check_some, asked, caller, rows, is_manifest)
            if not checked.rows and not checked.errors:
                break
            errors += checked.errors
            are_places &= checked.are_places
            total += len(checked.rows)
            if total > feeding.MOST_RECORDINGS:
                raise TooLarge(f"A batch can have at most {feeding.MOST_RECORDINGS} recordings.")
            if len(errors) >= MOST_ERRORS:
                break
            if not errors:
                async with self._database.transaction() as session:
                    await changing.add_rows(session, batch_id, checked.rows)
        if errors:
            refusal = UrlNotAllowed if are_places else InvalidRequest
            raise refusal("Some recordings of the batch are not valid.", errors=tuple(errors[:MOST_ERRORS]))
        return total

    def _check_some(
        self, asked: dict[str, Any], caller: Caller, rows: Iterator[ManifestRow], is_manifest: bool
    ) -> Checked:
        good, errors, are_places = list[NewRow](), list[FieldError](), True
        for row in islice(rows, ROWS_AT_ONCE):
            try:
                good.append(self._checked(asked, caller, row))
            except Forbidden:
                raise
            except AppError as error:
                if (of_request := of_all(asked, row.fields, error)) is not None:
                    raise of_request from None
                errors += of_row(row.number, error, is_manifest=is_manifest)
                are_places &= isinstance(error, UrlNotAllowed)
        return Checked(good, errors, are_places)

    def _checked(self, asked: dict[str, Any], caller: Caller, row: ManifestRow) -> NewRow:
        if row.error is not None:
            raise row.error
        url, others = row.fields.get("url"), {name: value for name, value in row.fields.items() if name != "url"}
        if url is None:
            raise InvalidRequest(errors=(FieldError("url", "is missing"),))
        remote, ask = asked_of(asked, url, others)
        self._intake.check(remote, ask, caller)
        return row.number, remote.url, others

    async def _erase(self, batch_id: UUID) -> None:
        """Erase a batch that is not accepted. If this fails, the feeder erases it later."""
        async with self._database.transaction() as session:
            batch = await changing.lock(session, batch_id)
            if batch is not None and batch.status == BatchStatus.RECEIVING:
                await changing.erase_soon(session, batch)


async def _save(stream: AsyncIterator[bytes], path: Path) -> StoredAudio:
    digest, size = hashlib.sha256(), 0
    file: IO[bytes] = await asyncio.to_thread(path.open, "wb")
    with file:
        async for block in stream:
            size += len(block)
            if size > MANIFEST_BYTES:
                raise TooLarge(f"The manifest is larger than {MANIFEST_BYTES} bytes.")
            digest.update(block)
            await asyncio.to_thread(file.write, block)
    return StoredAudio(path.name, size, digest.hexdigest())
