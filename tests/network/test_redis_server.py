"""A real Redis server with TLS, users and passwords, and what is said of one that cannot be used."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from structlog.testing import capture_logs

from app.intake.stream.group import ConsumerGroup
from app.network.redis_address import parse_redis_address
from app.network.redis_server import RedisServer
from app.network.redis_trouble import RedisTrouble
from testing.ports import free_ports
from testing.redis_server import RedisProcess, redis_serving


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[RedisServer]:
    server = RedisServer(parse_redis_address(url), answer_seconds=2)
    try:
        yield server
    finally:
        await server.close()


async def test_it_logs_in_and_uses_the_database_of_its_address(redis: RedisProcess) -> None:
    redis.client.acl_setuser("calls", enabled=True, passwords=["+p@ss word"], commands=["+@all"], keys=["*"])
    async with connected(f"redis://calls:p%40ss%20word@127.0.0.1:{redis.port}/3") as server:
        await server.command("SET", "key", b"\xff")
        assert await server.command("GET", "key") == b"\xff"
    assert redis.client.info("keyspace").keys() == {"db3"}


async def test_a_wrong_password_is_a_trouble_that_passes_and_is_never_shown(redis: RedisProcess) -> None:
    redis.client.config_set("requirepass", "right")
    async with connected(f"redis://:geheim@127.0.0.1:{redis.port}") as server:
        with capture_logs() as logs:
            with pytest.raises(RedisTrouble, match="it refuses the user or the password"):
                await server.command("PING")
            assert server.trouble == "it refuses the user or the password"
            redis.client.config_set("requirepass", "geheim")
            await server.command("PING")
            assert server.trouble is None
    assert [one["event"] for one in logs] == ["Redis cannot be used", "Redis can be used again"]
    assert "geheim" not in str(logs)


async def test_the_rights_that_the_page_names_are_enough(redis: RedisProcess) -> None:
    page = (Path(__file__).parents[2] / "docs" / "messages.md").read_text()
    [rights] = re.findall(r"^ACL SETUSER callscribe (.*)", page, re.MULTILINE)
    redis.client.execute_command("ACL", "SETUSER", "callscribe", *rights.split())
    url = f"redis://callscribe:password@127.0.0.1:{redis.port}"
    async with connected(url) as server:
        group = ConsumerGroup(server, "callscribe:requests", "one", idle_seconds=0)
        await group.ensure()
        redis.add(url="")
        await group.read_new(1, 10)
        taken = await group.take_over()
        assert taken is not None
        await group.keep([taken])
        await group.reject(taken.entry, [("code", "invalid_request")])
        await group.acknowledge(taken.entry)
        await group.remove_dead()
        await group.leave()
        assert server.trouble is None
    assert redis.entries("callscribe:rejected") == [{"code": "invalid_request"}]


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    authority = trustme.CA()
    authority.cert_pem.write_to_path(file)
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    return file


async def test_an_encrypted_connection_checks_the_certificate_and_its_name(authority: Path) -> None:
    [port] = free_ports(1)
    folder = authority.parent
    options = ["--tls-port", port, "--tls-cert-file", folder / "cert.pem", "--tls-key-file", folder / "key.pem"]
    options += ["--tls-ca-cert-file", authority, "--tls-auth-clients", "no"]
    with redis_serving(*map(str, options)):
        async with connected(f"rediss://localhost:{port}?ssl_ca_certs={authority}") as server:
            assert await server.command("PING") == b"PONG"
        for url in (f"rediss://127.0.0.1:{port}?ssl_ca_certs={authority}", f"rediss://localhost:{port}"):
            async with connected(url) as server:
                with pytest.raises(RedisTrouble) as trouble:
                    await server.command("PING")
                assert trouble.value.word == "tls_failed"
