"""What is taken out of a transcript, and what stays."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.privacy.redaction import redact
from app.transcripts.entities import Entity
from app.transcripts.transcript import Segment, Transcript, Word
from tests.privacy.said import transcript_of

ALL = frozenset(Entity)


def text_of(*turns: str, language: str = "en", spaces: bool = True) -> str:
    return redact(transcript_of(*turns, language=language, spaces=spaces), ALL).transcript.text


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("My card number is 4242 4242 4242 4242.", "My card number is [CREDIT_DEBIT_NUMBER]."),
        ("It is 4-9 -7-0-10-3-7-22-88-6-405, okay", "It is [CREDIT_DEBIT_NUMBER], okay"),
        ("five five five zero one four two seven three nine", "[NUMBER]"),
        ("Call me at double five five oh one four two seven.", "Call me at [PHONE]."),
        ("Call me at +44 7700 900 461.", "Call me at +[PHONE]."),
        ("The code on the back is 737.", "The code on the back is [CREDIT_DEBIT_CVV]."),
        ("My PIN is eight eight four one, I think.", "My PIN is [PIN], I think."),
        ("It is 8 8 4 1, but do not write it down.", "It is [NUMBER], but do not write it down."),
        ("My passport is twelve, AB 40291.", "My passport is [ID_NUMBER]."),
        ("My IBAN is GB29, NWBK6016, 1331, 926819.", "My IBAN is [BANK_ACCOUNT_NUMBER]."),
        ("My user name is lee underscore 99. Thanks", "My user name is [EMAIL]. Thanks"),
        ("The CVV 123, the PIN: 4711", "The CVV [CREDIT_DEBIT_CVV], the PIN: [PIN]"),
        ("What's the CVV? 123.", "What's the CVV? [CREDIT_DEBIT_CVV]."),
        ("Mail anna@firma.se or a.b@company.com.au.", "Mail [EMAIL] or [EMAIL]."),
        ("My email is john at acme dot tech, thanks.", "My email is [EMAIL], thanks."),
        ("It expires May 27. 4242 4242 4242 4242", "It expires May 27. [CREDIT_DEBIT_NUMBER]"),
        ("In May 2027 4242 4242 4242 4242", "In May 2027 [CREDIT_DEBIT_NUMBER]"),
        ("My phone, if I may, 415 555 2671", "My phone, if I may, [PHONE]"),
        ("My phone is 4155552671 minutes", "My phone is [PHONE] minutes"),
        ("My card 4242 4242 4242 4242 second card", "My card [CREDIT_DEBIT_NUMBER] second card"),
        ("Call me on 415, I think, yes, 415, or 5552", "Call me on [PHONE], I think, yes, [PHONE], or [PHONE]"),
        ("Hello, my name is, um, Maria Gonzalez", "Hello, my name is, um, [NAME]"),
        ("It's 4 2 4 2", "It's [NUMBER]"),
        ("My IBAN is G B 29 N W B K 6016 1331 9268 19.", "My IBAN is [BANK_ACCOUNT_NUMBER]."),
        ("My email is john dot smith at example dot com.", "My email is [EMAIL]."),
        ("Send it to anna_lee77@mail.example.co.uk please", "Send it to [EMAIL] please"),
        ("I was born on the third of May 1984.", "I was born on the [DATE_OF_BIRTH]."),
        ("I live at 48 Maple Street, Springfield.", "I live at [ADDRESS]."),
        ("Hello, my name is Daniel Carter, hi.", "Hello, my name is [NAME], hi."),
        ("Hi, I am Daniel Carter from Leeds.", "Hi, I am [NAME] from Leeds."),
        ("I spell it S-A-T-I-double-L-E.", "I spell it [NAME]."),
        ("That is S. I. T. I. L.", "That is [NAME]."),
        ("With B, R, O, W, N please.", "With [NAME], please."),
    ],
)
def test_what_is_private_gives_way_to_its_name(said: str, left: str) -> None:
    assert text_of(said) == left


@pytest.mark.parametrize(
    "said",
    [
        "It costs 1,234,567.89 dollars.",
        "That is $ 1,234,567 in all.",
        "We met on 2026-11-28 at 14:30.",
        "On March 12, 2025 I paid 250 pounds for 24 months.",
        "Between 8 a.m. and 10 a.m. or between 3 p.m. and 5 p.m.?",
        "You get 15 percent for 24 months and 30 percent for 36 months.",
        "Room 412 is on the fourth floor.",
        "I called two or three times.",
        "One of us, no one else, and then one more.",
        "I am a customer of the A.B.C. and of NASA.",
        "I'm American, and I am Catholic.",
        "I, I, I, I think that it is plan B.",
        "The price changed between 2024 and 2025.",
        "From 2019, 2020 to 2021 we grew.",
        "I count 1, 2, 3, 4, 5, 6, 7, 8, and then I jump.",
        "In 1999, 2000, 2001 and 2002 we sold it.",
        "I paid 1 234 567 euros on May 3, 2024, and on 4 May 24.",
    ],
)
def test_prices_dates_times_and_counts_stay(said: str) -> None:
    assert text_of(said) == said


def test_a_number_goes_on_after_the_other_side_has_spoken() -> None:
    call = transcript_of("What is the long number?", "4929", "Yes.", "88 15", "Okay.", "33 20 07 16")
    result = redact(call, ALL)
    assert [segment.text for segment in result.transcript.segments] == [
        "What is the long number?",
        "[CREDIT_DEBIT_NUMBER]",
        "Yes.",
        "[CREDIT_DEBIT_NUMBER]",
        "Okay.",
        "[CREDIT_DEBIT_NUMBER]",
    ]
    assert {(each.channel, each.span.start, each.span.end) for each in result.removed} == {
        (1, segment.start, segment.end) for segment in call.segments[1::2]
    }


def test_the_question_of_the_other_side_announces_a_short_number() -> None:
    assert text_of("What is your PIN?", "It is 88 41.") == "What is your PIN? It is [PIN]."


def test_a_segment_of_which_nothing_is_left_becomes_part_of_the_one_before() -> None:
    call = transcript_of(["My card is 4242 4242", "4242 4242."])
    [segment] = redact(call, ALL).transcript.segments
    assert (segment.id, segment.text, segment.end) == (0, "My card is [CREDIT_DEBIT_NUMBER].", call.segments[1].end)
    assert segment.words is not None
    assert "".join(word.word for word in segment.words).strip() == segment.text


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        ({Entity.PHONE}, "My PIN is 8841 and my phone is [PHONE]."),
        ({Entity.PIN}, "My PIN is [PIN] and my phone is 555 014 2739."),
        ({Entity.NUMBER}, "My PIN is 8841 and my phone is [NUMBER]."),
        ({Entity.EMAIL}, "My PIN is 8841 and my phone is 555 014 2739."),
    ],
)
def test_only_what_is_wanted_is_taken_out(wanted: set[Entity], left: str) -> None:
    call = transcript_of("My PIN is 8841 and my phone is 555 014 2739.")
    assert redact(call, wanted).transcript.text == left


def test_a_long_number_that_nothing_announced_goes_if_it_may_be_what_is_wanted() -> None:
    call = transcript_of("It is 555 014 2739.")
    assert redact(call, {Entity.PHONE}).transcript.text == "It is [PHONE]."
    assert redact(call, {Entity.PIN}).transcript.text == "It is 555 014 2739."


@pytest.mark.parametrize(
    ("language", "said", "left"),
    [
        ("fr", "C'est jean point dupont à Roba exemple point com, merci.", "C'est [EMAIL], merci."),
        ("fr", "Le numéro est 49 29 et D'accord.", "Le numéro est [NUMBER] et D'accord."),
        ("fr", "Alors 4 9 2 9 8 8 en 5, 3 20.", "Alors [NUMBER]."),
        ("pt", "É maria lopes a roba gemelo ponto com.", "É [EMAIL]."),
        ("de", "Meine Nummer ist eins zwei fünf vier drei acht neun.", "Meine Nummer ist [NUMBER]."),
        ("de", "Die PIN ist fünf fünf acht zwei.", "Die PIN ist [PIN]."),
        ("fr", "zéro six zéro six zéro six zéro six", "[NUMBER]"),
        ("es", "Mi teléfono es seis uno dos veintidós treinta y tres dieciséis.", "Mi teléfono es [PHONE]."),
        ("de", "Die Prüfmunger ist 37.", "Die Prüfmunger ist [CREDIT_DEBIT_CVV]."),
        ("ru", "Мой номер 4276 1234 5678 9012.", "Мой номер [NUMBER]."),
        ("ar", "رقمي هو ٠١٢٣٤٥٦٧٨٩", "رقمي هو [PHONE]"),
    ],
)
def test_languages_have_words_of_their_own(language: str, said: str, left: str) -> None:
    assert text_of(said, language=language) == left


def test_a_call_may_have_very_many_private_numbers() -> None:
    call = transcript_of(*["my card number is 4242 4242, born 4 May 1984"] * 2000)
    text = redact(call, ALL).transcript.text
    assert (text.count("[CREDIT_DEBIT_NUMBER]"), text.count("[DATE_OF_BIRTH]")) == (2000, 2000)
    assert not any(map(str.isdecimal, text))


def test_terms_are_found_although_they_are_misspelled() -> None:
    call = transcript_of("Mr Sattelli, so you are Jack Satelli from Berlin?")
    assert redact(call, set(), ("Satelli",)).transcript.text == "Mr [NAME], so you are Jack [NAME] from Berlin?"


@pytest.mark.parametrize(
    ("terms", "said", "left"),
    [
        (["José Müller"], "So jose mueller, or Jose Muler.", "So [NAME], or [NAME]."),
        (["Satelli"], "Is it Sat Elli?", "Is it [NAME]?"),
        (["O'Brien"], "Mr O'Brien, please.", "Mr [NAME], please."),
        (["Jack Satelli", "Jack"], "Yes, Jack Satelli, hello Jack.", "Yes, [NAME], hello [NAME]."),
        (["a", ".", " "], "I am a customer.", "I am a customer."),
    ],
)
def test_terms_may_be_written_in_other_ways(terms: list[str], said: str, left: str) -> None:
    assert redact(transcript_of(said), set(), terms).transcript.text == left


def test_a_transcript_without_words_loses_the_same_text() -> None:
    call = transcript_of("My card number is 4242 4242 4242 4242, thanks.")
    bare = replace(call, segments=tuple(replace(segment, words=None) for segment in call.segments))
    result = redact(bare, ALL)
    assert result.transcript.text == "My card number is [CREDIT_DEBIT_NUMBER], thanks."
    [removed] = result.removed
    assert (removed.span.start, removed.span.end) == (call.segments[0].start, call.segments[0].end)


def test_nothing_changes_if_nothing_is_private() -> None:
    call = transcript_of("Good morning.", "I want to know when my delivery comes.")
    assert redact(call, ALL).transcript == call


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), min_size=1, max_size=6), st.data())
def test_any_text_keeps_its_segments_in_order(texts: list[str], data: st.DataObject) -> None:
    said = [text for text in texts if text.split()]
    if not said:
        return
    language = data.draw(st.sampled_from(["en", "zh", "ja", "de", "xx"]))
    call = transcript_of(*said, language=language)
    result = redact(call, ALL)
    segments = result.transcript.segments
    assert [segment.id for segment in segments] == list(range(len(segments)))
    assert all(0 <= each.span.start <= each.span.end <= call.duration for each in result.removed)
    assert all(segment.text == "".join(word.word for word in segment.words or ()).strip() for segment in segments)
    assert bool(result.removed) is (result.transcript.text != call.text)


@pytest.mark.parametrize("language", ["en", "ru", "ar", "ko", "hi", "yue", "th", "", "??"])
@pytest.mark.parametrize("zero", ["0", "\u0660", "\u0966", "\uff10", "\U0001d7ce"], ids=ascii)
def test_digits_of_any_script_are_found_in_any_language(language: str, zero: str) -> None:
    number = "".join(chr(ord(zero) + int(digit)) for digit in "5550142739")
    assert digits(redact(transcript_of(f"{number[:3]} {number[3:]} !", language=language), ALL).transcript) == ""


ODD = "0٠०０①²⅔½㉑5\ufe0f\u20e3ⅷ\u0301ßİ№℡\x01\x85\u200d\u202e👍🏽点五十万@.,-$%' aBé五さん"
WORDS = ("five", "million", "double", "at", "dot", "com", "cinq", "zweiundzwanzig", "March", "pin", "my name is", "999")


@given(
    st.lists(
        st.lists(st.text(st.sampled_from(ODD), max_size=6) | st.sampled_from(WORDS), max_size=12),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([*"en es fr de it pt zh ja nl da yue ru ar".split(), "", None]),
    st.sampled_from(["words", "none", "empty", "other"]),
)
def test_no_transcript_makes_it_fail(said: list[list[str]], language: str, form: str) -> None:
    segments = []
    for number, words in enumerate(said):
        own = tuple(Word(number, number + 1.0, f" {word}") for word in words)
        text = "".join(word.word for word in own).strip()
        given_words = {"none": None, "empty": ()}.get(form, own)
        if form == "other":
            text = f"{text} 5550142739"
        segments.append(Segment(number, number % 2, "", number, number + 1.0, text, language, words=given_words))
    left = redact(Transcript(language, 1.0, 9.0, (), tuple(segments)), ALL, ("Satelli", "李")).transcript
    assert form != "other" or not any(said) or "5550142739" not in left.text


def test_a_panic_of_the_library_of_numbers_leaves_written_numbers_to_find(monkeypatch: pytest.MonkeyPatch) -> None:
    panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})

    def panics(*_: object) -> None:
        raise panic("bad")

    monkeypatch.setattr("app.privacy.numbers.find_numbers", panics)
    assert text_of("It is 555 014 2739.") == "It is [NUMBER]."


def digits(call: Transcript) -> str:
    return "".join(filter(str.isdecimal, call.text))


@given(st.lists(st.integers(4, 9), min_size=7, max_size=24), st.data())
def test_no_way_to_write_a_long_number_keeps_a_digit(number: list[int], data: st.DataObject) -> None:
    text = "".join(f"{digit}{data.draw(st.sampled_from(['', ' ', '-', ', ', ' - ', '. ']))}" for digit in number)
    assert digits(redact(transcript_of(f"It is {text} okay"), ALL).transcript) == ""
