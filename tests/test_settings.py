"""Settings come from the environment. An invalid setting stops the start with one text line that names it."""

import os
from pathlib import Path

import ctranslate2
import pytest
from pydantic import SecretStr

from app.database.connections import Database
from app.settings import PREFIX, Settings, SettingsError, load_settings, unknown_settings
from app.speech.endpoints import Endpoint
from app.speech.whisper.device import NOT_FOR_ARRAYS
from app.storage.s3_url import S3Url
from testing.service import callscribe


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)


def test_every_setting_has_a_default() -> None:
    settings = load_settings()
    assert settings.database_url is None
    assert settings.audio_place == settings.data_dir / "audio"
    assert settings.source_buckets == ()
    assert settings.model[0] == "base"
    assert settings.max_upload_bytes == 2 * 1024**3
    assert settings.api_keys == {}
    assert (settings.log_level, settings.shutdown_grace_seconds, settings.keep_failed_audio_days) == ("info", 10, 3)


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "DATABASE_URL": "postgresql://localhost/calls",
        "STORE_URL": "/srv/audio",
        "MODEL": "small, /models/mine",
        "MODEL_ALIASES": "openai/whisper-large:v3.0 = small, mine=/models/mine",
        "DEVICE_INDEX": "0, 1",
        "ROOT_PATH": "/calls/speech/",
        "API_KEYS": "crm:a:b ,desk:c, crm:d",
        "MAX_UPLOAD_BYTES": "1.5GiB",
        "ALLOWED_NETWORKS": "10.0.0.0/8, fd00::/8, 192.0.2.7",
        "LOG_FORMAT": "",
        "LOG_LEVEL": "WARNING",
    }
    for name, value in given.items():
        monkeypatch.setenv(PREFIX + name, value)
    settings = load_settings()
    assert str(settings.database_url) == "localhost, database calls"
    assert settings.audio_place == Path("/srv/audio")
    assert settings.models == ("small", "/models/mine")
    assert settings.model_aliases == {"openai/whisper-large:v3.0": "small", "mine": "/models/mine"}
    assert settings.device_index == (0, 1)
    assert settings.root_path == "/calls/speech"
    assert settings.api_keys == {"crm": (SecretStr("a:b"), SecretStr("d")), "desk": (SecretStr("c"),)}
    assert settings.max_upload_bytes == 1.5 * 1024**3
    assert [str(network) for network in settings.allowed_networks] == ["10.0.0.0/8", "fd00::/8", "192.0.2.7/32"]
    assert settings.log_format is None
    assert settings.log_level == "warning"


@pytest.mark.parametrize("name", ["callscribe:requests", "callscribe:rejected", "two words"])
def test_results_need_a_stream_of_their_own(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(PREFIX + "REDIS_URL", "redis://:geheim@redis.example/1")
    monkeypatch.setenv(PREFIX + "REDIS_RESULTS", "callscribe:results")
    assert load_settings().redis_results == "callscribe:results"
    assert "geheim" not in repr(load_settings())
    monkeypatch.setenv(PREFIX + "REDIS_RESULTS", name)
    with pytest.raises(SettingsError, match=r"^CALLSCRIBE_REDIS_RESULTS: must"):
        load_settings()


def test_a_model_of_another_server_has_a_name_a_url_and_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "MODEL", "base, qwen=https://gpu:8000/v1/#Qwen/Qwen3-ASR-1.7B")
    monkeypatch.setenv(PREFIX + "MODEL_ALIASES", "fast=qwen")
    monkeypatch.setenv(PREFIX + "REMOTE_KEYS", "qwen:geh:eim")
    settings = load_settings()
    assert settings.models == ("base", "qwen")
    [far] = settings.remote_models
    assert far == Endpoint("qwen", "https://gpu:8000/v1", "Qwen/Qwen3-ASR-1.7B", "geh:eim")
    assert "geh" not in repr(settings) + repr(far)


