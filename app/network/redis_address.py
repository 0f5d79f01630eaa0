"""Reads the address of a Redis server, as Redis' own libraries and hosting companies write it.

A wrong address must never put its password into a log, so no message of this module has a part of its user or password.
It opens no connection. Several servers, as Sentinel and Cluster have them, are not supported.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote

DEFAULT_PORT = 6379
SCHEMES = {"redis": False, "rediss": True}  # whether the connection is encrypted
HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[\w.-]+))(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
ESCAPES = re.compile(r"%(?![0-9A-Fa-f]{2})")
FORM = "must be redis://user:password@host:6379/0, or rediss://… for TLS"
ONE_SERVER = "must name one server. Sentinel, Cluster and sockets are not supported"
ENCODE = (
    "cannot be read. Percent-encode the special characters in its user and password: "
    "@ as %40, / as %2F, # as %23, ? as %3F, % as %25, : as %3A, a space as %20"
)
CA_FILE = "ssl_ca_certs"


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where a Redis server is and how to log in to it. The fields that `repr` leaves out are secret.

    `ca_file` has the certificates of the authorities that are trusted. None means those of the system.
    """

    host: str
    port: int = DEFAULT_PORT
    database: int = 0
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    encrypted: bool = False
    ca_file: Path | None = None

    def __str__(self) -> str:
        """Returns the server and the number of the database, for logs."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}, database {self.database}"


def parse_redis_address(text: str) -> RedisAddress:
    """Reads a `redis://` or `rediss://` address. Raises ValueError with one line that has no part of its secrets."""
    scheme, separator, rest = text.strip().partition("://")
    if scheme.lower() not in SCHEMES:
        raise ValueError(ONE_SERVER if separator and re.search("sentinel|cluster|unix", scheme.lower()) else FORM)
    place, _, query = rest.partition("?")
    login_and_host, _, path = place.partition("/")
    login, _, host = login_and_host.rpartition("@")
    if "," in host:
        raise ValueError(ONE_SERVER)
    _require_encoding(rest, login, path, query)
    user, _, password = login.partition(":")
    found = HOST.fullmatch(host)
    if found is None or not 0 < int(found["port"] or DEFAULT_PORT) < 65536:
        raise ValueError(ENCODE if host else FORM)
    encrypted = SCHEMES[scheme.lower()]
    return RedisAddress(
        host=found["v6"] or found["name"],
        port=int(found["port"] or DEFAULT_PORT),
        database=_database(path),
        user=unquote(user) or None,
        password=unquote(password) or None,
        encrypted=encrypted,
        ca_file=_ca_file(query, encrypted=encrypted),
    )


def _require_encoding(rest: str, login: str, path: str, query: str) -> None:
    """Raises ValueError if a character of the address can only be part of a user or password that was not encoded."""
    strange = any(character.isspace() or not character.isprintable() for character in rest)
    if strange or "#" in rest or "@" in path + query + login or set("[]") & set(login) or ESCAPES.search(login):
        raise ValueError(ENCODE)


def _database(path: str) -> int:
    number = path.rstrip("/")
    if not re.fullmatch(r"[0-9]{0,5}", number, re.ASCII):
        raise ValueError("must end in the number of a database, such as /0")
    return int(number or 0)


def _ca_file(query: str, *, encrypted: bool) -> Path | None:
    given = dict(parse_qsl(query, keep_blank_values=True))
    file = given.pop(CA_FILE, "")
    if given:
        raise ValueError(f"has a parameter that is not known here. The only one is {CA_FILE}=file")
    if not file:
        return None
    if not encrypted:
        raise ValueError(f"has {CA_FILE}, which needs rediss://")
    if not os.access(file, os.R_OK) or Path(file).is_dir():
        raise ValueError(f"the file {file} of {CA_FILE} cannot be read")
    return Path(file)
