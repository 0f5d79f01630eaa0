"""Turns the text of a setting into its value. Each function raises ValueError with what to write instead.

A value that is no text is returned unchanged, because tests and programs give values directly.
"""

import os
import re
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationInfo
from pydantic_core import from_json

from app.analysis.judgement.prompts import load as load_prompts
from app.database.address import parse_address
from app.deliveries.outputs import S3_SCHEME, check_default, check_output, check_path, is_allowed
from app.deliveries.receivers import check_callback, check_url
from app.deliveries.signing import key_of
from app.errors import InvalidRequest
from app.intake.folder.names import is_watched_folder
from app.intake.requests import CreateTranscription, validated
from app.intake.stream.names import check_stream, rejected_stream
from app.network.redis_address import parse_redis_address
from app.speech.endpoints import Endpoint
from app.storage.file_url import FILE_SCHEME, path_of, template_url
from app.storage.s3_url import BUCKET, S3Url, parse_s3_place
from app.transcripts.entities import Entity

PRIORITIES = tuple("0123456789")
ROOT_PATH = re.compile(r"(?!/(v1|docs|page|metrics)(/|$))(/[A-Za-z0-9._~-]+)+")  # a route must not begin like it
ORIGIN_HOST = re.compile(r"[a-z0-9._:-]+")
Networks = tuple[IPv4Network | IPv6Network, ...]
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9]+:")
ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,254}")  # what a path and a form's field carry unchanged


def lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def split(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def address(value: Any) -> Any:
    return parse_address(value) if isinstance(value, str) else value


def redis_address(value: Any) -> Any:
    return parse_redis_address(value) if isinstance(value, str) else value


def request_stream(value: str) -> str:
    if check_stream(value) == rejected_stream(value):
        raise ValueError("must not end in :rejected, because the refused entries go to the stream of that name")
    return value


def results_stream(value: str | None, info: ValidationInfo) -> str | None:
    if value is None:
        return None
    if info.data.get("redis_url", value) is None:
        raise ValueError("needs CALLSCRIBE_REDIS_URL")
    requests = info.data.get("redis_stream", "")
    if check_stream(value) in (requests, rejected_stream(requests)):
        raise ValueError("must not be the stream of requests or of refused entries")
    return value


def expanded(value: Path) -> Path:
    try:
        return value.expanduser()
    except RuntimeError:
        raise ValueError("begins with ~, but the user has no home folder") from None


def store_place(value: Any) -> Any:
    if isinstance(value, str) and "://" in value:
        try:
            return parse_s3_place(value)
        except ValueError as error:
            raise ValueError(f"must be a folder or s3://bucket/prefix; it {error}") from None
    if isinstance(value, str) and SCHEME.match(value):
        raise ValueError("must be a folder or s3://bucket/prefix, with two slashes")
    return expanded(Path(value)) if isinstance(value, str) else value


def split_networks(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return tuple(ip_network(part) for part in split(value))
    except ValueError:
        raise ValueError("write networks such as 10.0.0.0/8, host bits zero, separated by commas") from None


def not_everybody(networks: Networks | None) -> Networks | None:
    """Raises ValueError for a network that every address is in."""
    if any(network.prefixlen == 0 for network in networks or ()):
        raise ValueError("would believe every client: write the networks of your proxies")
    return networks


def origins(given: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    """Raises ValueError for what is no origin as browsers send it, and for `*` if the service needs no keys."""
    if "*" in given and info.data.get("auth") == "off":
        raise ValueError("must name the origins, because with CALLSCRIBE_AUTH=off every web page could use the service")
    if not all(each == "*" or _is_origin(each) for each in given):
        raise ValueError(
            "write origins as browsers send them, such as https://crm.example or http://localhost:3000, in lower case, "
            "without a slash at the end and without the usual port"
        )
    return given


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        usual = {"https": 443, "http": 80}.get(parts.scheme)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return False
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    named = bool(ORIGIN_HOST.fullmatch(host)) and host.isascii()
    return named and usual is not None and parts.port != usual and text == f"{parts.scheme}://{shown}{port}"


def split_buckets(value: Any) -> Any:
    names = split(value)
    if not all(BUCKET.fullmatch(name) for name in names):
        raise ValueError("write names of buckets, separated by commas")
    return names


def split_output_places(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return tuple(parse_s3_place(f"s3://{part.removeprefix('s3://')}") for part in split(value))
    except ValueError as error:
        raise ValueError(f"write names of buckets, or bucket/prefix, separated by commas; one {error}") from None


def apart_from_store(places: tuple[S3Url, ...], info: ValidationInfo) -> tuple[S3Url, ...]:
    """Raises ValueError for a place that holds recordings, because an output could replace a recording."""
    store = info.data.get("store_url")
    for place in places:
        if isinstance(store, S3Url) and store.bucket == place.bucket and _overlap(store.key, place.key):
            raise ValueError(
                f"{place.bucket} holds the recordings of CALLSCRIBE_STORE_URL there: write {place.bucket}/prefix"
            )
    return places


def _overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/" if other else "") or f"{other}/".startswith(f"{one}/" if one else "")


def output_url(value: Any) -> Any:
    """Returns the URL of an output. A path becomes a `file:///…` URL."""
    if not isinstance(value, str):
        return value
    if value.startswith(S3_SCHEME):
        return check_default(check_output(value))
    if not value.startswith("/"):
        raise ValueError("must be s3://bucket/… or a path that begins with /")
    check_path(value.removeprefix("/"))
    url = check_default(template_url(Path(value)))
    require_writable(folder_of_output(url))
    return url


def apart_from_own_folders(url: str | None, info: ValidationInfo) -> str | None:
    """Raises ValueError for an output in a folder in which the service keeps its own files."""
    folder = folder_of_output(url)
    if folder is not None and any(folder.resolve().is_relative_to(ours) for ours in _own_folders(info)):
        raise ValueError("is in a folder of the service itself")
    return url


def folder_of_output(url: str | None) -> Path | None:
    """Returns the folder of an output's URL that all jobs share, or None if the output is in no folder."""
    if url is None or not url.startswith(FILE_SCHEME):
        return None
    return path_of(url.partition("{")[0].rpartition("/")[0] or "/")


def require_writable(folder: Path | None) -> None:
    """Raises ValueError if there is no such folder, or if this user may not write to it."""
    if folder is not None and not folder.is_dir():
        raise ValueError(f"the folder {folder} does not exist")
    if folder is not None and not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"the folder {folder} may not be written by this user")


def in_allowed_place(url: str | None, info: ValidationInfo) -> str | None:
    places = info.data.get("output_buckets")
    if url is None or places is None or url.startswith(FILE_SCHEME) or is_allowed(places, url):
        return url
    raise ValueError("names a place that CALLSCRIBE_OUTPUT_BUCKETS does not allow")


def folder(value: Any) -> Any:
    if isinstance(value, str) and not value.startswith(("/", "~")):
        raise ValueError("must be a path that begins with /")
    return expanded(Path(value)).resolve() if isinstance(value, str) else value


def watched_folder(folder: Path | None, info: ValidationInfo) -> Path | None:
    """Raises ValueError for a folder that cannot be watched, or that holds files of the service itself."""
    require_writable(folder)
    places = {name: info.data.get(name) for name in ("data_dir", "store_url")}
    places["output_url"] = folder_of_output(info.data.get("output_url"))
    if folder is not None and any(folder.resolve().is_relative_to(ours) for ours in _own_folders(info)):
        raise ValueError("is a folder of the service itself, so its own files would be taken")
    for name, ours in places.items():
        if folder is not None and isinstance(ours, Path) and _is_watched_in(ours.resolve(), folder):
            raise ValueError(f"the folder of CALLSCRIBE_{name.upper()} is in {folder}, so its files would be taken")
    return folder


def _own_folders(info: ValidationInfo) -> list[Path]:
    """Returns the folders that the service keeps its own files in."""
    data, store = info.data.get("data_dir"), info.data.get("store_url")
    folders = [data / name for name in ("audio", "postgres", "work", "models")] if isinstance(data, Path) else []
    return [folder.resolve() for folder in (*folders, *([store] if isinstance(store, Path) else []))]


def watch_output(folder: Path | None, info: ValidationInfo) -> Path | None:
    """Raises ValueError for a folder that cannot be written, or whose files would count as side files."""
    watched = info.data.get("watch")
    require_writable(folder)
    if folder is not None and watched is None:
        raise ValueError("has no effect without CALLSCRIBE_WATCH")
    if folder is not None and watched is not None and folder.is_relative_to(watched):
        raise ValueError(f"must not be in {watched}, because JSON files there are options of recordings")
    return folder


def _is_watched_in(folder: Path, watched: Path) -> bool:
    return folder.is_relative_to(watched) and all(map(is_watched_folder, folder.relative_to(watched).parts))


def watch_options(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        options = from_json(value, allow_inf_nan=False)
    except ValueError as error:
        raise ValueError(f"must be a JSON object: {error}") from None
    if not isinstance(options, dict):
        raise ValueError('must be a JSON object, such as {"language": "en"}')  # noqa: TRY004  pydantic shows it
    try:
        validated(CreateTranscription, options)
    except InvalidRequest as error:
        raise ValueError("; ".join(f"{each.field} {each.detail}" for each in error.errors) or error.detail) from None
    return options


def split_unique(value: Any) -> Any:
    return tuple(dict.fromkeys(split(value)))


def chat_url(value: str | None) -> str | None:
    if value is not None:
        require_endpoint_url(value, "http://gpu:8000/v1")
        if "?" in value or "#" in value:
            raise ValueError("must be a URL such as http://gpu:8000/v1, without a query")
    return value


def chat_model(value: str | None, info: ValidationInfo) -> str | None:
    if value is None and info.data.get("llm_url") is not None:
        raise ValueError("is needed if CALLSCRIBE_LLM_URL is set: name a model of that server")
    return value


def sendable_key(value: SecretStr | None) -> SecretStr | None:
    if value is not None and not is_sendable(value.get_secret_value()):
        raise ValueError("must be of visible ASCII characters without spaces")
    return value


def prompts(folder: Path | None) -> Path | None:
    load_prompts(folder)
    return folder


def entities(value: Any) -> Any:
    names = split(value) if isinstance(value, str) else value
    if names in (["true"], ("true",)):
        return tuple(Entity)
    return () if names in (["false"], ("false",)) else names


def split_secrets(value: Any) -> Any:
    secrets = split(value)
    for secret in secrets:
        key_of(secret)
    return secrets


def root_path(value: Any) -> Any:
    path = str(value).rstrip("/")
    if path and not ROOT_PATH.fullmatch(path):
        raise ValueError("must be a path such as /speech, and not begin with /v1, /docs, /page or /metrics")
    return path


def split_receivers(value: Any) -> Any:
    return tuple(check_url(url) for url in split(value))


def split_callbacks(value: Any) -> Any:
    return tuple(check_callback(url) for url in split_receivers(value))


def split_aliases(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    aliases: dict[str, str] = {}
    for pair in split(value):
        name, _, model = (part.strip() for part in pair.partition("="))
        if not (name and model):
            raise ValueError(f"write name=model pairs, separated by commas; {pair!r} is not one")
        if not ALIAS.fullmatch(name):
            raise ValueError(
                f"{name!r} must be of ASCII letters, digits and . _ : / @ + -, and begin with a letter or digit"
            )
        if name in aliases:
            raise ValueError(f"{name} appears twice; each name may appear only once")
        aliases[name] = model
    return aliases


def split_models(value: Any) -> Any:
    """Names of models, and endpoints of those that are written as `NAME=https://host/v1#MODEL`."""
    if not isinstance(value, str):
        return value
    return tuple(_endpoint(part) if "=" in part else part for part in split(value))


def _endpoint(text: str) -> Endpoint:
    """The error repeats nothing of a URL that may hold a password."""
    name, _, address = text.partition("=")
    url, _, model = address.partition("#")
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not ALIAS.fullmatch(name) or ":" in name:  # CALLSCRIBE_REMOTE_KEYS has name:key
        raise ValueError("the name before = may hold letters, digits and . _ / @ + -, and begins with one of the first")
    if not is_url or parts.query:
        raise ValueError(f"write {name}=https://host/v1#MODEL: http or https, the base of the API, and no query")
    if parts.username or parts.password:
        raise ValueError(f"the URL of {name} holds a password: write the key in CALLSCRIBE_REMOTE_KEYS")
    if not model:
        raise ValueError(f"write {name}=https://host/v1#MODEL, with the name that the model has on its server")
    return Endpoint(name, url.rstrip("/"), model)


def names_of(models: tuple[str | Endpoint, ...]) -> tuple[str, ...]:
    return tuple(model.name if isinstance(model, Endpoint) else model for model in models)


def each_model_once(models: tuple[str | Endpoint, ...]) -> tuple[str | Endpoint, ...]:
    names = names_of(models)
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{twice} is the name of two models")
    return models


def split_remote_keys(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    keys: dict[str, str] = {}
    for _, name, key in _numbered_keys(value, "NAME:key"):
        if name in keys:
            raise ValueError(f"{name} has two keys")
        keys[name] = key
    return keys


def of_remote_models(keys: dict[str, SecretStr], info: ValidationInfo) -> dict[str, SecretStr]:
    models = info.data.get("model")
    if models is None:  # the error about the models is reported instead
        return keys
    remote = [model.name for model in models if isinstance(model, Endpoint)]
    for name in keys:
        if name not in remote:
            raise ValueError(f"{name} is no model of another server in CALLSCRIBE_MODEL")
    return keys


def of_served_models(aliases: dict[str, str], info: ValidationInfo) -> dict[str, str]:
    models = info.data.get("model")
    if models is None:  # the error about the models is reported instead
        return aliases
    served = names_of(models)
    for name, model in aliases.items():
        if name in served:
            raise ValueError(f"{name} is the name of a model in CALLSCRIBE_MODEL already")
        if model not in served:
            raise ValueError(f"{name} means {model!r}, but CALLSCRIBE_MODEL has only {', '.join(served)}")
    return aliases


def split_keys(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    keys: dict[str, list[str]] = {}
    for number, name, key in _numbered_keys(value, "name:key"):
        if any(key in known for known in keys.values()):
            raise ValueError(f"key {number} appears twice; each key may appear only once")
        keys.setdefault(name, []).append(key)
    return keys


def _numbered_keys(value: str, form: str) -> Iterator[tuple[int, str, str]]:
    """The pairs of a list of keys, each with its number from 1. `form` is what the error tells to write."""
    for number, pair in enumerate(split(value), start=1):
        name, _, key = pair.partition(":")
        if not (name and key):
            raise ValueError(f"write {form} pairs, separated by commas")
        if not is_sendable(key):
            raise ValueError(f"key {number} must be of visible ASCII characters without spaces")
        yield number, name, key


def is_sendable(key: str) -> bool:
    """Returns whether clients can send the key in a header, where spaces and characters outside ASCII get lost."""
    return key.isascii() and key.isprintable() and " " not in key


def split_priorities(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    priorities: dict[str, int] = {}
    for pair in split(value):
        name, _, priority = pair.rpartition(":")
        if not name or priority not in PRIORITIES:
            raise ValueError("write name:priority pairs, priorities from 0 to 9, separated by commas")
        if name in priorities:
            raise ValueError("each name may appear only once")
        priorities[name] = int(priority)
    return priorities


def of_known_keys(priorities: dict[str, int], info: ValidationInfo) -> dict[str, int]:
    known = info.data.get("api_keys", priorities)
    for number, name in enumerate(priorities, start=1):
        if name not in known:  # it may be a key by mistake, so it is not shown
            raise ValueError(
                f"name {number} is not in CALLSCRIBE_API_KEYS. Write the name of a key, not the key itself"
            )
    return priorities


def require_endpoint(name: str, value: str) -> None:
    """Raises ValueError for an address of an S3 store that its library could not use. It would end the process."""
    try:
        require_endpoint_url(value, "https://s3.example.com:9000")
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def require_endpoint_url(value: str, example: str) -> None:
    """Raises ValueError for what is no `http://` or `https://` URL, and for a URL with a user."""
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or "@" in value or any(character.isspace() for character in value):
        raise ValueError(f"must be a URL such as {example}, without a user")
