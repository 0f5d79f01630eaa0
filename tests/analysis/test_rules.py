"""Categories in calls: phrases by words, stretches, facts, language and metadata."""

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from app.analysis.rules import phrases
from app.analysis.rules.applying import apply
from app.analysis.rules.call import Call
from app.analysis.rules.definitions import Category, Definitions, checked_name, stored
from app.analysis.rules.results import CategoryResult
from app.errors import InvalidRequest
from app.transcripts.series import level_of, packed
from app.transcripts.transcript import Channel, ChannelTalk, Hold, Overlap, Segment, Span, Talk, Transcript

ROLES = ("agent", "customer")


def call(
    *said: tuple[int, float, str],
    talk: Talk | None = None,
    language: str = "en",
    roles: Sequence[str] = ROLES,
    duration: float = 100.0,
    **metadata: Any,
) -> Call:
    """A call in which each channel says something for two seconds."""
    segments = tuple(
        Segment(number, channel, roles[channel], start, start + 2, text, language)
        for number, (channel, start, text) in enumerate(said)
    )
    channels = tuple(Channel(index, label, language, 1.0, 10.0) for index, label in enumerate(roles))
    transcript = Transcript(language, 1.0, duration, channels, segments, talk=talk or Talk())
    return Call.of(transcript, metadata)


def found(call: Call, **definition: Any) -> CategoryResult | None:
    """The category if the call is in it."""
    category = Category.model_validate(definition)
    assert Category.model_validate(stored(category)) == category
    results = apply(call, Definitions({"it": category}))
    return results.categories[0] if results.categories else None


def places(call: Call, **definition: Any) -> list[tuple[int | None, str | None]]:
    result = found(call, **definition)
    return [] if result is None else [(match.turn, match.text) for match in result.matches]


CALL = call(
    (0, 0, "Good morning, thank you for calling."),
    (1, 3, "Hello, I want a REFUND for my order."),
    (0, 8, "I am sorry to hear that."),
    (1, 90, "Thank you. Refunds take long."),
)


def test_the_contract_s_example_finds_what_the_customer_says() -> None:
    result = found(CALL, role="customer", any_of=["refund"])
    assert result is not None
    assert result.sure
    [match] = result.matches
    assert (match.condition, match.turn, match.start, match.end, match.text, match.score) == (
        "any_of",
        2,
        3,
        5,
        "refund",
        1.0,
    )
    assert found(CALL, role="agent", any_of=["refund"]) is None


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ({"any_of": ["refund*"]}, [(2, "refund*"), (4, "refund*")]),
        ({"any_of": ["thank you"]}, [(1, "thank you"), (4, "thank you")]),
        ({"any_of": ["thank you"], "first_seconds": 30}, [(1, "thank you")]),
        ({"any_of": ["thank you"], "last_seconds": 30}, [(4, "thank you")]),
        ({"any_of": ["thank you"], "from_percent": 50, "to_percent": 90}, []),
        ({"any_of": ["thank you"], "from_percent": 90}, [(4, "thank you")]),
        ({"any_of": ["thank you"], "to_percent": 90}, [(1, "thank you")]),
        ({"any_of": ["you thank"]}, []),
        ({"any_of": ["fund"]}, []),
        ({"all_of": ["refund", "sorry"]}, [(2, "refund"), (3, "sorry")]),
        ({"all_of": ["refund", "cancel"]}, []),
        ({"all_of": ["a refund for my order"]}, [(2, "a refund for my order")]),
        ({"any_of": ["take lo*"]}, [(4, "take lo*")]),
        ({"any_of": ["refund"], "also": [{"role": "agent", "any_of": ["sorry"]}]}, [(2, "refund"), (3, "sorry")]),
        ({"any_of": ["refund"], "also": [{"role": "agent", "any_of": ["refund"]}]}, []),
        ({"any_of": ["refund"], "none_of": ["lawyer"]}, [(2, "refund")]),
        ({"any_of": ["refund"], "none_of": ["order"]}, []),
    ],
)
def test_phrases_are_found_by_their_words(
    definition: dict[str, Any], expected: list[tuple[int | None, str | None]]
) -> None:
    assert places(CALL, **definition) == expected


