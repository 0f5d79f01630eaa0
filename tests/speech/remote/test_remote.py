"""A model of another server: what is sent, and what each kind of trouble leads to."""

import asyncio
import itertools
import json
import socket
import threading
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from app.audio.known_speech import known_speech
from app.speech.endpoints import Endpoint
from app.speech.model import ModelAway, Samples, TextRequest, Written
from app.speech.remote.client import RemoteClient, trial, wav
from app.speech.remote.model import Patience, RemoteModel
from testing.origin import Answer, Exchange, Origin, answering

ROUTE = "/v1/audio/transcriptions"
SPEECH: Samples = np.linspace(-1, 1, 16_000, dtype=np.float32)
LONG_SPEECH: Samples = np.tile(SPEECH, 10)
TRIAL = wav(known_speech(1))[10_000:11_000]
HELLO = Written("Hello.")


def json_of(status: int = 200, /, **members: object) -> Answer:
    return lambda exchange: exchange.whole(json.dumps(members).encode(), status, Content_Type="application/json")


GOOD = json_of(text="Hello.")


def is_trial(exchange: Exchange) -> bool:
    return TRIAL in exchange.body


def refuse_long_windows(exchange: Exchange) -> None:
    (json_of(400) if not is_trial(exchange) and len(exchange.body) > 200_000 else GOOD)(exchange)


def in_turn(*answers: Answer, trial: Answer = GOOD) -> Answer:
    """The answers one after the other; the last one stays. Trials are answered apart."""
    left = list(answers)
    lock = threading.Lock()

    def answer(exchange: Exchange) -> None:
        with lock:
            chosen = trial if is_trial(exchange) else left.pop(0) if len(left) > 1 else left[0]
        chosen(exchange)

    return answer


@contextmanager
def remote(
    origin: Origin, patience: float = 5.0, timeout: float = 5.0, key: str | None = None, concurrency: int = 8
) -> Iterator[RemoteModel]:
    endpoint = Endpoint("far", origin.url("/v1"), "m", key, concurrency, timeout_seconds=timeout)
    short = Patience(0.02, 0.1, failing=patience / 5, away=patience, window=4 * patience)
    model = RemoteModel(endpoint, ["en", "de"], short)
    model.start()
    try:
        yield model
    finally:
        model.close()


@pytest.fixture
def origin() -> Iterator[Origin]:
    with answering() as origin:
        yield origin


def ask(model: RemoteModel, request: TextRequest | None = None, speech: Samples = SPEECH) -> Written:
    [written] = model.write([(request or TextRequest("en"), speech)])
    return written


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def wait_for_first_trial(model: RemoteModel) -> None:
    """Its text would prove that the server writes."""
    until(lambda: model._trying is not None and model._trying.done())


def test_a_window_is_sent_as_a_form_that_every_server_knows(origin: Origin) -> None:
    origin.answers[ROUTE] = GOOD
    with remote(origin, key="secret") as model:
        until(lambda: len(origin.bodies) == 1)  # the trial at the start
        assert ask(model, TextRequest("en", "Acme Inc.", ("Fox", "Dog"))) == HELLO
        assert ask(model, TextRequest("de", attempt=1)) == HELLO
    for headers in origin.headers_of(ROUTE):
        assert headers["authorization"] == "Bearer secret"
    first, second = (form(origin, number) for number in (1, 2))
    with wave.open(BytesIO(first.pop("file"))) as sound:
        assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, 16_000)
        assert sound.getnframes() == len(SPEECH)
    second.pop("file")
    asked = {"model": b"m", "response_format": b"json"}
    assert first == asked | {"language": b"en", "prompt": b"Fox, Dog. Acme Inc.", "temperature": b"0"}
    assert second == asked | {"language": b"de", "temperature": b"0.4"}


def form(origin: Origin, number: int) -> dict[str, Any]:
    head = f"Content-Type: {origin.headers_of(ROUTE)[number]['content-type']}\r\n\r\n"
    message = message_from_bytes(head.encode() + origin.bodies[number])
    parts: Any = message.get_payload()
    return {str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True) for part in parts}


