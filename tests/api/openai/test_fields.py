"""The form of OpenAI's clients → what they ask for. Clients write lists, switches and empty fields in many ways."""

from typing import Any

import pytest

from app.api.openai.answers import ResponseFormat, Wanted
from app.api.openai.fields import PRIORITY, Asked, is_known, read_fields, without_shape
from app.errors import InvalidRequest, ModelNotFound
from app.intake.ask import Ask
from app.intake.model_names import ModelNames
from app.speech.speakers import voices
from app.transcripts.transcript import Options

MODELS = ModelNames(("base", "tiny.en"), {"my-model": "tiny.en"})


def asked(*fields: tuple[str, str], task: Any = "transcribe") -> Asked:
    return read_fields(fields, MODELS, task)


def refusal(*fields: tuple[str, str]) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequest) as caught:
        asked(*fields)
    return [(error.field, error.detail) for error in caught.value.errors]


def test_an_empty_form_asks_for_the_defaults() -> None:
    found = asked()
    assert found.ask == Ask(Options(model="base"), default_priority=PRIORITY, is_awaited=True)
    assert found.wanted == Wanted(ResponseFormat.JSON)
    assert not found.streams


def test_all_fields_are_read() -> None:
    found = asked(
        ("model", "my-model"),
        ("language", "en-US"),
        ("prompt", "Green Garden Store"),
        ("keywords[]", "Miller"),
        ("keywords[]", "47291"),
        ("response_format", "verbose_json"),
        ("temperature", "0.2"),
        ("timestamp_granularities[]", "word"),
        ("timestamp_granularities[]", "segment"),
        ("stream", "True"),
    )
    assert found.ask.options == Options(
        model="tiny.en",
        language="en",
        prompt="Green Garden Store",
        hotwords=("Miller", "47291"),
        word_timestamps=True,
        reports_text=True,
    )
    assert found.wanted == Wanted(ResponseFormat.VERBOSE_JSON, words=True, segments=True)
    assert found.streams


@pytest.mark.parametrize(
    "fields",
    [
        [("keywords[]", "a"), ("keywords[]", "b, c")],
        [("keywords", "a"), ("keywords", "b, c")],
        [("keywords[0]", "a"), ("keywords[1]", "b, c")],
        [("keywords", '["a", "b, c"]')],
        [("hotwords[]", "a"), ("hotwords[]", "b, c")],
        [("keywords[]", '["a", "b, c", ""]'), ("keywords[]", "")],
    ],
)
def test_a_list_may_be_written_in_any_way(fields: list[tuple[str, str]]) -> None:
    assert asked(*fields).ask.options.hotwords == ("a", "b, c")


@pytest.mark.parametrize("text", ["en,de", "en, de", '["en", "de"]'])
def test_lists_whose_items_have_no_commas_may_be_separated_by_commas(text: str) -> None:
    assert asked(("languages", text)).ask.options.languages == ("en", "de")
    words = asked(("timestamp_granularities", "word,segment"), ("response_format", "verbose_json"))
    assert (words.wanted.words, words.wanted.segments) == (True, True)


def test_some_fields_of_our_own_form_are_taken_too() -> None:
    found = asked(
        ("external_id", "crm-48151"),
        ("metadata", '{"queue": "orders"}'),
        ("webhook_url", "https://crm.example/calls"),
        ("priority", "7"),
    ).ask
    assert (found.external_id, found.metadata, found.priority) == ("crm-48151", {"queue": "orders"}, 7)
    assert found.webhook_url == ["https://crm.example/calls"]
    assert refusal(("metadata", "orders"))[0][0] == "metadata"


def test_empty_fields_count_as_absent() -> None:
    names = ("model", "language", "prompt", "response_format", "temperature", "stream", "keywords[]", "channels")
    assert asked(*((name, " ") for name in names)) == asked()


@pytest.mark.parametrize("name", ["include[]", "chunking_strategy", "chunking_strategy[type]", "user", "url", "n"])
def test_other_fields_are_ignored(name: str) -> None:
    assert not is_known(name)


@pytest.mark.parametrize("name", ["whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-transcribe", ""])
def test_names_of_openai_mean_the_default_model(name: str) -> None:
    assert asked(("model", name)).ask.options.model == "base"


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(ModelNotFound):
        asked(("model", "whisper-2"))


def test_diarized_json_splits_the_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voices, "installed", lambda: False)
    found = asked(("response_format", "diarized_json"))
    assert found.ask.options.channels == "split"
    assert not found.wanted.named
    found.require(2)


@pytest.mark.parametrize("name", ["known_speaker_names[]", "channel_labels"])
def test_names_of_speakers_split_the_channels_in_every_format(name: str) -> None:
    found = asked((name, "agent"), (name, "customer"))
    assert found.ask.options == Options(model="base", channels="split", channel_labels=("agent", "customer"))
    assert found.wanted.named
    found.require(1)


