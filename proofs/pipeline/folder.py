"""Replays the loop that a watched folder replaces: recordings arrive over SFTP, slowly, while processes are killed.

A server and a worker watch one folder. Each recording must become one job with all of its bytes and one whole output,
and is reported by a GET at both addresses after that. Nothing may be left over.
"""

import asyncio
import hashlib
import json
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from random import Random
from urllib.parse import parse_qs, urlsplit

import asyncpg

from app.intake.folder.owner import MARK
from app.storage.file_url import path_of
from proofs.chaos.cluster import Cluster
from proofs.chaos.figures import Figure
from proofs.chaos.postgres import Postgres
from testing.receiver import Receiver, receiving
from testing.recordings import tone
from testing.sftp import sftp_client, sftp_serving

PATIENCE_SECONDS = 240.0
POLL_SECONDS = 0.5
CLIENTS = 4
SETTLE_SECONDS = 1.0
NAMES = (
    "call {}.wav",
    "客户 电话 {}.wav",
    'it\'s "call" {}.wav',
    "#{}?.wav",
    "line\nbreak {}.wav",
    "{}%20&x=1.wav",
    "2026-11-28/call-{}.wav",
    "2026-11-28/{{id}} {}.wav",
)
NOT_UTF8 = b"anruf-\xfc-%d.wav"


@dataclass
class Sent:
    """What was sent, by its path: the hash of its bytes. And what the receivers saw, and whether it was there then."""

    hashes: dict[Path, str] = field(default_factory=dict)
    too_early: list[str] = field(default_factory=list)


async def folder(folder: Path, *, files: int, kills: int, every_seconds: float, seed: str = "folder") -> list[Figure]:
    """Sends `files` recordings while `kills` processes are killed, one each `every_seconds` on average."""
    random, root, output = Random(seed), folder / "inwav", folder / "outjson"
    for made in (root, output):
        made.mkdir(parents=True)
    sent = Sent()
    async with AsyncExitStack() as stack:
        receivers = [await stack.enter_async_context(receiving()) for _ in range(2)]
        for receiver in receivers:
            receiver.wait_in_answer = _checker(receiver, output, sent)
        port = await stack.enter_async_context(sftp_serving(root))
        postgres = Postgres(folder)
        stack.callback(postgres.stop)
        pool = await stack.enter_async_context(await postgres.open())
        cluster = Cluster(folder, postgres.address, "--double", "--lease", "3", **_settings(root, output, receivers))
        stack.push_async_callback(cluster.stop)
        await cluster.start_whole()
        cluster.add_workers(1)
        killing = asyncio.create_task(_kill(cluster, random, kills, every_seconds))
        pause = kills * every_seconds * CLIENTS / files / 4
        await asyncio.gather(*(_send(port, number, files, random, pause, sent, root) for number in range(CLIENTS)))
        await killing
        await cluster.until_replaced()
        settled = await _settle(pool, root, output, receivers, files)
        jobs = await pool.fetch("SELECT id, source, sha256, status FROM transcription")
        pool.terminate()
        return [
            Figure.at_least("recordings sent over SFTP", len(sent.hashes), files),
            Figure.at_least("SIGKILLs", cluster.exit_codes[-signal.SIGKILL], kills),
            Figure.none("processes that ended by themselves", cluster.exit_codes.total() - len(cluster.signalled)),
            *_figures_of_jobs(jobs, sent),
            *_figures_of_outputs(output, root, sent),
            *_figures_of_callbacks(receivers, sent),
            Figure.none("files left over in the folder", len(_files(root)), [str(path) for path in _files(root)]),
            Figure.found("seconds until nothing was left over", settled),
        ]


def _settings(root: Path, output: Path, receivers: Sequence[Receiver]) -> dict[str, str]:
    callbacks = [receiver.url("/callback?fileName={file_name}") for receiver in receivers]
    return {
        "WATCH": str(root),
        "WATCH_OUTPUT": str(output),
        "WATCH_SETTLE_SECONDS": str(SETTLE_SECONDS),
        "CALLBACK_URLS": ",".join(callbacks),
        "ALLOWED_NETWORKS": "127.0.0.0/8",
    }


def _checker(receiver: Receiver, output: Path, sent: Sent) -> Callable[[], Awaitable[None]]:
    async def check() -> None:
        """Notes a GET whose output is not whole yet."""
        name = _file_name(receiver.received[-1].target)
        found = [path for path in _files(output) if _shown(path.name) == f"{PurePosixPath(name).stem}.json"]
        if not found or not _is_whole(found[0]):
            sent.too_early.append(name)

    return check