@pytest.mark.parametrize(
    ("members", "language"),
    [
        ({"language": "english"}, "en"),
        ({"language": "pt-BR"}, "pt"),
        ({"languages": [{"code": "de"}]}, "de"),
        ({"languages": [{"code": "de"}, {"code": "en"}]}, ""),
        ({"language": 7}, ""),
        ({"language": "!?"}, ""),
        ({"languages": "de"}, ""),
    ],
)
def test_the_language_that_a_server_names_is_read(origin: Origin, members: dict[str, object], language: str) -> None:
    origin.answers[ROUTE] = json_of(text="Hello.", **members)
    with remote(origin) as model:
        assert ask(model) == Written("Hello.", language)


def endless(exchange: Exchange) -> None:
    exchange.head()
    while not exchange.origin.over.is_set():
        exchange.wfile.write(b"x" * 100_000)


def broken_off(exchange: Exchange) -> None:
    exchange.head(Content_Length=1000)
    exchange.wfile.write(b'{"text": "Hel')


PASSING: dict[str, Answer] = {
    "500": json_of(500),
    "502 with HTML": lambda exchange: exchange.whole(b"<html>Bad gateway</html>", 502),
    "503": json_of(503),
    "HTML": lambda exchange: exchange.whole(b"<html>Welcome</html>"),
    "no text": json_of(data=[]),
    "a text that is none": json_of(text=None),
    "a list": lambda exchange: exchange.whole(b"[1]"),
    "nothing": lambda exchange: exchange.whole(b""),
    "endless": endless,
    "broken off": broken_off,
    "closed": lambda exchange: exchange.connection.shutdown(socket.SHUT_RDWR),
}


@pytest.mark.parametrize("trouble", PASSING)
def test_a_failure_that_passes_costs_only_time(origin: Origin, trouble: str) -> None:
    origin.answers[ROUTE] = in_turn(PASSING[trouble], GOOD)
    with remote(origin) as model:
        assert ask(model) == HELLO
        assert model.trouble() is None


@pytest.mark.parametrize("trouble", ["500", "HTML", "endless", "closed"])
def test_a_server_that_only_fails_is_in_trouble_until_it_answers_again(origin: Origin, trouble: str) -> None:
    origin.answers[ROUTE] = PASSING[trouble]
    with remote(origin, patience=1.5) as model:
        with pytest.raises(ModelAway, match="far: it"):
            ask(model)
        assert model.trouble()
        origin.answers[ROUTE] = GOOD
        until(lambda: model.trouble() is None)
        assert ask(model) == HELLO


def test_a_dead_server_is_in_trouble_from_the_start_and_no_window_is_sent() -> None:
    with answering() as gone:
        pass
    with remote(gone, patience=0.2) as model:
        until(lambda: model.trouble() is not None)
        assert "cannot be reached" in (model.trouble() or "")
        with pytest.raises(ModelAway):
            ask(model)


def test_a_slow_server_is_given_up_after_the_timeout(origin: Origin) -> None:
    origin.answers[ROUTE] = Exchange.hang
    with remote(origin, patience=0.5, timeout=0.3) as model, pytest.raises(ModelAway, match="did not answer within"):
        ask(model)


def test_a_server_that_drips_is_given_up_after_the_timeout(origin: Origin) -> None:
    def drip(exchange: Exchange) -> None:
        exchange.head()
        exchange.drip(b" ", 0.05)

    origin.answers[ROUTE] = drip
    with remote(origin, patience=0.5, timeout=0.3) as model, pytest.raises(ModelAway, match="did not answer"):
        ask(model)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(origin: Origin, status: int) -> None:
    busy: Answer = lambda exchange: exchange.whole(b"{}", status, Retry_After="1")  # noqa: E731
    origin.answers[ROUTE] = in_turn(busy, GOOD)
    with remote(origin) as model:
        began = time.monotonic()
        assert ask(model) == HELLO
        assert time.monotonic() - began >= 1
        assert model.trouble() is None


