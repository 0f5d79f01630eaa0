"""Defines every setting, with its type, default, unit and meaning, and reads them from CALLSCRIBE_ variables."""

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import platformdirs
from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app import setting_values as values
from app import wording
from app.database.address import Address
from app.deliveries.receivers import MAX_RECEIVERS
from app.network.redis_address import RedisAddress
from app.speech.endpoints import Endpoint
from app.speech.families import default_model
from app.speech.model import DEFAULT_BEAM_SIZE
from app.storage.s3_url import S3Url
from app.transcripts.entities import Entity
from app.transcripts.formats import Format

PREFIX = "CALLSCRIBE_"
OPTIONS = {"HOST": "--host", "PORT": "--port"}
OTHER_NAMES = {  # what people write who know other programs
    "DB_URL": "DATABASE_URL",
    "DSN": "DATABASE_URL",
    "DEBUG": "LOG_LEVEL",
    "GPU": "DEVICE",
    "GPUS": "DEVICE_INDEX",
    "S3_URL": "STORE_URL",
    "BUCKET": "STORE_URL",
    "TOKEN": "API_KEYS",
    "REDIS": "REDIS_URL",
    "RETENTION_DAYS": "KEEP_AUDIO_DAYS",
}
ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT")
OF_KUBERNETES = re.compile(r"SERVICE_(HOST|PORT\w*)|PORT_\d+_(TCP|UDP)\w*")
Networks = values.Networks
LogLevel = Literal["debug", "info", "warning", "error"]
# The types of CTranslate2 that the engine can use. Only loading a model shows whether this machine supports a type.
ComputeType = Literal["auto", "float16", "float32", "int16", "int8", "int8_float16", "int8_float32"]


class SettingsError(Exception):
    """Says that a setting cannot be used. The message is one line of text, which names the setting."""