def test_a_command_may_choose_a_served_model_or_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "MODEL", "base,far=https://gpu/v1#m")
    monkeypatch.setenv(PREFIX + "REMOTE_KEYS", "far:geheim")
    settings = load_settings()
    far = settings.remote_models
    assert (settings.with_model("far").models, settings.with_model("far").remote_models) == (("far",), far)
    assert (settings.with_model("tiny").models, settings.with_model("tiny").remote_models) == (("tiny",), ())
    [other] = settings.with_model("other=http://gpu:8001/v1#m").remote_models
    assert other == Endpoint("other", "http://gpu:8001/v1", "m")
    with pytest.raises(ValueError, match="write other=https://host/v1#MODEL"):
        settings.with_model("other=gpu")


def test_the_error_about_a_password_in_a_url_does_not_repeat_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "MODEL", "far=https://me:geheim@gpu/v1#m")
    with pytest.raises(SettingsError, match=r"^CALLSCRIBE_MODEL: the URL of far holds a password") as error:
        load_settings()
    assert "geheim" not in str(error.value)


def test_a_language_model_needs_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "LLM_URL", "http://gpu:8000/v1")
    with pytest.raises(SettingsError, match=r"^CALLSCRIBE_LLM_MODEL: is needed if CALLSCRIBE_LLM_URL is set"):
        load_settings()
    monkeypatch.setenv(PREFIX + "LLM_MODEL", "qwen2.5-14b-instruct")
    monkeypatch.setenv(PREFIX + "LLM_API_KEY", "geheim")
    monkeypatch.setenv(PREFIX + "LLM_TENANTS", "acme, globex")
    assert load_settings().llm_tenants == ("acme", "globex")
    assert "geheim" not in repr(load_settings())


