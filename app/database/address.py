"""Reads the address of a PostgreSQL, as libpq and hosting companies write it.

It exists because the driver knows fewer parameters than libpq, and because a wrong address must never put its password
into a log. So no message of this module has a part of the address's user or password. It opens no connection.
"""

import getpass
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode

SCHEME = re.compile(r"postgres(ql)?(\+\w+)?://")
HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%]+)\]|(?P<name>[\w.-]*))(?::(?P<port>\d{1,5}))?")
FOLDER = re.compile(r"(?P<folder>/.*?)(?::(?P<port>\d{1,5}))?")
OPTION = re.compile(r"(?:-c\s*|--)(?P<name>[A-Za-z_][\w.-]*)=(?P<value>.*)", re.DOTALL)
ESCAPES = re.compile(r"%(?![0-9A-Fa-f]{2})")
WRITABLE = "target_session_attrs must be read-write, because the service writes"
FORM = "must be postgresql://user:password@host/database"
ENCODE = (
    "cannot be read. Percent-encode the special characters in its user and password: "
    "@ as %40, / as %2F, # as %23, ? as %3F, % as %25, : as %3A, [ as %5B, a space as %20"
)
SHORTEST_CONNECT_SECONDS = 2  # libpq's
DEFAULT_CONNECT_SECONDS = 10.0

OF_THE_DRIVER = frozenset(
    "passfile service sslmode sslcert sslkey sslrootcert sslcrl sslpassword sslnegotiation ssl_min_protocol_version "
    "ssl_max_protocol_version target_session_attrs krbsrvname gsslib".split()
)
FILES = ("sslcert", "sslkey", "sslrootcert", "sslcrl")
WITHOUT_EFFECT = frozenset(
    # The service tests its connections itself. From `pgbouncer` on they are of other drivers, the others of libpq.
    "keepalives keepalives_idle keepalives_interval keepalives_count tcp_user_timeout gssencmode gssdelegation "
    "channel_binding sslcompression sslsni client_encoding load_balance_hosts fallback_application_name "
    "pgbouncer connection_limit pool_timeout socket_timeout statement_cache_size supa uselibpqcompat".split()
)
KNOWN = OF_THE_DRIVER | WITHOUT_EFFECT | set("user password host port dbname application_name options".split())
INSTEAD = {"hostaddr": "Write the address as the host", "sslaccept": "Write sslmode=require or sslmode=verify-full"}
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
ATTRIBUTES = ("any", "read-write", "primary")
OTHER_NAMES = {"dbname": "database", "currentSchema": "schema"}
SSL = {"true": "require", "1": "require", "false": "disable", "0": "disable"}  # of Node and JDBC


@dataclass(frozen=True, slots=True)
class Host:
    """A server's name or address, or the folder of its socket. None means what the environment or the driver says."""

    name: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        name = self.name or "the default host"
        in_brackets = ":" in name and not name.startswith("/")
        return f"{f'[{name}]' if in_brackets else name}{f':{self.port}' if self.port else ''}"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database is and how to log in to it. Only `text` and the fields that `repr` leaves out are secret."""

    text: str = field(repr=False)
    hosts: tuple[Host, ...]
    user: str | None = field(repr=False)
    password: str | None = field(repr=False)
    database: str | None
    parameters: Mapping[str, str] = field(repr=False)
    """Of the driver, with libpq's names and meaning."""
    options: str
    """Of `options`, what is no setting. Sent during the login, because the provider's proxy may read it."""
    settings: Mapping[str, str]
    """Settings of each session."""
    application: str | None
    connect_seconds: float
    ignored: tuple[str, ...]
    """Parameters of the address that have no effect here."""

    def __str__(self) -> str:
        """Returns the hosts and the database's name, for logs."""
        return f"{', '.join(map(str, self.hosts))}, database {self.database or 'of the user'}"

    def dsn(self) -> str:
        """Returns the parameters for the driver to parse, without hosts, user, password and database."""
        return f"postgresql://?{urlencode(self.parameters)}" if self.parameters else "postgresql://"


def parse_address(text: str | Address) -> Address:
    """Reads a `postgresql://` address. Raises ValueError with one line that has no part of the address's secrets."""
    if isinstance(text, Address):
        return text
    text = text.strip()
    scheme = SCHEME.match(text)
    if scheme is None:
        raise ValueError(FORM)
    place, _, query = text[scheme.end() :].partition("?")
    login_and_hosts, _, path = place.partition("/")
    login, _, hosts = login_and_hosts.rpartition("@")
    _require_encoding(place, login, path, query)
    user, _, password = login.partition(":")
    given = _parameters(query)
    return _address(
        text,
        given,
        hosts=_hosts(given.pop("host", hosts), given.pop("port", "")),
        user=given.pop("user", None) or unquote(user) or None,
        password=given.pop("password", None) or unquote(password) or None,
        database=given.pop("database", None) or unquote(path) or None,
    )


def _require_encoding(place: str, login: str, path: str, query: str) -> None:
    """Raises ValueError if a character of the address can only be part of a user or password that was not encoded."""
    strange = any(character.isspace() or not character.isprintable() for character in place + query)
    misplaced = "#" in place + query or "@" in path or "@" in login or set("[]") & set(login)
    if strange or misplaced or ESCAPES.search(login):
        raise ValueError(ENCODE)


