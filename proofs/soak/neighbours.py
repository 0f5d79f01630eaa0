"""Measures how long a call of one API key, or tenant, takes while another requests as much as it can."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import httpx
import numpy as np

from proofs.bench.ours import transcript_of
from proofs.chaos.figures import Figure
from proofs.soak.scenarios import call_of
from testing.origin import Exchange, Origin, answering
from testing.service import Service, eventually

GREEDY, MODEST = "greedy-secret-1", "modest-secret-2"
SETTINGS = {
    "API_KEYS": f"greedy:{GREEDY},modest:{MODEST}",
    "ALLOWED_NETWORKS": "127.0.0.0/8",
    "MAX_PENDING": "20000",
    "KEEP_AUDIO_DAYS": "0",
}
ADMIN = "admin-secret-3"
SETTINGS_OF_TENANTS = SETTINGS | {"API_KEYS": f"admin:{ADMIN}"}
KEYS_OF_TENANT = 20
TARPIT_BYTES_A_SECOND = 12_000
CLIENTS = 8


@dataclass(frozen=True)
class Neighbours:
    """Who floods, with which keys, and who has a short call; and how urgent the jobs of both are."""

    greedy: Sequence[str] = (GREEDY,)
    modest: str = MODEST
    greedy_priority: str = "9"
    modest_priority: str = "0"


def tenants(service: Service) -> Neighbours:
    """A tenant with 20 keys beside a tenant with one, whose key the client has from now on. All are equally urgent."""

    def key(tenant: str, name: str) -> str:
        asked = {"name": name, "tenant": tenant, "scopes": ["transcribe", "read"]}
        made = service.client.post("/v1/keys", json=asked, headers=_as(ADMIN)).raise_for_status().json()
        return str(made["key"])

    greedy = [key("greedy", f"key-{number}") for number in range(KEYS_OF_TENANT)]
    modest = key("modest", "only")
    service.client.headers.update(_as(modest))
    return Neighbours(greedy, modest, "5", "5")


def neighbours(
    service: Service,
    folder: Path,
    *,
    seconds: float,
    long_seconds: float,
    calls: int,
    waiting: int,
    tries: int,
    of: Callable[[Service], Neighbours] = lambda _: Neighbours(),
) -> list[Figure]:
    """Measures a short call of one key, alone and while another has long calls, tarpits and a full queue."""
    them = of(service)
    short = call_of(folder / "short.wav", seconds).read_bytes()
    long = call_of(folder / "long.wav", long_seconds).read_bytes()
    with answering() as origin:
        origin.answers["/short.wav"] = lambda exchange: exchange.whole(short)
        origin.answers["/tarpit.wav"] = _drip
        alone = [_uploaded(service, short, them) for _ in range(tries)]
        alone_fetched = [_fetched(service, origin, them) for _ in range(tries)]
        with _flood(service, origin, long, calls, waiting, them):
            flooded = [_uploaded(service, short, them) for _ in range(tries)]
            flooded_fetched = [_fetched(service, origin, them) for _ in range(tries)]
            running = [service.client.get(path, headers=_as(them.greedy[0])).json() for path in _running(service, them)]
    return [
        *_compared("uploaded", seconds, alone, flooded),
        *_compared("fetched", seconds, alone_fetched, flooded_fetched),
        Figure.at_least("jobs of the other that ran meanwhile", len(running), 1),
        Figure.none(
            "of these, failed or tried again", sum(bool(job["error"]) or job["attempts"] != 1 for job in running)
        ),
    ]


def _compared(what: str, seconds: float, alone: list[float], flooded: list[float]) -> list[Figure]:
    idle = float(np.median(alone))
    return [
        Figure.found(f"a call of {seconds:g} s, {what}, alone: seconds (median of {len(alone)})", idle),
        Figure.at_most("while the other floods: times as long, median", float(np.median(flooded)) / idle, 3.0),
        Figure.found("while the other floods: times as long, longest", max(flooded) / idle),
    ]


@contextmanager
def _flood(service: Service, origin: Origin, long: bytes, calls: int, waiting: int, them: Neighbours) -> Iterator[None]:
    """Posts long calls, then `waiting` jobs whose recordings come from a tarpit."""
    jobs, keys = [], cycle(them.greedy)
    for _ in range(calls):
        answer = service.post(long, headers=_as(next(keys)), priority=them.greedy_priority, channels="split")
        jobs.append(answer.raise_for_status().json()["links"]["self"])
    body = {"url": origin.url("/tarpit.wav"), "priority": int(them.greedy_priority)}

    def post(number: int) -> str:
        key = them.greedy[number % len(them.greedy)]
        answer = service.client.post("/v1/transcriptions", json=body, headers=_as(key))
        link: str = answer.raise_for_status().json()["links"]["self"]
        return link

    with ThreadPoolExecutor(CLIENTS) as clients:
        jobs += clients.map(post, range(waiting))
    eventually(lambda: len(origin.headers_of("/tarpit.wav")) >= min(waiting, CLIENTS))
    first = jobs[0]
    eventually(lambda: service.client.get(first, headers=_as(them.greedy[0])).json()["progress"] > 0)
    yield


def _running(service: Service, them: Neighbours) -> list[str]:
    path = "/v1/transcriptions?status=in_progress&limit=100"
    listed = service.client.get(path, headers=_as(them.greedy[0])).json()
    return [job["links"]["self"] for job in listed["items"]]


def _uploaded(service: Service, recording: bytes, them: Neighbours) -> float:
    started = time.perf_counter()
    answer = service.post(recording, headers=_as(them.modest), priority=them.modest_priority)
    return _until_done(service, answer, started)


def _fetched(service: Service, origin: Origin, them: Neighbours) -> float:
    started = time.perf_counter()
    body = {"url": origin.url("/short.wav"), "priority": int(them.modest_priority)}
    answer = service.client.post("/v1/transcriptions", json=body, headers=_as(them.modest))
    return _until_done(service, answer, started)


def _until_done(service: Service, answer: httpx.Response, started: float) -> float:
    transcript_of(service, answer.raise_for_status().json())
    return time.perf_counter() - started


def _drip(exchange: Exchange) -> None:
    exchange.head(Content_Length=1_000_000_000)
    exchange.drip(bytes(TARPIT_BYTES_A_SECOND), 1.0)


def _as(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
