"""Citations checked in code: invented ones go, however the text is cut into pieces."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.citations import _SENTENCE, Checked, cited, supported
from ingest.questions import Evidence, Exhibit, Hit
from ingest.reasons import GapReason
from ingest.records import Gap, Moment, Observation, Span, StreamId
from models.language.extractive import ExtractiveSystem


def checked(text: str, numbers: set[int], cuts: list[int] | None = None) -> tuple[str, int]:
    checker = Checked(numbers)
    edges = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts or [])})
    shown = "".join(checker.feed(text[start:end]) for start, end in itertools.pairwise(edges))
    shown += checker.finish()
    assert shown == checker.text
    return shown, checker.removed


@pytest.mark.parametrize(
    ("text", "expected", "removed"),
    [
        ("A car [1].", "A car [1].", 0),
        ("A car [7].", "A car.", 1),
        ("A car [1, 7] came [2][9].", "A car [1] came [2].", 2),
        ("All of it [1-3].", "All of it [1, 2].", 1),
        ("All of it [1–2].", "All of it [1–2].", 0),
        ("It said [sic] so.", "It said [sic] so.", 0),
        ("An open [1", "An open [1", 0),
        ("[8]", "", 1),
        ("", "", 0),
    ],
)
def test_invented_citations_go(text: str, expected: str, removed: int) -> None:
    assert checked(text, {1, 2}) == (expected, removed)


@given(
    st.lists(
        st.sampled_from(["A car", " [1]", " [7]", "[2, 9]", " [", "]", ". ", "x", "[1-3]", "\n", " "]), max_size=15
    ),
    st.lists(st.integers(0, 200), max_size=10),
)
def test_how_the_text_is_cut_does_not_matter(parts: list[str], cuts: list[int]) -> None:
    text = "".join(parts)
    whole, removed = checked(text, {1, 2})
    assert checked(text, {1, 2}, cuts) == (whole, removed)
    assert set(cited(whole)) <= {1, 2}
    assert sum(number not in {1, 2} for number in cited(text)) <= removed or removed == 0


def test_a_sentence_about_the_footage_must_cite() -> None:
    text = "A red car came in [1]. It drove away quickly afterwards. Nothing else was seen. Yes. It left at 14:02 [2]."
    kept = supported(text)
    assert kept.text == "A red car came in [1]. Nothing else was seen. Yes. It left at 14:02 [2]."
    assert (kept.cited, kept.removed) == ((1, 2), 1)


def test_a_citation_behind_the_full_stop_counts() -> None:
    assert supported("A red car came in. [1] A blue one came in too.").text == "A red car came in. [1]"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("I heard: “We will see you tomorrow.” (00:50 [1]); “Come in. It is open.” (01:10).", None),
        ("“It is open to all of us.” was heard at 00:50 [1]; and 1 more.", None),
        ('The sign said "Closed. Come again tomorrow." [2].', None),
        (
            "A man said “We will see you tomorrow.” [1] Another one went away.",
            "A man said “We will see you tomorrow.” [1]",
        ),
        ("A man said “We will see you tomorrow.” A red car came [1].", "A red car came [1]."),
        ('A wheel of 12" rolled by [1]. It fell over at once.', 'A wheel of 12" rolled by [1].'),
    ],
)
def test_what_is_quoted_does_not_end_the_sentence_it_is_quoted_in(text: str, kept: str | None) -> None:
    assert supported(text).text == (text if kept is None else kept)


@given(st.text(st.sampled_from('“”".! \nab[1]('), max_size=60))
def test_sentences_are_the_whole_text(text: str) -> None:
    assert "".join(match.group() for match in _SENTENCE.finditer(text)) == text


def test_when_nobody_watched_looked_or_listened_is_told_though_no_exhibit_shows_it() -> None:
    cam = StreamId("cam")
    gaps = [
        Gap(cam, Span(Moment(at * 60_000_000), Moment(at * 60_000_000 + 30_000_000)), reason)
        for at, reason in enumerate(get_args(GapReason), 1)
    ]
    red = Observation(cam, 0, "1", "thing", "car", Span(Moment(0), Moment(9_000_000)), 0.9, "red")
    exhibit = Exhibit(1, Hit(cam, red.span, 0.9, red.span.start))
    evidence = Evidence((exhibit,), (red,), ((cam, Span(Moment(0), Moment(3_600_000_000))),), tuple(gaps))
    told = "".join(ExtractiveSystem().answer("What happened?", evidence))
    assert [reason for reason in ("frozen", "dark", "overload", "unheard", "offline") if reason not in told] == []
    assert (supported(told).text, supported(told).removed) == (told, 0)


@pytest.mark.parametrize(
    "claim",
    [
        "A dark car came in.",
        "The man looked at the door.",
        "The picture was on the wall.",
        "He saw part of it.",
        "The man came earlier than the dog.",
    ],
)
def test_what_only_sounds_like_it_is_a_claim(claim: str) -> None:
    assert supported(f"{claim} It rained [1].").text == "It rained [1]."


def test_nothing_left() -> None:
    assert supported("A red car came in and left again.").text == ""
