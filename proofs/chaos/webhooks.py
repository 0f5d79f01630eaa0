"""Kills senders of webhooks, or adds a dead receiver: `python -m proofs.chaos.webhooks kill | dead` (see --help)."""

import argparse
import asyncio
import multiprocessing
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from statistics import quantiles
from uuid import UUID

from sqlalchemy import func
from sqlmodel import col, select, update
from uuid_utils.compat import uuid7

from app.database.connections import Database, migrate
from app.database.embedded import EmbeddedPostgres
from app.database.notifications import Signals
from app.deliveries.http import http_channels, open_client
from app.deliveries.models import Delivery, DeliveryStatus, Event, Style
from app.deliveries.sender import DeliverySender
from app.deliveries.signing import new_secret
from app.jobs.changes import changing
from app.jobs.claims import ending
from app.network.guard import NetworkGuard, host_of
from testing.receiver import Receiver
from testing.rows import KEEP_AUDIO, TESTER, enqueue

SLOTS = 8  # few, so that some kills happen between two records
HOSTS = 60  # many, because a killed sender's leases occupy places of their host until they end


@dataclass(frozen=True)
class Verdict:
    """How the events arrived.

    `ids` is the largest number of ids that one event had, `bodies` the largest number of different bodies.
    """

    undelivered: int
    requests: int
    repeated: int
    ids: int
    bodies: int


def send_until_killed(address: str, secret: str) -> None:
    """Runs the sender of one replica. It is called in a new process."""
    asyncio.run(_send(address, secret))


async def _send(address: str, secret: str) -> None:
    database = Database(address)
    signals = Signals(database)
    async with open_client(NetworkGuard([ip_network("127.0.0.0/8")])) as client:
        await asyncio.gather(
            signals.run(), DeliverySender(database, signals, http_channels(client), [secret], slots=SLOTS).run()
        )


class Senders:
    """Starts processes that send, one after the other. It forks them from one that has imported everything."""

    def __init__(self, address: str) -> None:
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(["app.jobs.claims.queue", "app.deliveries.sender"])
        self._arguments = (address, new_secret())

    def start(self) -> ForkServerProcess:
        process = self._processes.Process(target=send_until_killed, args=self._arguments, daemon=True)
        process.start()
        return process