async def _kill(cluster: Cluster, random: Random, kills: int, every_seconds: float) -> None:
    while len(cluster.signalled) < kills:
        await asyncio.sleep(random.uniform(0.5, 1.5) * every_seconds)
        if able := cluster.not_signalled(cluster.members):
            cluster.kill(random.choice(able))


async def _send(
    port: int, client_number: int, files: int, random: Random, pause: float, sent: Sent, root: Path
) -> None:
    """Sends every CLIENTS-th file. One in ten pauses for longer than it takes to settle, one in five is renamed."""
    async with sftp_client(port) as client:
        for number in range(client_number, files, CLIENTS):
            content = tone(0.2 + number % 7 * 0.05, 200.0 + number)
            name = NOT_UTF8 % number if number % 25 == 24 else NAMES[number % len(NAMES)].format(number).encode()
            sent.hashes[root / os.fsdecode(name)] = hashlib.sha256(content).hexdigest()
            if number % 10 == 0:
                await client.send(name, content, pieces=2, pause_seconds=2 * SETTLE_SECONDS)
            elif number % 5 == 1:
                await client.send(name + b".filepart", content, pieces=4, pause_seconds=pause, final=name)
            else:
                await client.send(name, content, pieces=4, pause_seconds=pause)


async def _settle(
    pool: "asyncpg.Pool[asyncpg.Record]", root: Path, output: Path, receivers: Sequence[Receiver], files: int
) -> float:
    """Waits until nothing is left to do. Returns how long that took; the figures show what is missing after that."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    while loop.time() < started + PATIENCE_SECONDS:
        pending = await pool.fetchval("SELECT count(*) FROM delivery WHERE status = 'pending'")
        if not _files(root) and len(_files(output)) >= files and not pending:
            break
        await asyncio.sleep(POLL_SECONDS)
    return loop.time() - started


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir() and path.name != MARK]


def _is_whole(path: Path) -> bool:
    try:
        body = json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    return isinstance(body, dict) and body.keys() >= {"text", "segments", "language"}


def _shown(name: str) -> str:
    """The name as the service shows it."""
    text = os.fsencode(name).decode(errors="replace")
    return "".join(character for character in text if character.isprintable())


def _file_name(target: str) -> str:
    return parse_qs(urlsplit(target).query)["fileName"][0]


def _figures_of_jobs(jobs: Sequence[asyncpg.Record], sent: Sent) -> list[Figure]:
    by_path = Counter(path_of(job["source"]) for job in jobs)
    several = [f"{path}: {count} jobs" for path, count in by_path.items() if count > 1]
    missing = [str(path) for path in sent.hashes if path not in by_path]
    partly = [job["source"] for job in jobs if sent.hashes.get(path_of(job["source"])) != job["sha256"]]
    open_jobs = [f"{job['source']}: {job['status']}" for job in jobs if job["status"] != "completed"]
    return [
        Figure.none("recordings without a job", len(missing), missing),
        Figure.none("recordings with several jobs", len(several), several),
        Figure.none("jobs with other bytes than were sent (a half-written file)", len(partly), partly),
        Figure.none("jobs that are not completed", len(open_jobs), open_jobs),
    ]


def _figures_of_outputs(output: Path, root: Path, sent: Sent) -> list[Figure]:
    promised = {output / path.relative_to(root).with_suffix(".json") for path in sent.hashes}
    found = set(_files(output))
    broken = [str(path) for path in found & promised if not _is_whole(path)]
    others = [str(path) for path in found - promised]
    return [
        Figure.none("outputs that are missing", len(promised - found), [str(path) for path in promised - found]),
        Figure.none("outputs that are not whole", len(broken), broken),
        Figure.none("other files among the outputs", len(others), others),
    ]


def _figures_of_callbacks(receivers: Sequence[Receiver], sent: Sent) -> list[Figure]:
    names = {_shown(path.name) for path in sent.hashes}
    events: list[dict[str, set[str]]] = []
    for receiver in receivers:
        events.append({})
        for request in receiver.received:
            events[-1].setdefault(_file_name(request.target), set()).add(request.headers["webhook-id"])
    missing = [f"{number}: {name}" for number, seen in enumerate(events) for name in names - seen.keys()]
    several = [name for seen in events for name, ids in seen.items() if len(ids) > 1]
    unknown = [name for seen in events for name in seen.keys() - names]
    repeated = sum(len(receiver.received) for receiver in receivers) - 2 * len(names)
    return [
        Figure.none("GETs that are missing at one of two addresses", len(missing), missing),
        Figure.none("recordings that were reported as two events", len(several), several),
        Figure.none("GETs for names that were not sent", len(unknown), unknown),
        Figure.none("GETs before the output was whole", len(sent.too_early), sent.too_early),
        Figure.found("GETs that were repeated, after a kill in the middle of a request", repeated),
    ]
