"""Addresses of databases, as libpq and hosting companies write them, and wrong ones, which never show their secrets."""

import os
from pathlib import Path

import pytest

from app.database.address import Address, parse_address

SECRET = "half2secret"


@pytest.mark.parametrize(
    ("text", "hosts", "database"),
    [
        ("postgres://u:p@ec2-1-2.amazonaws.com:5432/d1", "ec2-1-2.amazonaws.com:5432", "d1"),
        ("postgresql://u:p@calls.abc.rds.amazonaws.com/calls?sslmode=require", "calls.abc.rds.amazonaws.com", "calls"),
        ("postgres://postgres.ref:p@eu.pooler.supabase.com:5432/db?supa=x", "eu.pooler.supabase.com:5432", "db"),
        ("postgresql://u:p@ep-x.neon.tech/db?sslmode=require&channel_binding=require", "ep-x.neon.tech", "db"),
        ("postgresql+asyncpg://u:p@db.example/calls", "db.example", "calls"),
        ("postgresql+psycopg2://u:p@db.example/calls", "db.example", "calls"),
        ("postgresql://u:p@p1:5432,p2:5433,p3/calls?target_session_attrs=read-write", "p1:5432 p2:5433 p3", "calls"),
        ("postgresql://u@/calls?host=p1,p2&port=5432,5433", "p1:5432 p2:5433", "calls"),
        ("postgresql://u@/calls?host=p1,p2&port=6432", "p1:6432 p2:6432", "calls"),
        ("postgresql:///calls?host=/var/run/postgresql", "/var/run/postgresql", "calls"),
        ("postgresql://u:p@/calls?host=/cloudsql/project:region:name", "/cloudsql/project:region:name", "calls"),
        ("postgresql://u@%2Fvar%2Frun%2Fpostgresql:5433/calls", "/var/run/postgresql:5433", "calls"),
        ("postgresql://u:p@[2001:db8::1]:5433/calls", "[2001:db8::1]:5433", "calls"),
        ("postgresql://db.example", "db.example", None),
        ("postgresql://db.example/?dbname=calls", "db.example", "calls"),
        ("postgresql:///", "the default host", None),
        ("  postgresql://db.example/my%20calls\n", "db.example", "my calls"),
    ],
)
def test_hosts_and_databases(text: str, hosts: str, database: str | None) -> None:
    address = parse_address(text)
    assert " ".join(map(str, address.hosts)) == hosts
    assert address.database == database


@pytest.mark.parametrize(
    ("login", "user", "password"),
    [
        ("cs:simple@", "cs", "simple"),
        ("cs:a%40b%2Fc%23d%3Fe%25f@", "cs", "a@b/c#d?e%f"),
        ("cs:with:colons@", "cs", "with:colons"),
        ("cs:pässwörd@", "cs", "pässwörd"),
        ("cs:Ⅷ℀@", "cs", "Ⅷ℀"),  # characters whose compatibility forms contain a slash
        ("cs@", "cs", None),
        ("", None, None),
    ],
)
def test_users_and_passwords(login: str, user: str | None, password: str | None) -> None:
    address = parse_address(f"postgresql://{login}db.example/calls")
    assert (address.user, address.password) == (user, password)


def test_a_user_and_a_password_may_be_parameters() -> None:
    address = parse_address("postgresql://db.example/calls?user=cs@server&password=a%40b")
    assert (address.user, address.password) == ("cs@server", "a@b")


def test_parameters_of_the_driver_keep_their_names(tmp_path: Path) -> None:
    (tmp_path / "root.pem").touch()
    address = parse_address(f"postgresql://h/d?sslmode=verify-full&sslrootcert={tmp_path}/root.pem")
    assert address.parameters == {"sslmode": "verify-full", "sslrootcert": f"{tmp_path}/root.pem"}