@asynccontextmanager
async def receiving_everywhere() -> AsyncIterator[Receiver]:
    """Runs a receiver at every address of 127.0.0.0/8 until the end of the block."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.handle, "0.0.0.0")
    receiver.port = server.sockets[0].getsockname()[1]
    async with server:
        yield receiver
        server.close()


async def end_job(database: Database, url: str) -> UUID:
    """Adds a transcription and ends it immediately, by cancelling it. Returns its id."""
    job = await enqueue(database, webhook_urls=[url])
    async with database.transaction() as session:
        await changing.request_cancel(session, job.id, TESTER, KEEP_AUDIO)
    return job.id


async def pending(database: Database) -> int:
    async with database.transaction() as session:
        waiting = select(func.count()).select_from(Delivery).where(Delivery.status == DeliveryStatus.PENDING)
        return (await session.exec(waiting)).one()


async def end_leases(database: Database) -> None:
    """Ends all leases now, so that a scenario does not have to wait for them."""
    async with database.transaction() as session:
        await session.exec(
            update(Delivery).where(col(Delivery.lease_token).is_not(None)).values(lease_until=func.now())
        )


async def kill(
    database: Database, address: str, *, events: int, kills: int, seed: int, wait_for_leases: bool = True
) -> Verdict:
    """Kills the sender `kills` times in the middle of requests, then lets it deliver the rest of `events` events."""
    chance = random.Random(seed)
    senders = Senders(address)
    async with receiving_everywhere() as receiver:
        receiver.wait_in_answer = lambda: asyncio.sleep(chance.uniform(0, 0.05))
        for number in range(events):
            await end_job(database, receiver.url(f"/{number}-ok", host=f"127.0.1.{number % HOSTS + 1}"))
        for number in range(1, kills + 1):
            sender = senders.start()
            target = len(receiver.received) + chance.randint(1, max(1, events // (2 * kills)))
            while not receiver.busy or len(receiver.received) < target:
                if not await pending(database):
                    raise SystemExit(f"All events were delivered after {number - 1} kills. Choose more events.")
                await asyncio.sleep(0.005)
            sender.kill()
            sender.join()
            if not wait_for_leases:
                await end_leases(database)
            print(
                f"kill {number}: {len(receiver.received)} requests so far, {await pending(database)} pending",
                flush=True,
            )
        last = senders.start()
        while await pending(database):
            await asyncio.sleep(0.1)
        last.kill()
        last.join()
        return await judge(database, receiver)


async def judge(database: Database, receiver: Receiver) -> Verdict:
    ids, bodies = defaultdict(set), defaultdict(set)
    for request in receiver.received:
        ids[request.path].add(request.headers["webhook-id"])
        bodies[request.path].add(request.body)
    async with database.transaction() as session:
        events = (await session.exec(select(func.count()).select_from(Event))).one()
    requests = len(receiver.received)
    most_ids, most_bodies = (max(map(len, found.values())) for found in (ids, bodies))
    return Verdict(events - len(ids), requests, requests - len(ids), most_ids, most_bodies)


async def latencies(database: Database, receiver: Receiver, probes: int) -> list[float]:
    """Returns the seconds from the commit of a final status to the request. Probes are sent one after the other."""
    seconds = []
    for number in range(probes):
        before = len(receiver.at(f"/{number}-probe"))
        await end_job(database, receiver.url(f"/{number}-probe", host="127.0.2.1"))
        started = time.perf_counter()
        while len(receiver.at(f"/{number}-probe")) == before:
            await asyncio.sleep(0.001)
        seconds.append(time.perf_counter() - started)
    return seconds


async def add_dead(database: Database, url: str, number: int) -> None:
    """Adds `number` due deliveries for a receiver that never answers."""
    async with database.transaction() as session:
        now = await ending.now(session)
    first = await end_job(database, url)
    async with database.transaction() as session:
        event = (await session.exec(select(Event).where(Event.transcription_id == first))).one()
        session.add_all(
            Delivery(
                id=uuid7(),
                event_id=event.id,
                style=Style.WEBHOOK,
                url=url,
                host=host_of(url),
                next_attempt_at=now,
                created_at=now,
            )
            for _ in range(number)
        )


async def dead(database: Database, address: str, *, backlog: int, probes: int) -> tuple[float, float]:
    """Returns the seconds from a final status to the request (p95).

    The first are of an idle service, the second of one with a backlog for a dead receiver.
    """
    async with receiving_everywhere() as receiver:
        sender = Senders(address).start()
        await latencies(database, receiver, 5)
        idle = await latencies(database, receiver, probes)
        await add_dead(database, receiver.url("/hang"), backlog)
        while receiver.busy < 4:
            await asyncio.sleep(0.01)
        with_backlog = await latencies(database, receiver, probes)
        sender.kill()
        sender.join()
        while receiver.busy:
            await asyncio.sleep(0.01)
        return quantiles(idle, n=20)[-1], quantiles(with_backlog, n=20)[-1]


async def run(arguments: argparse.Namespace, address: str) -> None:
    await migrate(address)
    database = Database(address)
    if arguments.command == "kill":
        print(await kill(database, address, events=arguments.events, kills=arguments.kills, seed=arguments.seed))
    else:
        idle, with_backlog = await dead(database, address, backlog=arguments.backlog, probes=arguments.probes)
        print(
            f"p95 {idle * 1000:.1f} ms if idle, "
            f"{with_backlog * 1000:.1f} ms with {arguments.backlog} deliveries for a dead receiver"
        )
    await database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    killing = commands.add_parser(
        "kill", help="kill senders in the middle of requests, and count events lost or sent twice"
    )
    killing.add_argument("--events", type=int, default=2000)
    killing.add_argument("--kills", type=int, default=100)
    killing.add_argument("--seed", type=int, default=1)
    dying = commands.add_parser("dead", help="measure deliveries to a living receiver while a dead one has a backlog")
    dying.add_argument("--backlog", type=int, default=5000)
    dying.add_argument("--probes", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="callscribe-chaos-") as folder:
        embedded = EmbeddedPostgres(Path(folder) / "postgres")
        try:
            asyncio.run(run(arguments, embedded.start()))
        finally:
            embedded.stop()


if __name__ == "__main__":
    main()