@pytest.mark.parametrize("places", ["calls", "calls/audio", "calls/audio/results", "results, calls"])
def test_the_place_of_the_recordings_is_no_place_for_outputs(monkeypatch: pytest.MonkeyPatch, places: str) -> None:
    monkeypatch.setenv(PREFIX + "STORE_URL", "s3://calls/audio")
    monkeypatch.setenv(PREFIX + "OUTPUT_BUCKETS", "calls/audio2")
    assert load_settings().output_buckets == (S3Url("calls", "audio2"),)
    monkeypatch.setenv(PREFIX + "OUTPUT_BUCKETS", places)
    with pytest.raises(SettingsError, match=r"^CALLSCRIBE_OUTPUT_BUCKETS: .*recordings"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "sqlite:///calls.db"),
        ("STORE_URL", "ftp://files/calls"),
        ("STORE_URL", "s3://"),
        ("STORE_URL", "s3://Calls/prefix"),
        ("STORE_URL", "s3://user:secret@calls"),
        ("SOURCE_BUCKETS", "calls, s3://archive"),
        ("REDIS_URL", "redis.example:6379"),
        ("REDIS_URL", "http://redis.example"),
        ("REDIS_URL", "redis+sentinel://redis.example"),
        ("LLM_URL", "gpu:8000/v1"),
        ("LLM_URL", "http://user:password@gpu:8000/v1"),
        ("LLM_URL", "https://models.example/v1?key=geheim"),
        ("LLM_API_KEY", "two words"),
        ("LLM_LANGUAGE", "English"),
        ("LLM_CONTEXT_TOKENS", "512"),
        ("LLM_TOKENS_PER_DAY", "0"),
        ("LLM_PROMPTS", "/nowhere"),
        ("REDIS_STREAM", "two words"),
        ("REDIS_STREAM", "calls:rejected"),
        ("REDIS_RESULTS", "callscribe:results"),
        ("REDIS_RESULTS_MAXLEN", "0"),
        ("OUTPUT_BUCKETS", "Results"),
        ("OUTPUT_BUCKETS", "results//ours"),
        ("OUTPUT_URL", "results/{id}"),
        ("OUTPUT_URL", "https://results/{id}"),
        ("OUTPUT_URL", "s3://results/{id}"),
        ("OUTPUT_URL", "/nowhere/{id}"),
        ("OUTPUT_URL", "/tmp/{date}"),
        ("OUTPUT_URL", "/tmp/{name}"),
        ("OUTPUT_FORMATS", "pdf"),
        ("OUTPUT_FORMATS", ","),
        ("MODEL", ","),
        ("MODEL", "base,base"),
        ("MODEL", "base,base=https://gpu/v1#m"),
        ("MODEL", "far=https://gpu/v1"),
        ("MODEL", "far=https://gpu/v1#"),
        ("MODEL", "far=gpu:8000/v1#m"),
        ("MODEL", "far=https://#m"),
        ("MODEL", "far=https://gpu:port/v1#m"),
        ("MODEL", "far=https://gpu/v1?version=2#m"),
        ("MODEL", "=https://gpu/v1#m"),
        ("MODEL", "far:1=https://gpu/v1#m"),
        ("REMOTE_KEYS", "far"),
        ("REMOTE_KEYS", "far:"),
        ("REMOTE_KEYS", "base:secret"),
        ("REMOTE_CONCURRENCY", "0"),
        ("REMOTE_TIMEOUT_SECONDS", "0"),
        ("MODEL_ALIASES", "fast"),
        ("MODEL_ALIASES", "=base"),
        ("MODEL_ALIASES", "fast="),
        ("MODEL_ALIASES", "fast model=base"),
        ("MODEL_ALIASES", "/fast=base"),
        ("DEVICE", "tpu"),
        ("DEVICE_INDEX", "first"),
        ("COMPUTE_TYPE", "int3"),
        ("COMPUTE_TYPE", "bfloat16"),
        ("BATCH_SIZE", "0"),
        ("BATCH_SIZE", "65"),
        ("API_KEYS", "secret-without-a-name"),
        ("ROOT_PATH", "speech"),
        ("ROOT_PATH", "/speech?"),
        ("ROOT_PATH", "//speech"),
        ("ROOT_PATH", "https://calls.example.com/speech"),
        ("ROOT_PATH", "/v1"),
        ("API_KEYS", "crm:"),
        ("API_KEYS", "crm:secret,crm:secret"),
        ("API_KEYS", "crm:secret,desk:secret"),
        ("API_KEYS", "crm: secret"),
        ("API_KEYS", "crm:sec ret"),
        ("API_KEYS", "crm:sec\tret"),
        ("API_KEYS", "crm:secrét"),
        ("AUTH", "maybe"),
        ("MAX_UPLOAD_BYTES", "plenty"),
        ("MAX_UPLOAD_BYTES", "0"),
        ("MAX_AUDIO_SECONDS", "-1"),
        ("MAX_PENDING", "0"),
        ("MAX_CONNECTIONS_PER_CLIENT", "-1"),
        ("ALLOWED_NETWORKS", "10.0.0.1/8"),
        ("ALLOWED_NETWORKS", "intranet"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("TRUSTED_PROXIES", "proxy.example"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,0.0.0.0/0"),
        ("TRUSTED_PROXIES", "::/0"),
        ("CORS_ORIGINS", "crm.example"),
        ("CORS_ORIGINS", "https://crm.example/"),
        ("CORS_ORIGINS", "https://crm.example/app"),
        ("CORS_ORIGINS", "https://CRM.example"),
        ("CORS_ORIGINS", "https://crm.example:443"),
        ("CORS_ORIGINS", "http://crm.example:80"),
        ("CORS_ORIGINS", "https://user:secret@crm.example"),
        ("CORS_ORIGINS", "https://*.crm.example"),
        ("CORS_ORIGINS", "https://bücher.example"),
        ("CORS_ORIGINS", "https://crm.example:port"),
        ("CORS_ORIGINS", "file:///"),
        ("CORS_ORIGINS", "null"),
        ("MIN_FREE_BYTES", "-1"),
        ("KEEP_AUDIO_DAYS", "-1"),
        ("KEEP_TRANSCRIPT_DAYS", "0"),
        ("KEEP_FAILED_AUDIO_DAYS", "-1"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "verbose"),
        ("SHUTDOWN_GRACE_SECONDS", "-1"),
        ("SHUTDOWN_GRACE_SECONDS", "soon"),
    ],
)
def test_the_error_for_an_invalid_setting_is_one_text_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    line = str(refusal.value)
    assert line.startswith(f"{PREFIX}{name}: ")
    assert "\n" not in line
    assert "secret" not in line