def test_a_server_that_stays_busy_is_in_trouble(origin: Origin) -> None:
    origin.answers[ROUTE] = json_of(429)
    with remote(origin, patience=0.5) as model:
        with pytest.raises(ModelAway, match="too many requests"):
            ask(model)
        assert "429" in (model.trouble() or "")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "CALLSCRIBE_REMOTE_KEYS"),
        (403, "may not use this model"),
        (404, "the URL or the model"),
        (405, "the URL"),
        (307, "redirects are not followed"),
    ],
)
def test_what_only_the_operator_can_mend_is_trouble_at_once(origin: Origin, status: int, words: str) -> None:
    origin.answers[ROUTE] = lambda exchange: exchange.whole(b"{}", status, Location=origin.url("/elsewhere"))
    with remote(origin, patience=0.3, key="secret") as model:
        with pytest.raises(ModelAway, match=words) as away:
            ask(model)
        assert "secret" not in str(away.value)
    assert {path for path, _ in origin.asked} == {ROUTE}


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_window_is_sent_again_with_less_and_then_given_up(origin: Origin, status: int) -> None:
    origin.answers[ROUTE] = in_turn(GOOD, json_of(status))
    with remote(origin, patience=1) as model:
        until(lambda: len(origin.bodies) == 1)
        assert ask(model) == HELLO
        assert ask(model, TextRequest("en", "Acme")) == Written("", is_refused=True)
        assert model.trouble() is None
    forms = [form(origin, number) for number in range(2, len(origin.bodies))]
    assert [("prompt" in each, "language" in each) for each in forms[:3]] == [
        (True, True),
        (False, True),
        (False, False),
    ]


def test_a_language_that_a_server_does_not_know_is_left_out(origin: Origin) -> None:
    origin.answers[ROUTE] = in_turn(json_of(400), GOOD)
    with remote(origin) as model:
        assert ask(model) == HELLO


def test_a_server_that_refuses_everything_is_in_trouble(origin: Origin) -> None:
    origin.answers[ROUTE] = json_of(400)
    with remote(origin, patience=0.5) as model:
        with pytest.raises(ModelAway, match="answered 400"):
            ask(model)
        assert model.trouble()


def test_a_window_that_always_fails_is_given_up_while_the_server_takes_others(origin: Origin) -> None:
    origin.answers[ROUTE] = in_turn(GOOD, json_of(500))
    with remote(origin, patience=1) as model:
        assert ask(model) == HELLO
        assert ask(model) == Written("", is_refused=True)
        assert model.trouble() is None


ALWAYS = {"400": 400, "401": 401, "403": 403, "404": 404, "405": 405, "413": 413, "302": 302, "500": 500}


@pytest.mark.parametrize("status", ALWAYS.values(), ids=ALWAYS)
def test_a_server_that_takes_only_trials_costs_no_window(origin: Origin, status: int) -> None:
    origin.answers[ROUTE] = in_turn(json_of(status))
    with remote(origin, patience=1) as model:
        with pytest.raises(ModelAway, match="it takes trials, but no windows"):
            ask(model)
        until(lambda: model.trouble() is not None)
        sent = len(origin.bodies)
        assert sent < 20
        with pytest.raises(ModelAway):
            ask(model)
        assert len(origin.bodies) == sent  # no trial ends this trouble for a while


def test_few_windows_are_left_out_in_a_row(origin: Origin) -> None:
    left_out = Written("", is_refused=True)
    with remote(origin, patience=0.5) as model:
        for _ in range(2):
            origin.answers[ROUTE] = in_turn(GOOD, json_of(400))
            assert [ask(model) for _ in range(4)] == [HELLO, left_out, left_out, left_out]
        with pytest.raises(ModelAway, match="it takes trials, but no windows"):
            ask(model)


def test_a_trial_is_as_long_as_the_window_that_was_refused(origin: Origin) -> None:
    """A proxy that refuses long requests takes short trials, and the jobs wait until it is mended."""

    def refuse_long(exchange: Exchange) -> None:
        (json_of(413) if len(exchange.body) > 200_000 else GOOD)(exchange)

    origin.answers[ROUTE] = refuse_long
    with remote(origin, patience=0.5) as model:
        assert ask(model) == HELLO
        with pytest.raises(ModelAway, match=r"it answered 413 to 10\.0 s of speech"):
            ask(model, speech=LONG_SPEECH)
        sent = len(origin.bodies)
        until(lambda: len(origin.bodies) > sent)
        assert model.trouble()
        origin.answers[ROUTE] = GOOD
        until(lambda: model.trouble() is None)
        assert ask(model, speech=LONG_SPEECH) == HELLO


