from dataclasses import replace
from math import inf, nan

import pytest

from app.speech.plausibility import echoes, repeats
from app.speech.whisper.gates import Hypothesis, Try, Verdict, judge, likeliest, most_tokens, tries

GOOD = Hypothesis("Thank you for calling, how can I help you today?", tuple(range(12)), -0.2, 0.05, 0.0)


def test_plain_speech_is_accepted() -> None:
    assert judge(GOOD, seconds=4) is Verdict.ACCEPTED


@pytest.mark.parametrize("text", ["", "Thank you."])
@pytest.mark.parametrize("avg_logprob", [nan, -inf])
def test_a_likelihood_that_is_not_a_number_is_broken(avg_logprob: float, text: str) -> None:
    assert judge(replace(GOOD, text=text, avg_logprob=avg_logprob), seconds=4) is Verdict.BROKEN


def test_an_unlikely_text_is_doubtful() -> None:
    assert judge(replace(GOOD, avg_logprob=-1.1), seconds=4) is Verdict.DOUBTFUL


def test_an_unlikely_text_without_speech_is_silence() -> None:
    assert judge(replace(GOOD, avg_logprob=-1.1, no_speech_prob=0.7), seconds=4) is Verdict.SILENT


def test_a_likely_text_is_kept_even_if_speech_is_unlikely() -> None:
    assert judge(replace(GOOD, no_speech_prob=0.9), seconds=4) is Verdict.ACCEPTED


def test_no_text_is_silence_if_no_speech_is_heard_or_the_window_is_short() -> None:
    nothing = replace(GOOD, text="", tokens=())

    assert judge(replace(nothing, no_speech_prob=0.7), seconds=15) is Verdict.SILENT
    assert judge(nothing, seconds=1) is Verdict.SILENT
    assert judge(nothing, seconds=15) is Verdict.BROKEN


def test_more_text_than_a_person_speaks_is_broken() -> None:
    fast = replace(GOOD, text="".join(chr(0x4E00 + number) for number in range(150)))

    assert judge(fast, seconds=2) is Verdict.BROKEN
    assert judge(fast, seconds=4) is Verdict.ACCEPTED


def test_scripts_that_take_many_tokens_and_bytes_are_accepted() -> None:
    """Ordinary Hindi has 259 tokens in 18 seconds and three bytes for each letter, and two of the three hardly vary."""
    text = (
        "नमस्ते मेरा नाम राहुल है और मैं अपने ऑर्डर के बारे में बात करना चाहता हूँ। मैंने पिछले सोमवार को एक मेज मंगवाई थी "
        "लेकिन वह अभी तक नहीं आई है। क्या आप बता सकते हैं कि वह कब तक पहुंचेगी? मुझे शुक्रवार से पहले उसकी जरूरत है क्योंकि "
        "उस दिन हमारे घर मेहमान आ रहे हैं। क्या आप मुझे फोन पर बता सकते हैं कि मेज कब आएगी?"
    )
    hindi = replace(GOOD, text=text, tokens=tuple(range(259)))

    assert hindi.compression_ratio > 2.4
    assert judge(hindi, seconds=18) is Verdict.ACCEPTED


def test_a_text_that_compresses_too_well_is_broken() -> None:
    text = "I will take a look at it in a moment, and then I will take a look at the other one. " * 3

    assert judge(replace(GOOD, text=text), seconds=20) is Verdict.BROKEN


@pytest.mark.parametrize(
    "text",
    [
        "you you you you you you you you you",
        "thank you, thank you, thank you, thank you, thank you, thank you, thank you",
        "Hello. I see what you mean. I see what you mean. I see what you mean. I see what you mean.",
        "ご視聴ありがとうございました" * 4,
    ],
)
def test_loops_are_found(text: str) -> None:
    assert repeats(text)


@pytest.mark.parametrize(
    "text",
    [
        "No, no, no, no, that is not what I meant.",
        "My number is zero zero zero, five five five, zero zero zero.",
        "Yes, yes, thank you, thank you very much, bye, bye bye.",
        "はい、はい、はい、わかりました",
        "一二三四五六七八九十",
        "",
    ],
)
def test_natural_repetitions_are_not_loops(text: str) -> None:
    assert not repeats(text)


def test_a_text_from_the_prompt_is_an_echo() -> None:
    prompt = "Callscribe, Green Garden Store, call about a garden table"

    assert echoes("Green garden store. Call about", prompt)
    assert not echoes("Green garden store", prompt)
    assert not echoes("A call about a green garden table", prompt)
    assert not echoes("Call about a garden tableau", prompt)
    assert judge(replace(GOOD, text="Call about a garden table."), seconds=4, bias=prompt) is Verdict.BROKEN


def test_the_likeliest_failed_attempt_that_is_not_broken_is_kept() -> None:
    bad, worse = replace(GOOD, avg_logprob=-1.2), replace(GOOD, avg_logprob=-1.9)
    loop = replace(GOOD, avg_logprob=-0.1)

    assert likeliest([(worse, Verdict.DOUBTFUL), (loop, Verdict.BROKEN), (bad, Verdict.DOUBTFUL)], seconds=4) == bad
    assert likeliest([(loop, Verdict.BROKEN)], seconds=4) is None


def test_a_text_that_was_cut_off_is_broken() -> None:
    assert judge(replace(GOOD, cut=True), seconds=4) is Verdict.BROKEN


def test_a_failed_window_is_tried_with_full_context_and_then_at_all_temperatures_in_one_batch() -> None:
    assert tries(20, prompted=True) == (
        Try(20, (0.0,), prompted=True),
        Try(30, (0.0,), prompted=False),
        Try(30, (0.2, 0.4, 0.6, 0.8, 1.0), prompted=False),
    )


def test_no_window_is_recognized_twice_in_the_same_way() -> None:
    ways = tries(30, prompted=False)

    assert len(set(ways)) == len(ways) == 2


def test_the_bound_grows_with_the_speech_and_with_the_tokens_of_a_letter() -> None:
    assert [most_tokens(seconds, 0.45) for seconds in (0, 1, 10, 18)] == [22, 38, 184, 314]
    assert most_tokens(10, 0.9) == 368


@pytest.mark.parametrize(("no_speech", "least"), [(0.1, -1.0), (0.3, -0.9), (0.7, -0.8)])
def test_words_that_may_be_a_sound_must_be_surer(no_speech: float, least: float) -> None:
    heard = replace(GOOD, no_speech_prob=no_speech)

    assert judge(replace(heard, avg_logprob=least + 0.01), seconds=4) is Verdict.ACCEPTED
    assert judge(replace(heard, avg_logprob=least - 0.01), seconds=4) is Verdict.DOUBTFUL


def test_no_doubtful_text_is_kept_of_a_window_that_may_hold_a_sound() -> None:
    doubtful, sound = replace(GOOD, avg_logprob=-1.2), replace(GOOD, avg_logprob=-1.2, no_speech_prob=0.4)

    assert likeliest([(doubtful, Verdict.DOUBTFUL)], seconds=4) is doubtful
    assert likeliest([(sound, Verdict.DOUBTFUL), (doubtful, Verdict.DOUBTFUL)], seconds=4) is None


def test_a_short_window_may_hold_one_word_of_which_the_model_is_not_sure() -> None:
    heard = replace(GOOD, avg_logprob=-0.95, no_speech_prob=0.3)

    assert judge(heard, seconds=1.5) is Verdict.ACCEPTED
    assert likeliest([(heard, Verdict.DOUBTFUL)], seconds=1.5) is heard
    assert judge(heard, seconds=4) is Verdict.DOUBTFUL