@pytest.mark.parametrize("origin", ["https://crm.example", "http://localhost:3000", "http://[::1]:3000", "*"])
def test_an_origin_is_written_as_browsers_send_it(monkeypatch: pytest.MonkeyPatch, origin: str) -> None:
    monkeypatch.setenv(f"{PREFIX}CORS_ORIGINS", origin)
    assert load_settings().cors_origins == (origin,)


def test_not_every_page_may_use_a_service_that_needs_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}CORS_ORIGINS", "*")
    monkeypatch.setenv(f"{PREFIX}AUTH", "off")
    with pytest.raises(SettingsError, match="CALLSCRIBE_CORS_ORIGINS: must name the origins"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("STORE_URL", "s3://b/p", "must be a folder or s3://bucket/prefix; it has no valid name of a bucket: 3 to 63"),
        ("STORE_URL", "ftp://files/calls", "must be a folder or s3://bucket/prefix; it does not begin with s3://"),
        ("DATABASE_URL", "mysql://localhost/calls", "must be postgresql://user:password@host/database"),
        ("COMPUTE_TYPE", "int3", "must be 'auto', 'float16'"),
        ("OPENAI_KEEP_ABANDONED", "maybe", "must be true or false"),
        ("MODEL_ALIASES", "fast=base,slow", "write name=model pairs, separated by commas; 'slow' is not one"),
        ("MODEL_ALIASES", "fast=small", "fast means 'small', but CALLSCRIBE_MODEL has only base"),
        ("MODEL_ALIASES", "fast=base,quick=fast", "quick means 'fast', but CALLSCRIBE_MODEL has only base"),
        ("MODEL_ALIASES", "fast=fast", "fast means 'fast', but CALLSCRIBE_MODEL has only base"),
        ("MODEL_ALIASES", "base=base", "base is the name of a model in CALLSCRIBE_MODEL already"),
        ("MODEL_ALIASES", "fast=base,fast=base", "fast appears twice; each name may appear only once"),
    ],
)
def test_the_error_for_an_invalid_setting_says_what_it_must_be(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    assert str(refusal.value).startswith(f"{PREFIX}{name}: {expected}")


def test_every_compute_type_of_ctranslate2_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "DEVICE", "cpu")
    for compute_type in ctranslate2.get_supported_compute_types("cpu") - NOT_FOR_ARRAYS:
        monkeypatch.setenv(PREFIX + "COMPUTE_TYPE", compute_type)
        assert load_settings().compute_type == compute_type


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("s3://calls", S3Url("calls", "")),
        ("s3://calls/", S3Url("calls", "")),
        ("s3://calls.example/tenant/audio/", S3Url("calls.example", "tenant/audio")),
    ],
)
def test_audio_may_be_kept_in_a_bucket(monkeypatch: pytest.MonkeyPatch, value: str, place: S3Url) -> None:
    monkeypatch.setenv(PREFIX + "STORE_URL", value)
    monkeypatch.setenv(PREFIX + "SOURCE_BUCKETS", "calls, archive-2026")
    settings = load_settings()
    assert settings.audio_place == place
    assert settings.source_buckets == ("calls", "archive-2026")


@pytest.mark.parametrize(
    ("command", "settings", "error"),
    [
        ("serve", {"MAX_PENDING": "none"}, "CALLSCRIBE_MAX_PENDING: "),
        (
            "serve",
            {"DATABASE_URL": "postgresql://cs:half1@half2/x#1@127.0.0.1:5432/cs"},
            "CALLSCRIBE_DATABASE_URL: cannot be read. Percent-encode the special characters in its user and password: ",
        ),
        ("serve", {"MODEL": "base,nosuch"}, "CALLSCRIBE_MODEL: 'nosuch' "),
        (
            "worker",
            {"DEVICE": "cpu", "COMPUTE_TYPE": "float16"},
            "No model can run on this processor: it cannot compute with float16; set CALLSCRIBE_COMPUTE_TYPE to auto, ",
        ),
    ],
)
def test_an_invalid_setting_stops_the_start(tmp_path: Path, command: str, settings: dict[str, str], error: str) -> None:
    ended = callscribe(command, folder=tmp_path, **settings)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"callscribe: {error}")
    assert ended.stderr.count("\n") == 1
    assert "half" not in ended.stderr
    assert not (tmp_path / "postgres").exists()


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        ("API_KEY", "; did you mean CALLSCRIBE_API_KEYS?"),
        ("MODELS", "; did you mean CALLSCRIBE_MODEL?"),
        ("DB_URL", "; did you mean CALLSCRIBE_DATABASE_URL?"),
        ("MAX_UPLOAD_SIZE", "; did you mean CALLSCRIBE_MAX_UPLOAD_BYTES?"),
        ("PORT", "; it is an option: callscribe serve --port"),
        ("HOST", "; it is an option: callscribe serve --host"),
        ("LANGUAGE", "; did you mean CALLSCRIBE_LLM_LANGUAGE?"),
        ("VOCABULARY", ""),
    ],
)
def test_an_unknown_setting_is_reported_with_what_was_probably_meant(
    monkeypatch: pytest.MonkeyPatch, name: str, warning: str
) -> None:
    monkeypatch.setenv(PREFIX + name, "8001")
    assert unknown_settings() == [f"{PREFIX}{name} is not a setting{warning}"]