@pytest.mark.parametrize("text", ["agent,customer", '["agent", "customer"]'])
def test_a_field_alone_may_hold_a_whole_list(text: str) -> None:
    assert asked(("known_speaker_names", text)).ask.options.channel_labels == ("agent", "customer")
    assert asked(("keywords", text)).ask.options.hotwords == ("agent", "customer")


def test_a_route_whose_answer_has_one_shape_ignores_fields_that_shape_the_answer() -> None:
    fields = [("response_format", "bogus"), ("stream", "true"), ("language", "de")]
    assert without_shape(fields) == [("language", "de")]


def test_names_of_speakers_keep_their_places() -> None:
    swapped = asked(("known_speaker_names[1]", "customer"), ("known_speaker_names[0]", "agent"))
    assert swapped.ask.options.channel_labels == ("agent", "customer")
    assert not asked(("known_speaker_names[]", ""), ("known_speaker_names[]", "")).wanted.named


@pytest.mark.parametrize(
    "fields",
    [
        [("known_speaker_names[]", ""), ("known_speaker_names[]", "customer")],
        [("known_speaker_names", '["", "customer"]')],
        [("channel_labels", "agent"), ("channel_labels", " ")],
    ],
)
def test_an_empty_name_beside_others_is_refused_because_the_others_would_move(fields: list[tuple[str, str]]) -> None:
    [(_, detail)] = refusal(*fields)
    assert "empty name" in detail


def test_a_name_that_is_the_letter_of_a_channel_without_a_name_is_refused() -> None:
    found = asked(("known_speaker_names[]", "B"), ("response_format", "diarized_json"))
    with pytest.raises(InvalidRequest) as caught:
        found.require(2)
    assert caught.value.errors[0].field == "known_speaker_names"
    asked(("known_speaker_names[]", "A"), ("response_format", "diarized_json")).require(2)
    asked(("known_speaker_names[]", "B"), ("known_speaker_names[]", "A")).require(2)


def test_diarized_json_of_one_channel_needs_the_models_of_voices(monkeypatch: pytest.MonkeyPatch) -> None:
    found = asked(("response_format", "diarized_json"), ("known_speaker_names[]", "B"))
    monkeypatch.setattr(voices, "installed", lambda: True)
    found.require(1)  # the name belongs to a channel, and voices get none
    assert found.ask.diarizes_one_channel
    assert not found.ask.options.diarize
    monkeypatch.setattr(voices, "installed", lambda: False)
    with pytest.raises(InvalidRequest) as caught:
        found.require(1)
    assert caught.value.errors[0].field == "response_format"
    assert "make speakers" in caught.value.errors[0].detail


def test_only_diarized_json_tells_voices_apart() -> None:
    assert not asked(("channels", "split")).ask.diarizes_one_channel


def test_only_the_end_of_a_long_prompt_counts() -> None:
    assert asked(("prompt", "a" * 3000 + "b" * 2000)).ask.options.prompt == "b" * 2000


def test_a_translation_is_asked_for_with_its_task() -> None:
    found = asked(task="translate")
    assert (found.ask.options.task, found.wanted.task) == ("translate", "translate")


@pytest.mark.parametrize("text", ["1.5", "-0.1", "nan", "warm"])
def test_a_temperature_that_openai_would_refuse_is_refused(text: str) -> None:
    assert refusal(("temperature", text)) == [("temperature", "must be a number from 0 to 1")]


@pytest.mark.parametrize(
    ("field", "text", "named"),
    [
        ("response_format", "xml", "response_format"),
        ("stream", "perhaps", "stream"),
        ("timestamp_granularities[]", "letter", "timestamp_granularities"),
        ("language", "!", "language"),
        ("channels", "both", "channels"),
        ("keywords", "[1]", "keywords"),
        ("languages[]", "!", "languages"),
        ("keywords[]", "x" * 101, "keywords"),
        ("known_speaker_names[]", "x" * 41, "known_speaker_names"),
        ("known_speaker_names", "agent, customer", "known_speaker_names"),
        ("channel_labels[]", "x" * 41, "channel_labels"),
        ("prompt", "a\0b", "prompt"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_the_name_that_the_client_sent(
    field: str, text: str, named: str
) -> None:
    assert [each for each, _ in refusal((field, text))] == [named]


def test_diarized_json_cannot_mix_the_channels() -> None:
    assert [field for field, _ in refusal(("response_format", "diarized_json"), ("channels", "mix"))] == ["channels"]


def test_voices_may_be_asked_for_as_in_our_own_form() -> None:
    options = asked(("diarize", "true"), ("speakers", "2")).ask.options
    assert (options.diarize, options.speakers) == (True, 2)
