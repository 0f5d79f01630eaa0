"""Every setting: its type, default, unit and meaning. Read from the environment with the prefix CALLSCRIBE_."""

import difflib
import os
import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, SecretStr, ValidationError, ValidationInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app import wording
from app.deliveries.receivers import MAX_RECEIVERS, check_callback, check_url
from app.deliveries.signing import key_of
from app.speech.families import default_model
from app.storage.s3_url import BUCKET, S3Url, parse_s3_url

PREFIX = "CALLSCRIBE_"
PRIORITIES = tuple("0123456789")
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9]+:")
# The types of CTranslate2 that the engine can use. Whether this machine has one shows when a model is loaded.
ComputeType = Literal["auto", "float16", "float32", "int16", "int8", "int8_float16", "int8_float32"]


class SettingsError(Exception):
    """A setting that cannot be used. The message is one line of text that names it."""


def _split(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _place(value: Any) -> Any:
    if isinstance(value, str) and "://" in value:
        try:
            return parse_s3_url(value)
        except ValueError as error:
            raise ValueError(f"must be a folder or s3://bucket/prefix; it {error}") from None
    if isinstance(value, str) and SCHEME.match(value):
        raise ValueError("must be a folder or s3://bucket/prefix, with two slashes")
    return value


def _split_networks(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return tuple(ip_network(part) for part in _split(value))
    except ValueError:
        raise ValueError("write networks such as 10.0.0.0/8, host bits zero, separated by commas") from None


def _buckets(value: Any) -> Any:
    names = _split(value)
    if not all(BUCKET.fullmatch(name) for name in names):
        raise ValueError("write names of buckets, separated by commas")
    return names


def _split_secrets(value: Any) -> Any:
    secrets = _split(value)
    for secret in secrets:
        key_of(secret)
    return secrets


def _split_receivers(value: Any) -> Any:
    return tuple(check_url(url) for url in _split(value))


def _split_callbacks(value: Any) -> Any:
    return tuple(check_callback(url) for url in _split_receivers(value))


def _split_keys(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    keys: dict[str, str] = {}
    for number, pair in enumerate(_split(value), start=1):
        name, separator, key = pair.partition(":")
        if not (name and separator and key):
            raise ValueError("write name:key pairs, separated by commas")
        if not _is_sendable(key):
            raise ValueError(f"key {number} must be of visible ASCII characters without spaces")
        if name in keys or key in keys.values():
            raise ValueError("each name and each key may appear only once")
        keys[name] = key
    return keys


def _is_sendable(key: str) -> bool:
    """Whether clients can send the key in a header, which loses spaces and characters outside ASCII."""
    return key.isascii() and key.isprintable() and " " not in key


def _split_priorities(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    priorities: dict[str, int] = {}
    for pair in _split(value):
        name, _, priority = pair.rpartition(":")
        if not name or priority not in PRIORITIES:
            raise ValueError("write name:priority pairs, priorities from 0 to 9, separated by commas")
        if name in priorities:
            raise ValueError("each name may appear only once")
        priorities[name] = int(priority)
    return priorities


def _of_known_keys(priorities: dict[str, int], info: ValidationInfo) -> dict[str, int]:
    unknown = sorted(set(priorities) - set(info.data.get("api_keys", priorities)))
    if unknown:
        raise ValueError(f"names {', '.join(unknown)}, which CALLSCRIBE_API_KEYS does not have")
    return priorities


class Settings(BaseSettings):
    """The service's settings. A wrong setting keeps the service from starting."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    database_url: str | None = Field(
        default=None,
        description="`postgresql://…`. Unset: an embedded PostgreSQL under `DATA_DIR`.",
        pattern=wording.DATABASE_URL,
    )
    data_dir: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("callscribe"),
        description="Folder of the embedded database, local audio and models.",
    )
    store_url: Annotated[Path | S3Url | None, BeforeValidator(_place)] = Field(
        default=None,
        description="Folder or `s3://bucket/prefix` where audio is kept. Unset: `DATA_DIR/audio`.",
    )
    source_buckets: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_buckets)] = Field(
        default=(), description="Buckets that `s3://` URLs of clients may name, comma separated. Unset: none."
    )
    model: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = Field(
        default_factory=lambda: (default_model(),),
        description="Whisper models to serve: size or hub name, either with `@commit`, or folder, comma separated; the "
        "first is the default.",
        min_length=1,
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where models run. `auto`: on a GPU if there is one, otherwise on the processor."
    )
    device_index: Annotated[tuple[int, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=(), description="GPUs to use, comma separated. Unset: all."
    )
    compute_type: ComputeType = Field(
        default="auto", description="CTranslate2 compute type; `auto` is `int8` on CPU and `float16` on GPU."
    )
    batch_size: int | None = Field(
        default=None, ge=1, le=256, description="Windows of speech that are transcribed together. Unset: by device."
    )
    api_keys: Annotated[dict[str, SecretStr], NoDecode, BeforeValidator(_split_keys)] = Field(
        default_factory=dict, description="`name:key` pairs, comma separated. Without any, only this machine is served."
    )
    priority_ceilings: Annotated[
        dict[str, int], NoDecode, BeforeValidator(_split_priorities), AfterValidator(_of_known_keys)
    ] = Field(
        default_factory=dict,
        description="`name:priority` pairs, comma separated: the most urgent priority that an API key may ask for. "
        "Keys that are not named: 0.",
    )
    auth: Literal["on", "off"] = Field(
        default="on",
        description="`off` serves every address without keys. Use it only in networks that are closed to strangers.",
    )
    allowed_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_split_networks)] = (
        Field(
            default=(), description="Networks that URLs may reach although they are not public: CIDRs, comma separated."
        )
    )
    webhook_secret: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split_secrets)] = Field(
        default=(),
        description="`whsec_…`, the secret that signs webhooks; `new,old` signs with both. Unset: made once and "
        "kept in the database.",
    )
    webhook_urls: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_receivers)] = Field(
        default=(), max_length=MAX_RECEIVERS, description="Webhooks of jobs that name none, comma separated."
    )
    callback_urls: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_callbacks)] = Field(
        default=(), max_length=MAX_RECEIVERS, description="Callbacks of jobs that name none, comma separated."
    )
    max_upload_bytes: ByteSize = Field(
        default=ByteSize(2 * 1024**3),
        gt=0,
        description="Largest recording, such as `2GiB`. A larger one is `too_large`.",
    )
    max_audio_seconds: float = Field(
        default=14_400, gt=0, description="Longest recording in seconds. A longer one is `too_long`."
    )
    max_pending: int = Field(default=10_000, ge=1, description="Jobs that may wait. One more is refused: `queue_full`.")
    max_connections_per_client: int = Field(
        default=512, ge=0, description="Connections that one address may hold. 0: any number, for use behind a proxy."
    )
    min_free_bytes: ByteSize = Field(
        default=ByteSize(1024**3),
        ge=0,
        description="Disk space to leave free. With less, recordings are refused: `insufficient_storage`.",
    )
    keep_audio_days: int = Field(
        default=0,
        ge=0,
        description="Days that a recording is kept after its job has ended. 0: it is erased when the job ends.",
    )
    keep_transcript_days: int | None = Field(
        default=None, ge=1, description="Days after which an ended transcription is erased. Unset: never."
    )
    log_format: Literal["text", "json"] | None = Field(
        default=None, description="Unset: `text` on a terminal, otherwise `json`."
    )

    @property
    def audio_place(self) -> Path | S3Url:
        return self.store_url or self.data_dir / "audio"

    @property
    def disks(self) -> tuple[Path, ...]:
        """Folders on the disks that recordings, and the embedded database, are written to."""
        place, embedded = self.audio_place, self.data_dir / "postgres"
        folders = [self.data_dir]
        folders += [place] if isinstance(place, Path) else []
        folders += [embedded] if self.database_url is None and embedded.exists() else []
        return tuple(folders)

    @property
    def models_dir(self) -> Path:
        return self.data_dir / "models"


def load_settings() -> Settings:
    """Read the environment. Raises SettingsError for the first wrong setting."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + str(first["loc"][0]).upper() if first["loc"] else PREFIX
        raise SettingsError(f"{name}: {wording.in_words(first)}") from None


def unknown_settings() -> list[str]:
    """A warning for each CALLSCRIBE_ variable that is not a setting, with the most similar setting."""
    known = [PREFIX + field.upper() for field in Settings.model_fields]
    lines = []
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            lines.append(f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else ""))
    return lines
