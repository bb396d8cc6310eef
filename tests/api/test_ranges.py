"""Bytes of files over HTTP: every kind of `Range` beside what RFC 9110 says, and players that come back for more."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.ranges import Ranged
from api.settings import Settings
from ingest.errors import Busy
from ingest.records import seconds
from tests.api.conftest import add, running
from tests.api.test_being_written import clip, written
from tests.api.test_playlist import camera

SIZE = 1000
CONTENT = bytes(number % 251 for number in range(SIZE))
HUGE = 10**5000
OPEN = Path("/proc/self/fd")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ranges") / "film-1-2.mp4"
    path.write_bytes(CONTENT)
    return path


def asked(path: Path, headers: Any, method: str = "GET") -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(Ranged(path, {}))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(method, "/", headers=headers)

    return asyncio.run(ask())


def parts(answer: httpx.Response) -> dict[int, bytes]:
    """The bytes of a 206, and where they begin."""
    said = answer.headers["content-type"]
    if not said.startswith("multipart/byteranges"):
        first, last = re.fullmatch(rf"bytes (\d+)-(\d+)/{SIZE}", answer.headers["content-range"]).groups()  # type: ignore[union-attr]
        assert len(answer.content) == int(last) - int(first) + 1
        return {int(first): answer.content}
    boundary = said.partition("boundary=")[2].encode()
    found = {}
    for part in answer.content.split(b"--" + boundary)[1:-1]:
        head, _, body = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        first, last = re.search(rb"Content-Range: bytes (\d+)-(\d+)/1000", head).groups()  # type: ignore[union-attr]
        found[int(first)] = body.removesuffix(b"\r\n")
        assert len(found[int(first)]) == int(last) - int(first) + 1
    assert answer.content.endswith(b"--" + boundary + b"--")
    return found


numbers = st.integers(0, SIZE + 50) | st.sampled_from([0, SIZE - 1, SIZE, 2**31, 2**63, 2**64, HUGE - 1, HUGE])
good = st.one_of(
    st.tuples(st.just("first"), numbers, numbers).map(lambda one: (one[0], min(one[1:]), max(one[1:]))),
    st.tuples(st.just("open"), numbers, st.none()),
    st.tuples(st.just("suffix"), numbers, st.none()),
)
bad = st.sampled_from(
    [
        "-",
        "9-3",
        "a-b",
        "1-2-3",
        "+1-4",
        "1_0-20",
        "0x1-2",
        "\N{ARABIC-INDIC DIGIT ONE}-",
        "5",
        "1 - 2",
        "--1",
        "1.0-2",
        "=3-4",
    ]
)
pads = st.sampled_from(["", " ", "\t", " ,", ", ,"])


def text(spec: tuple[str, int, int | None]) -> str:
    kind, one, other = spec
    first, last = decimal(one), decimal(other)
    return {"first": f"{first}-{last}", "open": f"{first}-", "suffix": f"-{first}"}[kind]


def decimal(number: int | None) -> str:
    """Also where Python would rather not."""
    if number is not None and number >= HUGE - 1:
        return "1" + "0" * 5000 if number == HUGE else "9" * 5000
    return "" if number is None else str(number)


def wanted(spec: tuple[str, int, int | None]) -> set[int]:
    """Which bytes of the file, by looking at each."""
    kind, one, other = spec
    if kind == "suffix":
        return {at for at in range(SIZE) if SIZE - at <= one}
    return {at for at in range(SIZE) if one <= at and (other is None or at <= other)}


@settings(max_examples=150)
@given(specs=st.lists(good, min_size=1, max_size=5), pad=pads, unit=st.sampled_from(["bytes", "Bytes"]))
def test_what_is_asked_for_is_what_comes(path: Path, specs: list[Any], pad: str, unit: str) -> None:
    value = f"{unit}={pad}" + f"{pad},{pad}".join(map(text, specs))
    answer = asked(path, {"Range": value})
    expected = set().union(*map(wanted, specs))
    if not expected:
        assert answer.status_code == 416
        assert answer.headers["content-range"] == f"bytes */{SIZE}"
        assert answer.json()["advice"]
        return
    assert answer.status_code == 206
    came = parts(answer)
    assert all(content == CONTENT[first : first + len(content)] for first, content in came.items())
    places = [first + at for first, content in came.items() for at in range(len(content))]
    assert len(places) == len(set(places)), "nothing comes twice"
    assert set(places) == expected
    assert int(answer.headers["content-length"]) == len(answer.content)


@settings(max_examples=60)
@given(specs=st.lists(good.map(text), max_size=3), junk=bad, at=st.integers(0, 3))
def test_what_cannot_be_understood_is_passed_over(path: Path, specs: list[str], junk: str, at: int) -> None:
    specs.insert(at, junk)
    answer = asked(path, {"Range": f"bytes={','.join(specs)}".encode()})
    assert (answer.status_code, answer.content) == (200, CONTENT)


@pytest.mark.parametrize(
    "headers",
    [
        [("Range", "seconds=1-2")],
        [("Range", "bytes")],
        [("Range", "bytes=")],
        [("Range", "bytes=,")],
        [("Range", "bytes =1-2")],
        [("Range", "bytes=1-2"), ("Range", "bytes=3-4")],
        [("Range", "bytes=1-2"), ("If-Range", '"another"')],
        [("Range", "bytes=1-2"), ("If-Range", 'W/"film-1-2-3e8"')],
        [("Range", "bytes=1-2"), ("If-Range", "Wed, 21 Oct 2015 07:28:00 GMT")],
        [("Range", "bytes=5000-"), ("If-Range", '"another"')],
        [("Range", "bytes=" + ",".join(f"{at}-{at}" for at in range(0, 400, 2)))],
    ],
)
def test_then_all_of_it_comes(path: Path, headers: Any) -> None:
    answer = asked(path, headers)
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize("value", ["bytes=1-2", "bytes=5000-", "bytes=9-3"])
def test_the_head_is_that_of_all_of_it(path: Path, value: str) -> None:
    answer = asked(path, {"Range": value}, "HEAD")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", str(SIZE))


def test_it_has_its_name_whenever_it_was_played(path: Path) -> None:
    tag = asked(path, {}).headers["etag"]
    os.utime(path, (1, 1))
    answer = asked(path, {"Range": "bytes=1-2", "If-Range": tag})
    assert (answer.status_code, answer.content) == (206, CONTENT[1:3])
    with pytest.raises(Busy):
        Ranged(path.with_name("gone.mp4"), {})


@pytest.mark.parametrize("field", [{}, {"Range": "bytes=2-5"}, {"Range": "bytes=2-5,7-9"}])
def test_what_loses_its_name_before_it_is_sent_comes_all_the_same(tmp_path: Path, field: dict[str, str]) -> None:
    """As what was fetched from a store of blobs does, and what is moved there."""
    path = tmp_path / "film-1-2.mp4"
    path.write_bytes(CONTENT)
    whole, before = asked(path, field), len(list(OPEN.iterdir()))

    async def ask() -> httpx.Response:
        answer = Ranged(path, {})
        path.unlink()
        path.write_bytes(b"another")
        async with httpx.AsyncClient(transport=httpx.ASGITransport(answer), base_url="http://here") as client:
            return await client.get("/", headers=field)

    late = asyncio.run(ask())
    assert late.status_code == whole.status_code
    assert parts(late) == parts(whole) if field else late.content == CONTENT
    assert len(list(OPEN.iterdir())) == before, "it is closed"


def test_a_player_that_comes_back_gets_the_rest(settings: Settings, films: Path) -> None:
    """With no room in the cache, too: a clip stays while it is played."""
    with running(Settings(**settings.model_dump() | {"clip_cache_mb": 0})) as (service, http):
        add(http, "door", films / "red.mp4")
        params = {"from": "00:03", "to": "00:06"}
        first = http.get("/v1/streams/door/clip", params=params)
        assert first.status_code == 200
        again = {"Range": "bytes=100-", "If-Range": first.headers["etag"]}
        for part in (params, params | {"download": "true"}):
            rest = http.get("/v1/streams/door/clip", params=part, headers=again)
            assert (rest.status_code, rest.content) == (206, first.content[100:])
        played = {"from": "00:01", "to": "00:02"}
        (old,) = (service.settings.folder / "clips").glob("*/*.mp4")
        os.utime(old, (1, 1))
        assert http.get("/v1/streams/door/clip", params=played).status_code == 200
        assert not old.exists(), "what nobody plays any more makes room"


def test_what_grew_in_between_is_not_continued_with_other_bytes(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(settings) as (service, http):
        segment = written(service, camera(service, http, tmp_path, monkeypatch))
        part = Path(segment.path)
        whole = part.read_bytes()
        begin, end = segment.span.start + seconds(0.5), segment.span.end + seconds(1)
        part.write_bytes(whole[: len(whole) // 2])
        first = clip(http, begin, end)
        part.write_bytes(whole)
        address = str(first.request.url)
        rest = http.get(address, headers={"Range": "bytes=1000-", "If-Range": first.headers["etag"]})
        assert first.status_code == rest.status_code == 200
        assert len(rest.content) > len(first.content)