class Settings(BaseSettings):
    """The service's settings. A wrong setting keeps the service from starting."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    database_url: Annotated[Address | None, BeforeValidator(values.address)] = Field(
        default=None,
        description="Address of a database, `postgresql://…`. If unset, an embedded one runs under `DATA_DIR`.",
    )
    data_dir: Annotated[Path, AfterValidator(values.expanded)] = Field(
        default_factory=lambda: platformdirs.user_data_path("callscribe"),
        description="Folder of the embedded database, local audio and models.",
    )
    store_url: Annotated[Path | S3Url | None, BeforeValidator(values.store_place)] = Field(
        default=None,
        description="Folder or `s3://bucket/prefix` where audio is kept. If unset, it is `DATA_DIR/audio`.",
    )
    source_buckets: Annotated[tuple[str, ...], NoDecode, BeforeValidator(values.split_buckets)] = Field(
        default=(), description="Buckets that clients may name in `s3://` URLs, comma separated. If unset, none."
    )
    model: Annotated[
        tuple[str | Endpoint, ...],
        NoDecode,
        BeforeValidator(values.split_models),
        AfterValidator(values.each_model_once),
    ] = Field(
        default_factory=lambda: (default_model(),),
        description="Models to serve, comma separated. The first is the default. A Whisper model is a size or a hub "
        "name, both of which may end in `@commit`, or a folder. `moonshine-base-en` is of another family. "
        "`NAME=https://host/v1#MODEL` is a model of another server (docs/models.md).",
        min_length=1,
    )
    remote_keys: Annotated[
        dict[str, SecretStr],
        NoDecode,
        BeforeValidator(values.split_remote_keys),
        AfterValidator(values.of_remote_models),
    ] = Field(
        default_factory=dict,
        description="`NAME:key` pairs, comma separated: the API keys of the models of other servers.",
    )
    remote_concurrency: int = Field(
        default=8, ge=1, le=256, description="How many requests each remote model gets at the same time."
    )
    remote_timeout_seconds: float = Field(
        default=60, gt=0, le=3600, description="How many seconds a remote model may take for one request."
    )
    model_aliases: Annotated[
        dict[str, str], NoDecode, BeforeValidator(values.split_aliases), AfterValidator(values.of_served_models)
    ] = Field(
        default_factory=dict,
        description="Other names for models of `MODEL`, as `name=model` pairs, comma separated, such as "
        "`whisper-large-v3=base`. Clients may use them wherever they name a model.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where models run. `auto` uses a GPU if one works, otherwise the processor."
    )
    device_index: Annotated[tuple[int, ...], NoDecode, BeforeValidator(values.split)] = Field(
        default=(), description="GPUs to use, comma separated. If unset, all are used."
    )
    compute_type: ComputeType = Field(
        default="auto",
        description="Compute type of CTranslate2. `auto` is `int8` on the processor and `float16` on a GPU.",
    )
    batch_size: int | None = Field(
        default=None,
        ge=1,
        le=64,  # CTranslate2's counts of 32 bits wrap above it on a GPU (speech/whisper/gpu_table.py)
        description="How many windows the model recognizes together. If unset, the device and the model decide.",
    )
    beam_size: int = Field(
        default=DEFAULT_BEAM_SIZE,
        ge=1,
        le=10,
        description="How many texts Whisper follows side by side until it chooses one. Fewer are faster, and make more "
        "errors: 3 instead of 5 saves about a seventh of the processor time, and about one word in 120 more is wrong.",
    )
    api_keys: Annotated[dict[str, tuple[SecretStr, ...]], NoDecode, BeforeValidator(values.split_keys)] = Field(
        default_factory=dict,
        description="`name:key` pairs, comma separated. Several keys of one name belong to the same caller, so that "
        "keys can be replaced. Without keys, only this machine is served.",
    )
    priority_ceilings: Annotated[
        dict[str, int], NoDecode, BeforeValidator(values.split_priorities), AfterValidator(values.of_known_keys)
    ] = Field(
        default_factory=dict,
        description="`name:priority` pairs, comma separated. The API key of this name may ask for this priority or a "
        "less urgent one. Keys that are not listed may ask for any.",
    )
    auth: Literal["on", "off"] = Field(
        default="on",
        description="`off` serves every address without keys. Use it only in networks that strangers cannot reach.",
    )
    allowed_networks: Annotated[Networks, NoDecode, BeforeValidator(values.split_networks)] = Field(
        default=(), description="Private networks that URLs may lead to, as CIDRs, comma separated."
    )
    webhook_secret: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(values.split_secrets)] = Field(
        default=(),
        description="Secret that signs webhooks, `whsec_…`. `new,old` signs with both. If unset, the service makes one "
        "and keeps it in the database.",
    )
    webhook_urls: Annotated[tuple[str, ...], NoDecode, BeforeValidator(values.split_receivers)] = Field(
        default=(), max_length=MAX_RECEIVERS, description="Webhooks of jobs that name no webhook, comma separated."
    )
    callback_urls: Annotated[tuple[str, ...], NoDecode, BeforeValidator(values.split_callbacks)] = Field(
        default=(), max_length=MAX_RECEIVERS, description="Callbacks of jobs that name no callback, comma separated."
    )
    redis_url: Annotated[RedisAddress | None, BeforeValidator(values.redis_address)] = Field(
        default=None,
        description="Address of a Redis server, `redis://…` or `rediss://…`. If set, requests are also taken from a "
        "stream there.",
    )
    redis_stream: Annotated[str, AfterValidator(values.request_stream)] = Field(
        default="callscribe:requests",
        description="The stream that requests are taken from. Those that are refused are written to a stream whose "
        "name ends in `:rejected` instead, `callscribe:rejected` by default.",
    )
    redis_results: Annotated[str | None, AfterValidator(values.results_stream)] = Field(
        default=None, description="The stream that gets the events of all jobs. If unset, none does."
    )
    redis_results_maxlen: int = Field(
        default=100_000, ge=1, description="How many events that stream keeps, about. The oldest ones are removed."
    )
    output_buckets: Annotated[
        tuple[S3Url, ...],
        NoDecode,
        BeforeValidator(values.split_output_places),
        AfterValidator(values.apart_from_store),
    ] = Field(
        default=(),
        description="Buckets that `output` may name, comma separated. `bucket/prefix` allows only keys that begin so. "
        "If unset, none.",
    )
    output_url: Annotated[
        str | None,
        BeforeValidator(values.output_url),
        AfterValidator(values.in_allowed_place),
        AfterValidator(values.apart_from_own_folders),
    ] = Field(
        default=None,
        description="Where the transcripts of jobs without `output` are written: `s3://bucket/{date}/{file_stem}`, "
        "or a path such as `/results/{file_stem}`. If unset, nowhere.",
    )
    output_formats: Annotated[tuple[Format, ...], NoDecode, BeforeValidator(values.split_unique)] = Field(
        default=(Format.JSON,),
        min_length=1,
        description="Formats of outputs that name none, comma separated: `json`, `text`, `srt`, `vtt`, `tsv`, "
        "`whisper`.",
    )
    watch: Annotated[Path | None, BeforeValidator(values.folder), AfterValidator(values.watched_folder)] = Field(
        default=None,
        description="Folder that is watched, such as one that is filled over SFTP. Each recording that comes into it "
        "becomes a transcription. If unset, no folder is watched.",
    )
    watch_settle_seconds: float = Field(
        default=5,
        gt=0,
        le=3600,
        description="How many seconds a file in the watched folder must stay unchanged until it counts as complete.",
    )
    watch_options: Annotated[dict[str, Any], NoDecode, BeforeValidator(values.watch_options)] = Field(
        default_factory=dict,
        description="Options of all recordings in the watched folder, as a JSON object with the fields of a request, "
        'such as `{"language": "en"}`.',
    )
    watch_after: Literal["delete", "keep"] = Field(
        default="delete",
        description="What happens to a recording of the watched folder when its transcription is completed. `keep` "
        "moves it to `.done` in that folder.",
    )
    watch_output: Annotated[Path | None, BeforeValidator(values.folder), AfterValidator(values.watch_output)] = Field(
        default=None,
        description="Folder to which the transcripts of the watched folder are written. If unset, none are written.",
    )
    watch_formats: Annotated[tuple[Format, ...], NoDecode, BeforeValidator(values.split_unique)] = Field(
        default=(Format.WHISPER,),
        min_length=1,
        description="Formats of the files in `WATCH_OUTPUT`, comma separated: `json`, `text`, `srt`, `vtt`, `tsv`, "
        "`whisper`.",
    )
    llm_url: Annotated[str | None, AfterValidator(values.chat_url)] = Field(
        default=None,
        description="Base of an OpenAI-compatible API, such as `http://gpu:8000/v1`. If set, its language model judges "
        "the calls after they are transcribed, so their text is sent there.",
    )
    llm_model: Annotated[str | None, AfterValidator(values.chat_model)] = Field(
        default=None, description="The name of the language model at `LLM_URL`."
    )
    llm_api_key: Annotated[SecretStr | None, AfterValidator(values.sendable_key)] = Field(
        default=None, description="The key for `LLM_URL`, if it needs one."
    )
    llm_language: str | None = Field(
        default=None,
        pattern="^[a-z]{2,3}$",
        description="Language in which the model writes, such as `en`. If unset, it is that of the call.",
    )
    llm_intents: Annotated[tuple[str, ...], NoDecode, BeforeValidator(values.split_unique)] = Field(
        default=(),
        description="The intents of which the model chooses one for each call, comma separated. If unset, it is free.",
    )
    llm_tenants: Annotated[tuple[str, ...], NoDecode, BeforeValidator(values.split_unique)] = Field(
        default=(),
        description="Tenants whose calls the model judges, comma separated. If unset, those of all tenants.",
    )
    llm_tokens_per_day: int | None = Field(
        default=None,
        ge=1,
        description="How many tokens the model may read and write in a day in UTC. Then calls wait for the next day. "
        "If unset, any number.",
    )
    llm_context_tokens: int = Field(
        default=8192,
        ge=4096,
        le=2_000_000,
        description="How many tokens the model can read and write in one request. Longer calls are judged in parts.",
    )
    llm_timeout_seconds: float = Field(
        default=120, gt=0, le=3600, description="How many seconds the model may take for one answer."
    )
    llm_concurrency: int = Field(
        default=4, ge=1, le=256, description="How many calls each process has judged at the same time."
    )
    llm_prompts: Annotated[Path | None, BeforeValidator(values.folder), AfterValidator(values.prompts)] = Field(
        default=None,
        description="Folder with prompts that replace those of the service. If unset, none are replaced.",
    )
    max_upload_bytes: ByteSize = Field(
        default=ByteSize(2 * 1024**3),
        gt=0,
        description="Largest recording that is accepted, such as `2GiB`. A larger one is refused as `too_large`.",
    )
    max_audio_seconds: float = Field(
        default=14_400,
        gt=0,
        description="Longest recording in seconds that is accepted. A longer one is refused as `too_long`.",
    )
    max_pending: int = Field(
        default=10_000, ge=1, description="How many jobs may wait. A further one is refused as `queue_full`."
    )
    max_connections_per_client: int = Field(
        default=512,
        ge=0,
        description="How many connections one address may hold. 0 means any number, for use behind a proxy.",
    )
    root_path: Annotated[str, BeforeValidator(values.root_path)] = Field(
        default="",
        description="Path under which a proxy publishes the service, such as `/speech`. Links in answers and webhooks "
        "begin with it. The service takes requests with it and without it.",
    )
    trusted_proxies: Annotated[
        Networks | None, NoDecode, BeforeValidator(values.split_networks), AfterValidator(values.not_everybody)
    ] = Field(
        default=None,
        description="Networks of proxies whose `X-Forwarded-For`, `-Proto` and `-Host` are believed, as CIDRs, comma "
        "separated. If unset, those of this machine are.",
    )
    cors_origins: Annotated[
        tuple[str, ...], NoDecode, BeforeValidator(values.split), AfterValidator(values.origins)
    ] = Field(
        default=(),
        description="Origins whose pages may use the API from a browser, comma separated, such as "
        "`https://crm.example`. `*` means all. If unset, none.",
    )
    min_free_bytes: ByteSize = Field(
        default=ByteSize(1024**3),
        ge=0,
        description="Disk space that stays free. With less, recordings are refused as `insufficient_storage`.",
    )
    keep_audio_days: int = Field(
        default=0,
        ge=0,
        description="Days that a recording is kept after its job has ended. 0 erases it when the job ends.",
    )
    keep_failed_audio_days: int = Field(
        default=3,
        ge=0,
        description="Days that the recording of a failed or cancelled job is kept, so that you can look at it or retry "
        "the job. If `KEEP_AUDIO_DAYS` is more, that holds.",
    )
    keep_transcript_days: int | None = Field(
        default=None,
        ge=1,
        description="Days after which an ended transcription is erased. If unset, it is kept forever.",
    )
    keep_audit_days: int = Field(
        default=365,
        ge=1,
        description="Days that entries of the audit are kept. They say who read, changed or erased which call.",
    )
    redact: Annotated[tuple[Entity, ...], NoDecode, BeforeValidator(values.entities)] = Field(
        default=(),
        description="What is taken out of all transcripts and recordings: `true` for all of it, or names such as "
        "`PHONE,EMAIL`, comma separated. Clients may take out more, and not less.",
    )
    openai_keep_abandoned: bool = Field(
        default=False,
        description="`true`: a job of a request to `/v1/audio/…` or `/v1/transcribe` goes on after its client has "
        "closed the connection. `false`: the service cancels it, unless the client repeats the request within 20 "
        "seconds.",
    )
    max_live: int | None = Field(
        default=None,
        ge=0,
        le=100_000,
        description="The most live calls that one process takes at the same time; 0 for none. If unset, what its "
        "processor or GPU can follow.",
    )
    log_format: Literal["text", "json"] | None = Field(
        default=None,
        description="`text` for people, `json` for programs. If unset, `text` on a terminal, otherwise `json`.",
    )
    log_level: Annotated[LogLevel, BeforeValidator(values.lower)] = Field(
        default="info",
        description="The least important log lines that are written: `debug`, `info`, `warning` or `error`.",
    )
    metrics_port: int | None = Field(
        default=None,
        ge=1,
        le=65_535,
        description="Port on which this process answers Prometheus at `/metrics`, without a key. Each process of a "
        "machine needs its own. If unset, none.",
    )
    metrics_host: str = Field(
        default="127.0.0.1",
        description="Address of `METRICS_PORT`. `0.0.0.0` and `::` mean all addresses. Everybody who reaches it can "
        "read the numbers.",
    )
    shutdown_grace_seconds: float = Field(
        default=10,
        ge=0,
        le=86_400,
        description="How many seconds running jobs may still take when the process is stopped. Then they return to the "
        "queue.",
    )

    @property
    def models(self) -> tuple[str, ...]:
        """Returns the names of the served models. The first is the default."""
        return values.names_of(self.model)

    def with_model(self, name: str) -> Self:
        """Returns these settings with one model, which is one of theirs or written like one. Raises ValueError."""
        own = tuple(model for model in self.model if values.names_of((model,)) == (name,))
        return self.model_copy(update={"model": own or values.split_models(name)})

    @property
    def remote_models(self) -> tuple[Endpoint, ...]:
        """Returns the models that other servers run."""
        keys = {name: key.get_secret_value() for name, key in self.remote_keys.items()}
        return tuple(
            replace(
                model,
                key=keys.get(model.name),
                concurrency=self.remote_concurrency,
                timeout_seconds=self.remote_timeout_seconds,
            )
            for model in self.model
            if isinstance(model, Endpoint)
        )

    @property
    def audio_place(self) -> Path | S3Url:
        return self.store_url or self.data_dir / "audio"

    @property
    def output_folders(self) -> tuple[Path, ...]:
        """Returns the folders below which transcripts are written."""
        folders = values.folder_of_output(self.output_url), self.watch_output
        return tuple(folder for folder in folders if folder is not None)

    @property
    def disks(self) -> tuple[Path, ...]:
        """Returns folders on all disks that the service writes recordings and the embedded database to."""
        place, embedded = self.audio_place, self.data_dir / "postgres"
        folders = [self.data_dir]
        folders += [place] if isinstance(place, Path) else []
        folders += [embedded] if self.database_url is None and embedded.exists() else []
        return tuple(folders)

    @property
    def models_dir(self) -> Path:
        return self.data_dir / "models"


def load_settings() -> Settings:
    """Reads the settings from the environment. Raises SettingsError for the first wrong one."""
    settings, wrong = read_settings()
    if settings is None:
        raise SettingsError(wrong[0])
    return settings


def read_settings() -> tuple[Settings | None, list[str]]:
    """Returns the settings, or None and one line of text about each wrong one."""
    wrong = []
    for name in ENDPOINTS:
        try:
            if address := os.environ.get(name):
                values.require_endpoint(name, address)
        except ValueError as error:
            wrong.append(str(error))
    try:
        settings = Settings()
    except ValidationError as error:
        return None, [*wrong, *map(_in_words, error.errors())]
    return (None, wrong) if wrong else (settings, [])


def _in_words(error: Mapping[str, Any]) -> str:
    name = PREFIX + str(error["loc"][0]).upper() if error["loc"] else PREFIX
    return f"{name}: {wording.in_words(error)}"


def unknown_settings() -> list[str]:
    """Returns a warning for each CALLSCRIBE_ variable that is not a setting, with what was probably meant.

    Kubernetes sets variables such as CALLSCRIBE_PORT=tcp://10.0.0.1:8000 for a service that is called `callscribe`.
    """
    known = [field.upper() for field in Settings.model_fields]
    given = {name.removeprefix(PREFIX): value for name, value in os.environ.items() if name.startswith(PREFIX)}
    unknown = sorted(name for name in given if name not in known and not _is_of_kubernetes(name, given[name]))
    return [f"{PREFIX}{name} is not a setting{_hint(name, known)}" for name in unknown]


def _is_of_kubernetes(name: str, value: str) -> bool:
    return "://" in value if name == "PORT" else bool(OF_KUBERNETES.fullmatch(name))


def _hint(name: str, known: list[str]) -> str:
    """Returns the end of a warning. Names are compared without the prefix, which would make all of them similar."""
    if name in OPTIONS:
        return f"; it is an option: callscribe serve {OPTIONS[name]}"
    meant = OTHER_NAMES.get(name)
    return f"; did you mean {PREFIX}{meant}?" if meant in known else wording.suggestion(name, known, prefix=PREFIX)
