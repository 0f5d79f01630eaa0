"""Addresses of Redis servers: which forms are taken, and that no error shows a secret."""

from pathlib import Path

import pytest

from app.network.redis_address import ENCODE, FORM, ONE_SERVER, RedisAddress, parse_redis_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("redis://cache", RedisAddress("cache")),
        ("redis://cache/", RedisAddress("cache")),
        ("redis://127.0.0.1:6380/3", RedisAddress("127.0.0.1", 6380, 3)),
        ("redis://[::1]:6380", RedisAddress("::1", 6380)),
        ("redis://:p%40ss@cache", RedisAddress("cache", password="p@ss")),
        ("rediss://calls:p%3Ass@cache.example/0", RedisAddress("cache.example", 6379, 0, "calls", "p:ss", True)),
        (" REDIS://user:@cache ", RedisAddress("cache", user="user")),
    ],
)
def test_an_address_is_read(text: str, address: RedisAddress) -> None:
    assert parse_redis_address(text) == address


def test_logs_show_the_server_and_no_secret() -> None:
    address = parse_redis_address("rediss://calls:geheim@cache.example:6380/2")
    assert str(address) == "cache.example:6380, database 2"
    assert str(parse_redis_address("redis://[::1]/1")) == "[::1]:6379, database 1"
    assert "geheim" not in repr(address)
    assert "calls" not in repr(address)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("cache:6379", FORM),
        ("http://cache", FORM),
        ("redis://", FORM),
        ("redis+sentinel://cache:26379/0", ONE_SERVER),
        ("unix:///run/redis.sock", ONE_SERVER),
        ("redis://one:6379,two:6379", ONE_SERVER),
        ("redis://:geheim@cache/geheim2", "must end in the number of a database, such as /0"),
        ("redis://:geheim/2@cache", ENCODE),
        ("redis://:geheim@2@cache", ENCODE),
        ("redis://:geheim?2@cache", ENCODE),
        ("redis://:geheim#2@cache", ENCODE),
        ("redis://:ge heim@cache", ENCODE),
        ("redis://:100%geheim@cache", ENCODE),
        ("redis://:geheim@cache:port", ENCODE),
        ("redis://:geheim@cache:70000", ENCODE),
        ("redis://cache?geheim=1", "has a parameter that is not known here. The only one is ssl_ca_certs=file"),
        ("redis://cache?ssl_ca_certs=/etc/hosts", "has ssl_ca_certs, which needs rediss://"),
        ("rediss://cache?ssl_ca_certs=/not/there", "the file /not/there of ssl_ca_certs cannot be read"),
    ],
)
def test_a_wrong_address_is_refused_without_showing_its_secrets(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        parse_redis_address(text)
    assert str(refused.value) == reason
    assert "geheim" not in str(refused.value)


def test_an_address_may_name_the_authorities_that_are_trusted(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.touch()
    assert parse_redis_address(f"rediss://cache?ssl_ca_certs={file}").ca_file == file
