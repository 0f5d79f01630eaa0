"""Which keys a pattern finds."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.recording_batches.key_patterns import KeyPattern


@pytest.mark.parametrize(
    ("pattern", "found", "not_found"),
    [
        ("2019/**/*.wav", ["2019/a.wav", "2019/x/y/a.wav"], ["2018/a.wav", "2019/a.mp3", "2019a.wav"]),
        ("2019/*.wav", ["2019/a.wav", "2019/.wav"], ["2019/x/a.wav"]),
        ("2019/**.wav", ["2019/a.wav", "2019/x/a.wav"], ["2020/a.wav"]),
        ("**/b/*", ["b/a", "x/b/a", "x/y/b/a"], ["xb/a", "b", "x/b/a/c"]),
        ("a?c", ["abc", "aüc", "a?c"], ["a/c", "ac", "abbc"]),
        ("%2A*%3F", ["*?", "*x?"], ["x?", "*x"]),
        ("**", ["a", "a/b"], []),
        ("a.*(", ["a.(", "a.x("], ["axx("]),
    ],
)
def test_a_pattern_finds_keys(pattern: str, found: list[str], not_found: list[str]) -> None:
    parsed = KeyPattern.parse(f"s3://calls/{pattern}")
    assert [key for key in found + not_found if parsed.matches(key)] == found


@pytest.mark.parametrize(
    ("pattern", "folder"),
    [("2019/05/*.wav", "2019/05"), ("2019/05-*/x", "2019"), ("*", ""), ("a%20b/?", "a b"), ("x?/y/*", "")],
)
def test_the_folder_before_the_first_wildcard_is_listed(pattern: str, folder: str) -> None:
    assert KeyPattern.parse(f"s3://calls/{pattern}").folder == folder


@pytest.mark.parametrize(
    "url", ["s3://calls/a.wav", "s3://calls/", "s3://CALLS/*", "https://calls/*", "s3://calls/%FF*"]
)
def test_a_pattern_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"must be|has "):
        KeyPattern.parse(url)


def test_no_pattern_takes_long() -> None:
    assert not KeyPattern.parse(f"s3://calls/{'*a' * 200}b").matches("a" * 1000)


@given(st.text("ab/*?", min_size=1, max_size=8), st.text("ab/", max_size=8))
def test_a_pattern_means_what_its_regular_expression_means(pattern: str, key: str) -> None:
    meanings = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    expression = "".join(meanings.get(part, part) for part in re.findall(r"\*\*/|\*\*|\*|\?|[^*?]", pattern))
    try:
        parsed = KeyPattern.parse(f"s3://calls/{pattern}")
    except ValueError:
        assert not {"*", "?"} & set(pattern)
        return
    assert parsed.matches(key) == bool(re.fullmatch(expression, key))