@pytest.mark.parametrize(
    ("query", "name", "value"),
    [
        ("connect_timeout=7", "connect_seconds", 7.0),
        ("connect_timeout=1", "connect_seconds", 2.0),
        ("connect_timeout=0", "connect_seconds", 10.0),
        ("", "connect_seconds", 10.0),
        ("application_name=billing", "application", "billing"),
        ("options=-csearch_path%3Dcalls", "settings", {"search_path": "calls"}),
        ("options=-c%20search_path%3Dcalls%20--work-mem=5MB", "settings", {"search_path": "calls", "work_mem": "5MB"}),
        ("options=-c%20DateStyle%3D%22ISO,%20DMY%22", "settings", {"DateStyle": "ISO, DMY"}),
        ("options=-c%20search_path%3Da%5C%20b", "settings", {"search_path": "a b"}),
        ("options=endpoint%3Dep-1%20-cwork_mem%3D5MB", "options", "endpoint=ep-1"),
        ("options=reference%3Dabc", "options", "reference=abc"),
        ("schema=calls", "settings", {"search_path": "calls"}),
        ("sslrootcert=system", "parameters", {"sslrootcert": "system", "sslmode": "verify-full"}),
        ("ssl=true", "parameters", {"sslmode": "require"}),
        ("sslmode=no-verify", "parameters", {"sslmode": "require"}),
        ("sslmode=", "parameters", {}),
        (
            "keepalives=1&keepalives_idle=30&tcp_user_timeout=9",
            "ignored",
            ("keepalives", "keepalives_idle", "tcp_user_timeout"),
        ),
        (
            "gssencmode=disable&pgbouncer=true&connection_limit=1",
            "ignored",
            ("connection_limit", "gssencmode", "pgbouncer"),
        ),
    ],
)
def test_parameters(query: str, name: str, value: object) -> None:
    assert getattr(parse_address(f"postgresql://h/d?{query}"), name) == value


def test_the_environment_may_name_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSERVICE", "calls")
    assert parse_address("postgresql://").parameters == {"service": "calls"}
    assert parse_address("postgresql://?service=others").parameters == {"service": "others"}


def test_without_any_user_the_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGUSER", "PGSERVICE", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    with pytest.raises(ValueError, match="names no user"):
        parse_address("postgresql://h/d")
    assert parse_address("postgresql://cs@h/d").user == "cs"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("statement_timeout=5", "has the parameter statement_timeout, which is not known here"),
        ("sslmode=on", "sslmode must be one of disable, allow, prefer, require, verify-ca, verify-full"),
        ("sslrootcert=/nowhere/root.pem", "the file /nowhere/root.pem of sslrootcert cannot be read"),
        ("target_session_attrs=standby", "target_session_attrs must be read-write"),
        ("connect_timeout=soon", "connect_timeout must be a whole number of seconds"),
        ("hostaddr=10.0.0.1", "has the parameter hostaddr, which is not known here. Write the address as the host"),
        ("gssencmode=require", "gssencmode=require is not possible here"),
        ("sslrootcert=system&sslmode=require", "sslrootcert=system needs sslmode=verify-full"),
        ("options=-csearch_path%3D%22a", "options must be like -c name=value"),
        ("host=a,b,c&port=1,2", "must have one port, or as many ports as hosts"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named(query: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_address(f"postgresql://h/d?{query}")


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://cs:half1@{SECRET}/x#1@127.0.0.1:5432/cs",
        f"postgresql://cs:half1@{SECRET}@127.0.0.1/cs",
        f"postgresql://cs:half1/{SECRET}@127.0.0.1/cs",
        f"postgresql://cs:half1#{SECRET}@127.0.0.1/cs",
        f"postgresql://cs:half1?{SECRET}@127.0.0.1/cs",
        f"postgresql://cs:half1?{SECRET}=1@127.0.0.1/cs",
        f"postgresql://cs:half1@x?{SECRET}=1@127.0.0.1/cs",
        f"postgresql://cs:100%{SECRET}@127.0.0.1/cs",
        f"postgresql://cs:half1 {SECRET}@127.0.0.1/cs",
        f"postgresql://cs:half1\n{SECRET}@127.0.0.1/cs",
        f"postgresql://cs:half1[{SECRET}@127.0.0.1/cs",
        f"postgresql://cs:{SECRET}",
        f"postgresql://cs:{SECRET}/cs",
        f"postgresql://cs:x@h:{SECRET}/cs",
        f"postgresql://cs:x@h:99999/cs?password={SECRET}",
        f"postgresql://cs:{SECRET}@[::1/cs",
        f"postgresql://cs:{SECRET}@h/d?sslmode",
        f"host=127.0.0.1 password={SECRET}",
        f"jdbc:postgresql://127.0.0.1/cs?password={SECRET}",
        f"mysql://cs:{SECRET}@127.0.0.1/cs",
    ],
)
def test_a_malformed_address_is_refused_without_its_secrets(text: str) -> None:
    with pytest.raises(ValueError, match=r"Percent-encode|must be postgresql://") as refused:
        parse_address(text)
    assert SECRET not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_address_in_a_log_has_neither_user_nor_password() -> None:
    address = parse_address(f"postgresql://somebody:{SECRET}@a:1,b/calls?password={SECRET}&sslpassword={SECRET}")
    assert str(address) == "a:1, b, database calls"
    for shown in (str(address), repr(address)):
        assert SECRET not in shown
        assert "somebody" not in shown
    assert isinstance(address, Address)