def test_variables_that_kubernetes_sets_for_a_service_are_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "CALLSCRIBE_SERVICE_HOST": "10.0.0.1",
        "CALLSCRIBE_SERVICE_PORT_HTTP": "8000",
        "CALLSCRIBE_PORT": "tcp://10.0.0.1:8000",
        "CALLSCRIBE_PORT_8000_TCP_ADDR": "10.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    assert unknown_settings() == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("data", "CALLSCRIBE_DATA_DIR: {data}: there is a file where a folder is needed"),
        ("data/audio", "the folder {data}/audio cannot be used: there is a file where a folder is needed"),
        ("data/work", "{data}/work cannot be used: there is a file where a folder is needed"),
    ],
)
def test_a_file_in_the_place_of_a_folder_ends_the_start_with_one_line(
    database: Database, tmp_path: Path, file: str, line: str
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    places = {"DATA_DIR": f"{tmp_path}/data", "DATABASE_URL": database.address.text}
    ended = callscribe("serve", "--no-executor", "--port", "0", folder=tmp_path, **places)
    assert ended.returncode in (1, 2)
    assert [text for text in ended.stderr.splitlines() if not text.startswith("{")] == [
        f"callscribe: {line.format(data=tmp_path / 'data')}"
    ]


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CALLSCRIBE_DATA_DIR", "~/calls")
    monkeypatch.setenv("CALLSCRIBE_STORE_URL", "~/audio")
    assert load_settings().data_dir == tmp_path / "calls"
    assert load_settings().audio_place == tmp_path / "audio"
    monkeypatch.setenv("CALLSCRIBE_DATA_DIR", "~no-such-user/calls")
    with pytest.raises(SettingsError, match="CALLSCRIBE_DATA_DIR: begins with ~, but the user has no home folder"):
        load_settings()


def test_a_key_in_the_place_of_its_name_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLSCRIBE_API_KEYS", "crm:secret")
    monkeypatch.setenv("CALLSCRIBE_PRIORITY_CEILINGS", "crm:3,secret:5")
    with pytest.raises(SettingsError, match="PRIORITY_CEILINGS: name 2 is not in CALLSCRIBE_API_KEYS") as refused:
        load_settings()
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    ["http://u:secret@host", "http://u:sec/ret@c@host", "host:9000", "https://", "http://h:99999", "http://a b"],
)
def test_an_address_of_s3_that_cannot_be_used_is_named_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    with pytest.raises(SettingsError, match="AWS_ENDPOINT_URL: must be a URL such as") as refused:
        load_settings()
    assert "sec" not in str(refused.value)


def test_keys_are_not_shown() -> None:
    shown = repr(Settings.model_validate({"api_keys": "crm:s3cr3t", "webhook_secret": "whsec_" + "a2V5" * 8}))
    assert "s3cr3t" not in shown
    assert "a2V5" not in shown


def test_a_key_that_no_client_can_send_is_refused_and_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLSCRIBE_API_KEYS", "crm:fine,desk:geheim\u00fc")
    with pytest.raises(SettingsError, match="CALLSCRIBE_API_KEYS: key 2 must be of visible ASCII") as refused:
        load_settings()
    assert "geheim" not in str(refused.value)
