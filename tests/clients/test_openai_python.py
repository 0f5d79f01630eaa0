"""OpenAI's Python client against the running service: every format, streaming, translations, models and errors."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, DefaultHttpxClient, OpenAI
from openai.types.audio import Transcription

from testing.breaking_relay import breaking
from testing.hearing import FEW, FOX, missed
from testing.recordings import call, said, tone
from testing.service import Service
from testing.speech_samples import sample
from tests.conftest import ALICE

SPOKEN = FOX.path
SECONDS = 12.5


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[OpenAI]:
    http = DefaultHttpxClient(trust_env=False)
    with OpenAI(base_url=f"{service.url}/v1", api_key="unused", max_retries=0, http_client=http) as client:
        yield client


@pytest.fixture
async def asynchronous(service: Service) -> AsyncIterator[AsyncOpenAI]:
    http = DefaultAsyncHttpxClient(trust_env=False)
    async with AsyncOpenAI(base_url=f"{service.url}/v1", api_key="unused", max_retries=0, http_client=http) as client:
        yield client


@dataclass
class Counted:
    """A client of the guarded service that counts its requests, so that a test sees how often it repeated."""

    service: Service
    key: str = ALICE
    retries: int = 2
    requests: list[object] = field(default_factory=list)

    @property
    def client(self) -> OpenAI:
        http = DefaultHttpxClient(trust_env=False, event_hooks={"request": [self.requests.append]})
        url = f"{self.service.url}/v1"
        return OpenAI(base_url=url, api_key=self.key, max_retries=self.retries, http_client=http)


def test_json_has_the_text_and_how_many_seconds_are_billed(client: OpenAI) -> None:
    answer = client.audio.transcriptions.create(model="whisper-1", file=SPOKEN)
    assert isinstance(answer, Transcription)
    assert missed(FOX.text, answer.text) <= FEW
    assert answer.usage
    assert answer.usage.type == "duration"
    assert answer.usage.seconds > 1


def test_verbose_json_has_segments_and_words(client: OpenAI) -> None:
    granularities: list[Any] = ["segment", "word"]
    answer = client.audio.transcriptions.create(
        model="whisper-1", file=SPOKEN, response_format="verbose_json", timestamp_granularities=granularities
    )
    assert (answer.language, float(answer.duration) > 1) == ("english", True)
    assert answer.segments
    assert answer.words
    for number, segment in enumerate(answer.segments):
        assert (segment.id, segment.tokens, segment.text[0]) == (number, [], " ")
        numbers = (segment.avg_logprob, segment.compression_ratio, segment.no_speech_prob, segment.temperature)
        assert all(isinstance(each, float | int) for each in numbers)
    assert missed(FOX.text, " ".join(word.word for word in answer.words)) <= FEW
    assert [word.start for word in answer.words] == sorted(word.start for word in answer.words)


def test_verbose_json_leaves_out_segments_if_only_words_are_asked_for(client: OpenAI) -> None:
    answer = client.audio.transcriptions.create(
        model="whisper-1", file=SPOKEN, response_format="verbose_json", timestamp_granularities=["word"]
    )
    assert (answer.segments, bool(answer.words)) == (None, True)


@pytest.mark.parametrize(("form", "start"), [("text", "The"), ("srt", "1\n"), ("vtt", "WEBVTT\n")])
def test_plain_formats_are_strings(client: OpenAI, form: Any, start: str) -> None:
    answer: Any = client.audio.transcriptions.create(model="whisper-1", file=SPOKEN, response_format=form)
    assert isinstance(answer, str)
    assert answer.lstrip().startswith(start)
    assert missed(FOX.text, answer) <= FEW


def test_diarized_json_names_the_speakers_of_a_call(client: OpenAI) -> None:
    answer = client.audio.transcriptions.create(
        model="gpt-4o-transcribe-diarize",
        file=("call.wav", call(0.0, SECONDS)),
        response_format="diarized_json",
        chunking_strategy="auto",
        known_speaker_names=["agent", "customer"],
    )
    assert {segment.speaker for segment in answer.segments} == {"agent", "customer"}
    for speaker in ("agent", "customer"):
        heard = " ".join(segment.text for segment in answer.segments if segment.speaker == speaker)
        assert missed(said(0.0, SECONDS, speaker), heard) <= FEW
    assert answer.text.startswith("agent: ")
    assert answer.task == "transcribe"
    assert answer.duration == pytest.approx(SECONDS, abs=0.1)


def test_a_stream_sends_text_and_then_the_whole_text(client: OpenAI) -> None:
    with client.audio.transcriptions.create(model="whisper-1", file=SPOKEN, stream=True) as stream:
        events = list(stream)
    done = events[-1]
    assert done.type == "transcript.text.done"
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    assert "".join(deltas).strip() == done.text.strip()
    assert missed(FOX.text, done.text) <= FEW


def test_a_stream_of_a_call_sends_segments_with_their_speakers(client: OpenAI) -> None:
    stream = client.audio.transcriptions.create(
        model="gpt-4o-transcribe-diarize",
        file=("call.wav", call(0.0, SECONDS)),
        response_format="diarized_json",
        stream=True,
    )
    with stream:
        events = list(stream)
    segments = [event for event in events if event.type == "transcript.text.segment"]
    assert {segment.speaker for segment in segments} == {"A", "B"}
    assert missed(said(0.0, SECONDS), " ".join(segment.text for segment in segments)) <= FEW
    assert events[-1].type == "transcript.text.done"


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # the client's types call this method deprecated
def test_translations_are_english(client: OpenAI) -> None:
    spanish = sample("es", "conteo").path
    answer = client.audio.translations.create(model="whisper-1", file=spanish)
    verbose = client.audio.translations.create(model="whisper-1", file=spanish, response_format="verbose_json")
    assert answer.text
    assert (verbose.text, verbose.language) == (answer.text, "english")
    assert verbose.segments


async def test_the_asynchronous_client_transcribes_and_streams(asynchronous: AsyncOpenAI) -> None:
    answer = await asynchronous.audio.transcriptions.create(model="gpt-4o-transcribe", file=SPOKEN)
    assert missed(FOX.text, answer.text) <= FEW
    async with await asynchronous.audio.transcriptions.create(
        model="gpt-4o-transcribe", file=SPOKEN, stream=True
    ) as stream:
        events = [event async for event in stream]
    assert events[-1].type == "transcript.text.done"
    assert events[-1].text == answer.text


def test_models_are_listed_and_found(client: OpenAI) -> None:
    listed = [model.id for model in client.models.list()]
    assert "base" in listed
    for name in ("base", "whisper-1", "gpt-4o-mini-transcribe"):
        assert (client.models.retrieve(name).id, client.models.retrieve(name).object) == (name, "model")


def test_a_header_leads_to_the_job_with_its_dialogue(client: OpenAI, service: Service) -> None:
    raw = client.audio.transcriptions.with_raw_response.create(model="whisper-1", file=SPOKEN)
    id_ = raw.headers["x-callscribe-id"]
    assert service.read(f"/v1/transcriptions/{id_}")["status"] == "completed"
    assert missed(FOX.text, service.read(f"/v1/transcriptions/{id_}/transcript")["text"]) <= FEW
    assert missed(FOX.text, raw.parse().text) <= FEW


async def test_a_client_repeats_if_its_answer_is_lost_and_gets_the_text_of_the_same_job(service: Service) -> None:
    before = ids(service)
    async with (
        breaking(service.port, break_after=0, breaks=1) as relay,
        DefaultAsyncHttpxClient(trust_env=False) as http,
        AsyncOpenAI(base_url=f"http://127.0.0.1:{relay.port}/v1", api_key="unused", http_client=http) as client,
    ):
        answer = await client.audio.transcriptions.create(model="whisper-1", file=("lost.wav", call(0.5, 6.0)))
    assert missed(said(0.5, 6.0), answer.text) <= FEW
    assert relay.breaks_left == 0
    [id_] = ids(service) - before
    assert service.read(f"/v1/transcriptions/{id_}")["attempts"] == 1


def ids(service: Service) -> set[str]:
    return {job["id"] for job in service.read("/v1/transcriptions?limit=100")["items"]}


@dataclass(frozen=True)
class Refusal:
    """What a client does, and how it is refused: the class of the exception, its code and the field."""

    ask: Callable[[OpenAI], object]
    error: type[openai.APIStatusError]
    status: int
    code: str | None
    param: str | None = None


def transcribing(**options: Any) -> Callable[[OpenAI], object]:
    asked = {"model": "whisper-1", "file": ("call.wav", tone()), **options}
    return lambda client: client.audio.transcriptions.create(**asked)


def translate(client: OpenAI) -> object:
    return client.audio.translations.create(model="tiny.en", file=("call.wav", tone()))


REFUSALS = {
    "an unknown format": Refusal(
        transcribing(response_format="docx"), openai.BadRequestError, 400, "unsupported_value", "response_format"
    ),
    "a temperature out of bounds": Refusal(
        transcribing(temperature=2.5), openai.BadRequestError, 400, "unsupported_value", "temperature"
    ),
    "a model that cannot translate": Refusal(translate, openai.BadRequestError, 400, "unsupported_value", "model"),
    "an unknown model": Refusal(transcribing(model="whisper-9"), openai.NotFoundError, 404, "model_not_found", "model"),
    "an unknown model, retrieved": Refusal(
        lambda client: client.models.retrieve("whisper-9"), openai.NotFoundError, 404, "model_not_found", "model"
    ),
    "a recording that is too large": Refusal(
        transcribing(file=("call.wav", bytes(200_000))), openai.APIStatusError, 413, "too_large", "file"
    ),
    "a file that is no recording": Refusal(
        transcribing(file=("notes.txt", b"this is no recording")),
        openai.APIStatusError,
        415,
        "unsupported_media",
        "file",
    ),
}


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_an_exception_of_the_right_class_and_is_not_repeated(guarded: Service, refusal: Refusal) -> None:
    counted = Counted(guarded)
    with counted.client as client, pytest.raises(refusal.error) as raised:
        refusal.ask(client)
    error = raised.value
    assert (error.status_code, error.code, error.param) == (refusal.status, refusal.code, refusal.param)
    assert error.type == "invalid_request_error"
    assert len(counted.requests) == 1


@pytest.mark.parametrize("ask", [transcribing(), lambda client: client.models.list()], ids=["transcribe", "models"])
def test_a_wrong_key_is_an_authentication_error(guarded: Service, ask: Callable[[OpenAI], object]) -> None:
    counted = Counted(guarded, key="wrong")
    with counted.client as client, pytest.raises(openai.AuthenticationError) as raised:
        ask(client)
    assert (raised.value.code, len(counted.requests)) == ("invalid_api_key", 1)


def test_a_full_queue_is_a_rate_limit_error_that_says_when_to_repeat(guarded: Service) -> None:
    for _ in range(4):  # one caller may use four of the five places
        guarded.create()
    counted = Counted(guarded, retries=0)
    with counted.client as client, pytest.raises(openai.RateLimitError) as raised:
        transcribing()(client)
    assert int(raised.value.response.headers["retry-after"]) > 0
    assert "x-should-retry" not in raised.value.response.headers


def test_a_recording_without_sound_is_a_bad_request(client: OpenAI, tmp_path: Path) -> None:
    broken = tmp_path / "call.wav"
    broken.write_bytes(b"RIFF\x24\x00\x00\x00WAVEfmt ")
    with pytest.raises(openai.APIStatusError) as raised:
        client.audio.transcriptions.create(model="whisper-1", file=broken)
    assert raised.value.status_code in (400, 415)


def test_a_service_that_is_not_there_is_a_connection_error() -> None:
    client = OpenAI(base_url="http://127.0.0.1:9/v1", api_key="unused", max_retries=0)
    with client, pytest.raises(openai.APIConnectionError):
        client.models.list()