def test_a_window_that_a_firewall_forbids_is_left_out(origin: Origin) -> None:
    origin.answers[ROUTE] = in_turn(GOOD, json_of(403))
    with remote(origin, patience=1) as model:
        assert ask(model) == HELLO
        assert ask(model) == Written("", is_refused=True)
        assert model.trouble() is None


@pytest.fixture
def doubt_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.speech.remote.model.SILENCE_PROOF_SECONDS", 0.0)


@pytest.mark.usefixtures("doubt_at_once")
def test_a_server_that_writes_nothing_is_in_trouble(origin: Origin) -> None:
    origin.answers[ROUTE] = GOOD
    with remote(origin, patience=0.5) as model:
        assert ask(model) == HELLO
        wait_for_first_trial(model)
        origin.answers[ROUTE] = json_of(text=" <|nospeech|>")
        with pytest.raises(ModelAway, match="wrote nothing for speech"):
            ask(model, speech=LONG_SPEECH)


@pytest.mark.parametrize("speech", [SPEECH, LONG_SPEECH], ids=["short", "long"])
def test_silence_is_believed_of_a_server_that_writes_other_speech(origin: Origin, speech: Samples) -> None:
    origin.answers[ROUTE] = in_turn(json_of(text=""))
    with remote(origin) as model:
        assert ask(model, speech=speech) == Written("")
        assert model.trouble() is None


def test_doctor_says_that_a_server_writes_nothing(origin: Origin) -> None:
    origin.answers[ROUTE] = json_of(text="")
    assert "wrote nothing" in (asyncio.run(trial(Endpoint("far", origin.url("/v1"), "m", None))) or "")


def test_a_server_without_english_can_be_used(origin: Origin) -> None:
    def german_only(exchange: Exchange) -> None:
        (json_of(400) if b"\r\n\r\nen\r\n" in exchange.body else GOOD)(exchange)

    origin.answers[ROUTE] = german_only
    with remote(origin) as model:
        until(lambda: len(origin.bodies) == 2)
        assert ask(model, TextRequest("de")) == HELLO
        assert model.trouble() is None


def test_a_trial_waits_for_as_long_as_a_busy_server_asks(origin: Origin) -> None:
    busy: Answer = lambda exchange: exchange.whole(b"{}", 429, Retry_After="100")  # noqa: E731
    origin.answers[ROUTE] = busy
    with remote(origin) as model:
        until(lambda: len(origin.bodies) == 1)
        with pytest.raises(ModelAway, match="429"):
            ask(model)
        assert "429" in (model.trouble() or "")
        time.sleep(1.5)
        assert len(origin.bodies) == 1


def test_a_pause_of_a_busy_server_holds_for_trials_and_for_all_windows(origin: Origin) -> None:
    """Neither a trial nor an answer that was under way ends it."""
    busy: Answer = lambda exchange: exchange.whole(b"{}", 429, Retry_After="100")  # noqa: E731
    late = threading.Event()

    def answer_late(exchange: Exchange) -> None:
        late.wait(20)
        GOOD(exchange)

    origin.answers[ROUTE] = in_turn(answer_late, busy)
    with remote(origin, patience=1) as model:
        until(lambda: len(origin.bodies) == 1)
        under_way = threading.Thread(target=ask, args=(model,))
        under_way.start()
        until(lambda: len(origin.bodies) == 2)
        with pytest.raises(ModelAway, match="429"):
            ask(model)
        late.set()
        under_way.join(20)
        with pytest.raises(ModelAway, match="429"):
            ask(model)
        assert "429" in (model.trouble() or "")
        assert len(origin.bodies) == 3


@pytest.mark.parametrize("status", [401, 404, 500])
def test_one_bad_server_of_three_costs_no_window_and_no_prompt(origin: Origin, status: int) -> None:
    """All three are behind the same URL."""
    turn = itertools.count()

    def in_rotation(exchange: Exchange) -> None:
        (json_of(status) if next(turn) % 3 == 2 else GOOD)(exchange)

    origin.answers[ROUTE] = in_rotation
    with remote(origin) as model:
        assert [ask(model, TextRequest("en", "Acme")) for _ in range(12)] == [HELLO] * 12
    assert all(b"Acme" in body for body in origin.bodies if TRIAL not in body)