def test_phrases_that_need_too_many_steps_are_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a tenant with very many phrases does not keep the calls of others waiting."""
    monkeypatch.setattr(phrases, "MOST_STEPS", 20)
    definitions = {"first": Category(any_of=["refund"]), "many": Category(none_of=["no"] * 30)}
    results = apply(CALL, Definitions(definitions))
    assert [each.name for each in results.categories] == ["first"]
    assert results.trouble is not None


def test_a_phrase_that_is_said_all_the_time_is_found_fifty_times() -> None:
    result = found(call(*((0, 10.0 * at, "Yes, yes.") for at in range(60)), duration=700), any_of=["yes"])
    assert result is not None
    assert len(result.matches) == 50


def test_what_was_not_said_is_a_category_without_matches() -> None:
    result = found(CALL, role="agent", none_of=["anything else"], last_seconds=60)
    assert result is not None
    assert result.sure
    assert result.matches == ()


def test_nothing_is_known_about_a_role_that_no_channel_has() -> None:
    mixed = call((0, 0, "Hello."), roles=["channel_0"])
    assert found(mixed, role="agent", none_of=["good morning"]) is None
    assert found(mixed, none_of=["good morning"]) is not None
    assert found(call((0, 0, "Hello"), roles=["Agent", "B"]), role="agent", any_of=["hello"]) is not None


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("我想退款,谢谢。", "退款"),
        ("我 想 退 款", "退款"),
        ("返金をお願いします", "返金"),
        ("ขอเงินคืนได้ไหมครับ", "เงินคืน"),
        ("환불해 주세요", "환불"),
        ("我要 iPhone 15 的退款", "iphone 15"),
        ("我想退錢,謝謝妳", "谢谢你"),
        ("请您看着办", "看著辦"),
        ("Rückerstattung bitte", "ruckerstattung"),
        ("C'est l'été", "l'ete"),
    ],
)
def test_phrases_are_found_in_scripts_without_spaces_and_without_accents(text: str, phrase: str) -> None:
    assert places(call((1, 0, text)), any_of=[phrase]) == [(1, phrase)]


def test_a_phrase_goes_on_behind_what_the_other_says() -> None:
    spoken = call((1, 0, "I want my money"), (0, 1, "Mm-hm."), (1, 3, "back today."))
    assert places(spoken, any_of=["money back"]) == [(1, "money back")]
    assert places(call((1, 0, "my money"), (1, 9, "back")), any_of=["money back"]) == []
    assert places(call((1, 0, "my money"), (0, 1, "back")), any_of=["money back"]) == []


TALK = Talk(
    interruptions=3,
    channels=(ChannelTalk(0, 40.0, 0.8, 3, None), ChannelTalk(1, 10.0, 0.2, 0, None)),
    holds=(Hold(10.0, 25.0, "silence"), Hold(60.0, 95.0, "sound")),
)


@pytest.mark.parametrize(
    ("definition", "holds"),
    [
        ({"role": "agent", "talk_share": {"at_least": 0.7}}, True),
        ({"role": "customer", "talk_share": {"at_least": 0.7}}, False),
        ({"role": "agent", "interruptions": {"at_least": 3}}, True),
        ({"role": "customer", "interruptions": {"at_least": 1}}, False),
        ({"interruptions": {"at_least": 1, "at_most": 3}}, True),
        ({"role": "visitor", "talk_share": {"at_most": 1}}, False),
        ({"role": "agent", "words_per_minute": {"at_least": 1}}, False),
        ({"hold": {"longer_than": 30}}, True),
        ({"hold": {"longer_than": 30}, "last_seconds": 30}, False),
        ({"silence": {"longer_than": 30}}, False),
        ({"silence": {"longer_than": 12}, "first_seconds": 20}, True),
        ({"duration": {"at_least": 100}}, True),
        ({"duration": {"at_most": 99}}, False),
        ({"language": "English"}, True),
        ({"language": ["de", "fr-FR"]}, False),
        ({"metadata": {"queue": "billing"}}, True),
        ({"metadata": {"queue": ["sales", "billing"], "vip": "true", "level": "2", "tags": "b"}}, True),
        ({"metadata": {"queue": "sales"}}, False),
        ({"metadata": {"other": "null"}}, False),
    ],
)
def test_facts_language_and_metadata(definition: dict[str, Any], holds: bool) -> None:
    subject = call((0, 0, "Hi"), talk=TALK, queue="billing", vip=True, level=2, tags=["a", "b"], other=None)
    assert (found(subject, **definition) is not None) is holds


def test_matches_of_stretches_and_facts_say_where_and_how_much() -> None:
    result = found(
        call((0, 0, "Hi"), talk=TALK),
        role="agent",
        any_of=["hi"],
        talk_share={"at_least": 0.5},
        hold={"longer_than": 30},
    )
    assert result is not None
    shown = [(match.condition, match.turn, match.start, match.value) for match in result.matches]
    assert shown == [("any_of", 1, 0, None), ("hold", 1, 60.0, 35.0), ("talk_share", None, None, 0.8)]


def test_a_category_has_a_limited_number_of_matches() -> None:
    result = found(call(*((0, number * 3.0, "yes yes") for number in range(100)), duration=300), any_of=["yes"])
    assert result is not None
    assert len(result.matches) == 50


LOUD = Talk(
    channels=(
        ChannelTalk(0, 4.0, 0.5, 0, Span(0, 2), packed_loudness=packed(map(level_of, [-30] * 12))),
        ChannelTalk(1, 4.0, 0.5, 2, Span(3, 6), packed_loudness=packed(map(level_of, [-40] * 6 + [-10] * 6))),
    ),
    interruptions=3,
    overlaps=3,
    overlap_instances=(
        Overlap(3.0, 4.0, 1, (0,), is_interruption=True),
        Overlap(7.0, 7.5, 0, (1,), is_interruption=False),
        Overlap(9.2, 9.9, 1, (0,), is_interruption=True),
    ),
)
SHOUTED = call((0, 0, "Hello."), (1, 3, "I wait."), (0, 6, "Sorry."), (1, 9, "I wait!"), talk=LOUD)


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ({"role": "customer", "loudness": {"at_least": -15}}, [("loudness", 4, 9, 11, -10)]),
        ({"loudness": {"at_most": -35}}, [("loudness", 2, 3, 5, -40)]),
        ({"role": "customer", "loudness": {"at_least": -15}, "first_seconds": 8}, None),
        ({"role": "agent", "loudness": {"at_least": -15}}, None),
        ({"role": "nobody", "loudness": {"at_least": -90}}, None),
        (
            {"role": "customer", "interruptions": {"at_least": 2}},
            [("interruptions", 2, 3.0, 4.0, 1.0), ("interruptions", 4, 9.2, 9.9, 0.7)],
        ),
        ({"role": "agent", "interruptions": {"at_most": 0}}, [("interruptions", None, None, None, 0)]),
    ],
)
def test_loud_turns_and_interruptions_are_matches_with_their_turns(
    definition: dict[str, Any], expected: list[tuple[Any, ...]] | None
) -> None:
    result = found(SHOUTED, **definition)
    shown = result and [(each.condition, each.turn, each.start, each.end, each.value) for each in result.matches]
    assert shown == expected


def test_nothing_is_known_about_loudness_in_older_transcripts() -> None:
    assert found(CALL, loudness={"at_least": -96}) is None


@pytest.mark.parametrize(
    ("definition", "error"),
    [
        ({}, "must have a condition, such as `any_of`"),
        ({"role": "agent"}, "must have a condition, such as `any_of`"),
        ({"any_of": []}, "at least 1 item"),
        ({"any_of": ["a"] * 101}, "at most 100 items"),
        ({"any_of": ["?"]}, "must have a letter or a digit"),
        ({"any_of": ["re*fund"]}, "may have `*` only at its end"),
        ({"any_of": ["a*"]}, "must have at least 2 letters before `*`"),
        ({"any_of": "refund"}, "valid list"),
        ({"anyof": ["refund"]}, "Extra inputs are not permitted"),
        ({"any_of": ["a"], "first_seconds": 3, "last_seconds": 3}, "only one of `first_seconds`"),
        ({"any_of": ["a"], "from_percent": 50, "to_percent": 50}, "must be below `to_percent`"),
        ({"language": "en", "first_seconds": 3}, "needs a phrase, `silence`, `hold` or `loudness`"),
        ({"talk_share": {"at_least": 0.5}}, "`talk_share` needs a `role`"),
        ({"role": "agent", "language": "en"}, "`role` needs something"),
        ({"language": "en", "by": "meaning"}, "`by` needs"),
        ({"any_of": ["a"], "min_score": 0.9}, "`min_score` needs `by`"),
        ({"any_of": ["abc*"], "by": "meaning"}, "only if `by` is `words`"),
        ({"hold": {"longer_than": 5}}, "greater than or equal to 10"),
        ({"duration": {}}, "must have `at_least`"),
        ({"duration": {"at_least": 5, "at_most": 4}}, "must not be above"),
        ({"role": "agent", "talk_share": {"at_least": 70}}, "less than or equal to 1"),
        ({"language": "auto"}, "must be a language"),
        ({"any_of": ["a"], "also": [{}]}, "must have a condition"),
        ({"any_of": ["a"], "also": [{"any_of": ["a"]}] * 11}, "at most 10 items"),
    ],
)
def test_definitions_that_make_no_sense_are_refused(definition: dict[str, Any], error: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Category.model_validate(definition)
    assert error in str(refused.value)


@pytest.mark.parametrize("name", ["refund", "Refund asked", "退款", "a.b_c-1", "x" * 64])
def test_names_are_in_any_script(name: str) -> None:
    assert checked_name(name, "name") == name


@pytest.mark.parametrize("name", ["", " a", "a ", ".", "..", "a/b", "x" * 65, "a\n", "-a"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="name"):
        checked_name(name, "name")