def _parameters(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query.strip("&"), keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        raise ValueError(ENCODE) from None
    if "@" in query and not KNOWN.issuperset(name for name, _ in pairs):  # a password had a question mark
        raise ValueError(ENCODE)
    return {OTHER_NAMES.get(name, name): value for name, value in pairs if value}


def _hosts(hosts: str, ports: str) -> tuple[Host, ...]:
    names, numbers = hosts.split(","), ports.split(",")
    if len(numbers) == 1:
        numbers *= len(names)
    if len(numbers) != len(names):
        raise ValueError("must have one port, or as many ports as hosts")
    return tuple(_host(unquote(name), number) for name, number in zip(names, numbers, strict=True))


def _host(text: str, number: str) -> Host:
    match = FOLDER.fullmatch(text) or HOST.fullmatch(text)
    if match is None:
        raise ValueError(ENCODE)
    found = match.groupdict()
    port = number or found["port"] or ""
    if port and not (port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(ENCODE)
    return Host(found.get("folder") or found.get("v6") or found.get("name") or None, int(port) if port else None)


def _address(
    text: str,
    given: dict[str, str],
    hosts: tuple[Host, ...],
    *,
    user: str | None,
    password: str | None,
    database: str | None,
) -> Address:
    connect_seconds = _seconds(given.pop("connect_timeout", ""))
    application = given.pop("application_name", None)
    settings, options = _options(given.pop("options", ""))
    if "schema" in given:
        settings["search_path"] = given.pop("schema")
    if user is None:
        _require_a_user(given)
    if given.get("gssencmode") == "require":
        raise ValueError("gssencmode=require is not possible here. Write sslmode=verify-full instead")
    ignored = tuple(sorted(WITHOUT_EFFECT & given.keys()))
    parameters = {name: value for name, value in given.items() if name not in WITHOUT_EFFECT}
    return Address(
        text=text,
        hosts=hosts,
        user=user,
        password=password,
        database=database,
        parameters=_of_the_driver(parameters),
        options=options,
        settings=settings,
        application=application,
        connect_seconds=connect_seconds,
        ignored=ignored,
    )


def _options(text: str) -> tuple[dict[str, str], str]:
    """Returns the settings in libpq's `options`, such as `-c search_path=calls`, and the other words."""
    settings, others = {}, []
    try:
        words = shlex.split(re.sub(r"(^|\s)-c\s+", r"\1-c", text))
    except ValueError:
        raise ValueError("options must be like -c name=value, percent-encoded") from None
    for word in words:
        match = OPTION.fullmatch(word)
        if match is None:
            others.append(word)
        else:
            settings[match["name"].replace("-", "_")] = match["value"]
    return settings, " ".join(others)


def _require_a_user(given: Mapping[str, str]) -> None:
    """Raises ValueError if nothing names a user to log in as: not the environment, a service or the system."""
    if os.environ.get("PGUSER") or "service" in given or os.environ.get("PGSERVICE"):
        return
    try:
        getpass.getuser()
    except (KeyError, OSError):
        raise ValueError("names no user. Write postgresql://user:password@host/database") from None


def _seconds(value: str) -> float:
    if not value:
        return DEFAULT_CONNECT_SECONDS
    try:
        seconds = int(value)
    except ValueError:
        raise ValueError("connect_timeout must be a whole number of seconds") from None
    return float(max(seconds, SHORTEST_CONNECT_SECONDS)) if seconds > 0 else DEFAULT_CONNECT_SECONDS


def _of_the_driver(given: dict[str, str]) -> dict[str, str]:
    """Returns the parameters that the driver knows, in its words. Raises ValueError for one that it does not know."""
    if "ssl" in given:
        value = given.pop("ssl")
        given.setdefault("sslmode", SSL.get(value, value))
    if given.get("sslmode") == "no-verify":  # of Node
        given["sslmode"] = "require"
    if unknown := sorted(given.keys() - OF_THE_DRIVER):
        name = unknown[0]
        raise ValueError(f"has the parameter {name}, which is not known here. {INSTEAD.get(name, 'Remove it')}")
    if given.get("sslmode", "prefer") not in SSL_MODES:
        raise ValueError(f"sslmode must be one of {', '.join(SSL_MODES)}")
    if given.get("sslrootcert") == "system" and given.setdefault("sslmode", "verify-full") != "verify-full":
        raise ValueError("sslrootcert=system needs sslmode=verify-full")
    for name in FILES:
        _require_file(name, given.get(name))
    if given.pop("target_session_attrs", "any") not in ATTRIBUTES:
        raise ValueError(WRITABLE)
    if service := os.environ.get("PGSERVICE"):  # the driver reads it too late
        given.setdefault("service", service)
    return given


def _require_file(name: str, path: str | None) -> None:
    if path is None or (name, path) == ("sslrootcert", "system"):
        return
    if not os.access(path, os.R_OK) or Path(path).is_dir():
        raise ValueError(f"the file {path} of {name} cannot be read")