def test_no_cookie_binds_the_requests_to_one_of_several_servers(origin: Origin) -> None:
    origin.answers[ROUTE] = lambda exchange: exchange.whole(b'{"text": "Hello."}', Set_Cookie="server=1")
    with remote(origin) as model:
        assert [ask(model), ask(model)] == [HELLO, HELLO]
    assert not any("cookie" in headers for headers in origin.headers_of(ROUTE))


@pytest.mark.usefixtures("doubt_at_once")
def test_windows_that_a_hanging_server_left_wait_together(origin: Origin) -> None:
    """They share the trial that shows that it hangs."""
    together = threading.Barrier(6)

    def nothing(exchange: Exchange) -> None:
        together.wait(20)
        json_of(text="")(exchange)

    origin.answers[ROUTE] = in_turn(GOOD, nothing)
    ended: list[float] = []

    def write() -> None:
        with pytest.raises(ModelAway):
            ask(model, speech=LONG_SPEECH)
        ended.append(time.monotonic())

    with remote(origin, patience=1, timeout=2) as model:
        assert ask(model) == HELLO
        wait_for_first_trial(model)
        origin.answers[ROUTE] = in_turn(nothing, trial=Exchange.hang)
        threads = [threading.Thread(target=write) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert len(ended) == 6
    assert sum(TRIAL in body for body in origin.bodies) <= 3


def test_a_server_that_is_busy_at_the_start_is_not_in_trouble(origin: Origin) -> None:
    origin.answers[ROUTE] = in_turn(GOOD, trial=json_of(429))
    with remote(origin) as model:
        until(lambda: len(origin.bodies) == 1)
        assert ask(model) == HELLO
        assert model.trouble() is None


def test_a_server_that_is_busy_for_long_but_answers_others_is_borne_with(origin: Origin) -> None:
    origin.answers[ROUTE] = in_turn(json_of(429), json_of(429), GOOD, json_of(429), json_of(429), GOOD)
    with remote(origin, patience=2.5) as model:
        threads = [threading.Thread(target=ask, args=(model,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert model.trouble() is None


def test_a_window_that_is_refused_among_others_holds_nobody_up(origin: Origin) -> None:
    """Ten windows of a call are always refused. Those of another call are taken meanwhile."""
    origin.answers[ROUTE] = refuse_long_windows
    with remote(origin, patience=2) as model:
        written: list[Written] = []
        threads = [threading.Thread(target=lambda: written.append(ask(model, speech=LONG_SPEECH))) for _ in range(10)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            assert ask(model) == HELLO
        assert written == [Written("", is_refused=True)] * 10
        assert model.trouble() is None


def test_a_call_that_is_refused_as_a_whole_does_not_take_a_minute_for_each_window(origin: Origin) -> None:
    origin.answers[ROUTE] = refuse_long_windows
    with remote(origin, patience=15) as model:
        sent: list[int] = []
        for _ in range(2):
            before, over = len(origin.bodies), threading.Event()

            def write_others(over: threading.Event = over) -> None:
                while not over.wait(0.05):
                    ask(model)

            others = threading.Thread(target=write_others)
            others.start()
            assert ask(model, speech=LONG_SPEECH).is_refused
            over.set()
            others.join(20)
            sent.append(sum(len(body) > 200_000 and TRIAL not in body for body in origin.bodies[before:]))
        assert sent[0] >= 12
        assert sent[1] < sent[0] / 2


def test_a_slow_server_gets_fewer_requests_at_the_same_time(origin: Origin) -> None:
    """It works on one request after the other, and eight of them take longer than the timeout."""
    one_by_one = threading.Lock()

    def slowly(exchange: Exchange) -> None:
        with one_by_one:
            time.sleep(0.2)
        GOOD(exchange)

    origin.answers[ROUTE] = slowly
    with remote(origin, patience=10, timeout=1.2) as model:
        written: list[Written] = []
        threads = [threading.Thread(target=lambda: written.append(ask(model))) for _ in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert written == [HELLO] * 24


def test_an_unexpected_error_in_a_trial_does_not_end_the_trials(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.answers[ROUTE] = json_of(500)
    with remote(origin, patience=0.5) as model:
        until(lambda: model.trouble() is not None)
        with monkeypatch.context() as patched:
            patched.setattr(RemoteClient, "try_out", lambda *_: 1 / 0)
            time.sleep(1.5)
        origin.answers[ROUTE] = GOOD
        until(lambda: model.trouble() is None)


def test_half_a_character_is_part_of_a_text(origin: Origin) -> None:
    origin.answers[ROUTE] = lambda exchange: exchange.whole(b'\xef\xbb\xbf{"text": "Hello \\ud83d"}')
    with remote(origin) as model:
        assert ask(model) == Written("Hello")


def test_a_window_that_nobody_waits_for_is_not_sent_again(origin: Origin) -> None:
    wanted = True

    def fail_once(exchange: Exchange) -> None:
        nonlocal wanted
        wanted = False
        json_of(500)(exchange)

    origin.answers[ROUTE] = in_turn(fail_once)
    with remote(origin, patience=30) as model, pytest.raises(ModelAway, match="nobody waits"):
        ask(model, TextRequest("en", is_wanted=lambda: wanted))
    assert sum(TRIAL not in body for body in origin.bodies) == 1


def test_a_window_that_nobody_waits_for_gives_its_turn_up(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.speech.remote.model.LOOK_SECONDS", 0.1)
    let_go = threading.Event()

    def late(exchange: Exchange) -> None:
        let_go.wait(20)
        GOOD(exchange)

    origin.answers[ROUTE] = in_turn(late)
    with remote(origin, patience=30, timeout=30, concurrency=1) as model:
        first = threading.Thread(target=ask, args=(model,))
        first.start()
        until(lambda: len(origin.bodies) == 2)
        with pytest.raises(ModelAway, match="nobody waits"):
            ask(model, TextRequest("en", is_wanted=lambda: False))
        let_go.set()
        first.join(20)
    assert len(origin.bodies) == 2


def test_no_request_is_lost_if_it_comes_while_the_model_closes(origin: Origin) -> None:
    origin.answers[ROUTE] = GOOD

    def write_until_closed(model: RemoteModel) -> None:
        with suppress(ModelAway):
            while True:
                ask(model)

    for attempt in range(20):
        with remote(origin) as model:
            threads = [threading.Thread(target=write_until_closed, args=(model,)) for _ in range(8)]
            for thread in threads:
                thread.start()
            time.sleep(0.01 + attempt / 1000)
            model.close()
            for thread in threads:
                thread.join(20)
            assert not any(thread.is_alive() for thread in threads)


def test_a_request_that_hangs_does_not_hold_up_the_end(origin: Origin) -> None:
    origin.answers[ROUTE] = Exchange.hang
    ended: list[BaseException] = []

    def write() -> None:
        try:
            ask(model)
        except ModelAway as away:
            ended.append(away)

    with remote(origin, timeout=60) as model:
        thread = threading.Thread(target=write)
        thread.start()
        until(lambda: len(origin.bodies) == 2)
        began = time.monotonic()
        model.close()
        thread.join(5)
    assert ended
    assert time.monotonic() - began < 5
    with pytest.raises(ModelAway):
        ask(model)


def test_no_proxy_of_the_environment_is_used(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    origin.answers[ROUTE] = GOOD
    with remote(origin) as model:
        assert ask(model) == HELLO


def test_many_windows_are_in_flight_at_the_same_time(origin: Origin) -> None:
    together = threading.Barrier(4)

    def meet(exchange: Exchange) -> None:
        if not is_trial(exchange):
            together.wait(20)
        GOOD(exchange)

    origin.answers[ROUTE] = meet
    with remote(origin, timeout=30) as model:
        threads = [threading.Thread(target=ask, args=(model,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert model.trouble() is None
    assert not together.broken


def test_no_error_repeats_what_a_server_has_sent(origin: Origin) -> None:
    def broken(exchange: Exchange) -> None:
        exchange.wfile.write(b"what the caller said\r\n\r\n")

    origin.answers[ROUTE] = broken
    with remote(origin, patience=0.5) as model:
        with pytest.raises(ModelAway, match="does not keep to HTTP") as away:
            ask(model)
        assert "caller" not in str(away.value)
