"""Checks of what is around the service: Redis, the watched folder, and the names of hosts that it will connect to.

Receivers of webhooks are not contacted, because a request would be an event to them. No name is looked up that the
settings do not have, because a look-up tells others that this machine exists.
"""

import asyncio
import os
from collections.abc import Sequence

import httpx

from app.cli.doctor.findings import Finding, failed, fine, warning
from app.cli.doctor.surroundings import Surroundings
from app.making import check_watch
from app.network.guard import NameNotFound, NetworkGuard, NetworkRefused
from app.network.redis_server import RedisServer, open_redis
from app.network.redis_trouble import RedisTrouble
from app.process.tasks import within
from app.settings import Networks, SettingsError
from app.wording import of_count

LOOK_UP_SECONDS = 10.0
PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
REDIS_ADVICE = {
    "timeout": "Look for a firewall in between, and whether the server is overloaded.",
    "connection_failed": "Start Redis, or correct the host and the port in CALLSCRIBE_REDIS_URL.",
    "tls_failed": "Use redis:// if the server has no TLS, or name its authority with ssl_ca_certs=file.",
    "redis_refused": "Correct the user, the password or the rights (docs/messages.md).",
}


async def redis(at: Surroundings) -> list[Finding]:
    async with open_redis(at.settings.redis_url) as server:
        if server is None:
            return []
        try:
            return [await _asked(server, at.settings.redis_stream)]
        except RedisTrouble as trouble:
            return [failed(f"{server.address}: {trouble}", REDIS_ADVICE[trouble.word])]


async def _asked(server: RedisServer, stream: str) -> Finding:
    await server.command("PING")
    waiting = await server.command("XLEN", stream)
    return fine(f"{server.address} answers; {stream} has {of_count(int(waiting), 'entry', 'entries')}")


async def watched_folder(at: Surroundings) -> list[Finding]:
    if at.settings.watch is None:
        return []
    try:
        await asyncio.to_thread(check_watch, at.settings)
    except SettingsError as error:
        advice = "Correct the setting, or let the service's user write there. docs/pipeline.md describes both."
        return [failed(str(error), advice)]
    return [fine(f"{at.settings.watch} can be written, and its options are allowed")]


async def network(at: Surroundings) -> list[Finding]:
    """Looks up the hosts of default receivers, and checks their addresses as the service does before it connects."""
    urls = [*at.settings.webhook_urls, *at.settings.callback_urls]
    found = [await _looked_up(url, at.settings.allowed_networks) for url in _one_for_each_host(urls)]
    if proxies := [name for name in PROXIES if os.environ.get(name)]:
        found.append(
            warning(
                f"{proxies[0]} is set, but the service connects directly when it fetches recordings or sends webhooks",
                "Let this machine connect to those hosts directly.",
            )
        )
    return found or [fine("no receiver is set for all jobs, so no name was looked up")]


def _one_for_each_host(urls: Sequence[str]) -> list[str]:
    return list({httpx.URL(url.partition("{")[0]).host: url for url in urls}.values())


async def _looked_up(url: str, allowed: Networks) -> Finding:
    host = httpx.URL(url.partition("{")[0]).host
    try:
        resolving = NetworkGuard(allowed).resolve(httpx.URL(url.partition("{")[0]))
        addresses = await within(LOOK_UP_SECONDS, resolving)
    except NameNotFound:
        return failed(f"{host} has no address", "Correct the URL of the receiver, or this machine's DNS.", about=host)
    except NetworkRefused as refusal:
        advice = "If the receiver is in your own network, add it to CALLSCRIBE_ALLOWED_NETWORKS."
        return failed(f"{host} may not be connected to: {refusal}", advice, about=host)
    except TimeoutError:
        return failed(f"{host}: the DNS does not answer", "Look at this machine's DNS.", about=host)
    allowed_addresses = of_count(len(addresses), "address that is allowed", "addresses that are allowed")
    return fine(f"{host} has {allowed_addresses}; it was not contacted", about=host)
