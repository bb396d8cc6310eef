"""One language has one code, however it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.captions import language_of
from ingest.languages import UNKNOWN, language


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("en", "en"),
        ("eng", "en"),
        ("ENG", "en"),
        ("deu", "de"),
        ("ger", "de"),
        ("chi", "zh"),
        ("zho", "zh"),
        ("jpn", "ja"),
        ("zul", "zu"),
        ("haw", "haw"),  # has no shorter one
        ("und", "und"),
        ("pt-BR", "pt-BR"),
        ("por_BR", "pt-BR"),
        ("zho-Hant", "zh-Hant"),
    ],
)
def test_a_language_has_one_code(said: str, code: str) -> None:
    assert language(said) == language(code) == code


@pytest.mark.parametrize("said", [None, "", " ", "english", "e", "12", "en;de", "\0", "en-" + "a" * 90])
def test_what_is_no_code_is_told_as_unknown(said: str | None) -> None:
    assert language(said) == UNKNOWN


@pytest.mark.parametrize(("name", "code"), [("film.eng.srt", "en"), ("film.en.vtt", "en"), ("film.srt", UNKNOWN)])
def test_so_has_that_of_a_file_beside_a_film(name: str, code: str) -> None:
    assert language_of(Path(name), Path("film.mkv")) == code
