"""The settings of a watched folder: a wrong one ends the start with one line that names it."""

from pathlib import Path

import pytest

from app.making import check_watch
from app.settings import PREFIX, Settings, SettingsError, load_settings
from app.transcripts.formats import Format
from testing.service import callscribe


def test_a_folder_is_watched_with_its_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("out")
    chosen = {
        "WATCH": f"{tmp_path}/in/",
        "WATCH_OUTPUT": f"{tmp_path}/link",
        "WATCH_FORMATS": "whisper,srt",
        "WATCH_OPTIONS": '{"language": "German", "channels": "split", "hotwords": ["Callscribe"]}',
    }
    for name, value in chosen.items():
        monkeypatch.setenv(PREFIX + name, value)
    settings = load_settings()
    assert (settings.watch, settings.watch_output) == (tmp_path / "in", tmp_path / "out")
    assert settings.watch_formats == (Format.WHISPER, Format.SRT)
    assert settings.watch_options["hotwords"] == ["Callscribe"]
    assert tmp_path / "out" in settings.output_folders


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("WATCH", "calls", "must be a path that begins with /"),
        ("WATCH", "{tmp}/nowhere", "the folder {tmp}/nowhere does not exist"),
        ("WATCH", "{tmp}", "the folder of CALLSCRIBE_DATA_DIR is in {tmp}, so its files would be taken"),
        ("WATCH", "{tmp}/data/audio", "is a folder of the service itself, so its own files would be taken"),
        ("WATCH", "{tmp}/data/audio/01", "is a folder of the service itself, so its own files would be taken"),
        ("OUTPUT_URL", "{tmp}/data/audio/{id}", "is in a folder of the service itself"),
        ("WATCH_OUTPUT", "{tmp}/in/.hidden", "must not be in {tmp}/in, because JSON files there are options"),
        ("WATCH_OUTPUT", "{tmp}/in/out", "must not be in {tmp}/in, because JSON files there are options"),
        ("WATCH_OUTPUT", "{tmp}/in", "must not be in {tmp}/in, because JSON files there are options"),
        ("WATCH_AFTER", "move", "must be 'delete' or 'keep'"),
        ("WATCH_FORMATS", "docx", "must be 'json'"),
        ("WATCH_SETTLE_SECONDS", "0", "must be greater than 0"),
        ("WATCH_OPTIONS", "language=en", "must be a JSON object: "),
        ("WATCH_OPTIONS", "[]", "must be a JSON object, such as "),
        ("WATCH_OPTIONS", '{"url": "https://crm.example/a.wav"}', "url is not a field of this request"),
        ("WATCH_OPTIONS", '{"channels": "both"}', "channels must be 'mix' or 'split'"),
    ],
)
def test_a_wrong_setting_of_the_folder_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, expected: str
) -> None:
    (tmp_path / "in" / "out").mkdir(parents=True)
    (tmp_path / "in" / ".hidden").mkdir()
    (tmp_path / "data" / "audio" / "01").mkdir(parents=True)
    monkeypatch.setenv(PREFIX + "DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv(PREFIX + "WATCH", str(tmp_path / "in"))
    monkeypatch.setenv(PREFIX + name, value.replace("{tmp}", str(tmp_path)))
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    assert str(refusal.value).startswith(f"{PREFIX}{name}: {expected.replace('{tmp}', str(tmp_path))}")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"model": "huge"}, "CALLSCRIBE_WATCH_OPTIONS: The model is not served."),
        ({"webhook_url": "http://10.0.0.1/"}, "CALLSCRIBE_WATCH_OPTIONS: "),
        ({"output": {"url": "s3://results/{id}"}}, "CALLSCRIBE_WATCH_OPTIONS: The output is not allowed"),
    ],
)
def test_options_that_this_service_does_not_offer_are_named(
    tmp_path: Path, options: dict[str, str], error: str
) -> None:
    settings = Settings(watch=tmp_path, watch_options=options)
    with pytest.raises(SettingsError, match=f"^{error}"):
        check_watch(settings)


def test_a_folder_whose_place_for_accepted_recordings_is_a_link_ends_the_start(tmp_path: Path) -> None:
    watched = tmp_path / "in"
    watched.mkdir()
    (watched / ".accepted").symlink_to(tmp_path)
    ended = callscribe("serve", folder=tmp_path / "data", WATCH=str(watched))
    assert ended.returncode == 2
    assert ended.stderr.startswith("callscribe: CALLSCRIBE_WATCH: ")
    assert ended.stderr.count("\n") == 1
