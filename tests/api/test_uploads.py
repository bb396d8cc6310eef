"""Uploads in pieces: continued, refused, thrown away; no half-written state."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import httpx
import pytest

from api.cli.client import Client
from api.cli.sending import PIECE
from api.cli.sending import send as send_file
from api.footage import Footage
from api.housekeeping import Housekeeping
from api.profile import Models
from api.settings import Settings
from api.streams import Streams
from api.uploads import Uploads, safe_filename
from ingest.captions import LARGEST, MOST_TRACKS
from ingest.clock import FakeClock
from ingest.errors import Invalid, SourceUnavailable
from ingest.ledger import Ledger
from memory.memory import Memory
from models.embedded.encoder import EmbeddedEncoder
from models.fake import FakeSystem, FakeTranscriber
from tests.api.conftest import FILMED, running, wait_for
from tests.api.test_cli_promises import run
from tests.api.test_service import Hindsight, hindsight

__all__ = ["hindsight"]


def send(http: httpx.Client, file: Path, piece: int = 5000) -> str:
    data = file.read_bytes()
    upload: str = http.post("/v1/uploads", json={"filename": file.name, "size": len(data)}).json()["id"]
    for offset in range(0, len(data), piece):
        answer = http.put(f"/v1/uploads/{upload}", params={"offset": offset}, content=data[offset : offset + piece])
        assert answer.json()["received"] == min(offset + piece, len(data))
    return upload


def test_a_file_in_pieces_becomes_a_stream(http: httpx.Client, films: Path, tmp_path: Path) -> None:
    upload = send(http, films / "red.mp4")
    stored = tmp_path / "data" / "uploads" / upload / "red.mp4"
    assert stored.read_bytes() == (films / "red.mp4").read_bytes()
    done = http.post(f"/v1/uploads/{upload}/complete", json={"name": "sent", "starts_at": FILMED})
    assert done.status_code == 201, done.text
    wait_for(lambda: http.get("/v1/streams/sent").json()["state"] == "finished")
    assert len(http.post("/v1/find", json={"event": "red"}).json()["hits"]) == 1
    receipt = http.delete("/v1/streams/sent").json()
    assert receipt["removed"]["uploads"] == 1
    assert not stored.exists()


def test_an_interrupted_upload_continues_where_it_stopped(http: httpx.Client) -> None:
    upload = http.post("/v1/uploads", json={"filename": "a.mp4", "size": 10}).json()["id"]
    http.put(f"/v1/uploads/{upload}", params={"offset": 0}, content=b"01234")
    again = http.put(f"/v1/uploads/{upload}", params={"offset": 0}, content=b"01234")
    assert again.status_code == 409
    assert "offset 5" in again.json()["advice"]
    assert http.get(f"/v1/uploads/{upload}").json()["received"] == 5
    early = http.post(f"/v1/uploads/{upload}/complete", json={"name": "a"})
    assert (early.status_code, early.json()["type"]) == (409, "urn:hindsight:conflict")
    over = http.put(f"/v1/uploads/{upload}", params={"offset": 5}, content=b"56789x")
    assert over.status_code == 413
    assert "offset 5" in over.json()["advice"]
    assert http.get(f"/v1/uploads/{upload}").json()["received"] == 5
    assert http.put(f"/v1/uploads/{upload}", params={"offset": 5}, content=b"56789").json()["received"] == 10


@pytest.mark.parametrize("content", [b"this is text and no video at all" * 40, b"\0" * 5000])
def test_what_is_no_video_becomes_nothing(http: httpx.Client, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "fake.mp4").write_bytes(content)
    upload = send(http, tmp_path / "fake.mp4")
    answer = http.post(f"/v1/uploads/{upload}/complete", json={"name": "fake"})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:hindsight:not-video")
    assert answer.json()["advice"]
    assert http.get("/v1/streams").json() == []
    assert http.get(f"/v1/uploads/{upload}").status_code == 404
    assert list((tmp_path / "data" / "uploads").iterdir()) == []


def test_no_more_than_the_disk_holds_or_the_limit_allows(http: httpx.Client) -> None:
    assert http.post("/v1/uploads", json={"filename": "a.mp4", "size": 10**15}).status_code == 413
    assert http.post("/v1/uploads", json={"filename": "a.mp4", "size": 0}).status_code == 400


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("a.mp4", "a.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\films\\b.mkv", "b.mkv"),
        ("…/ünï cödé.mp4", "ünï cödé.mp4"),
        (".hidden", "hidden"),
        ("upload.json", "upload.mp4"),
        ("a\0b\n.mp4", "a_b_.mp4"),
    ],
)
def test_filenames_are_only_names(said: str, kept: str) -> None:
    assert safe_filename(said) == kept


def test_a_name_that_is_none() -> None:
    with pytest.raises(Invalid):
        safe_filename("../..")


def test_what_nobody_continued_is_swept_and_a_stream_s_film_stays(tmp_path: Path) -> None:
    """Also what a crash left without its note or without its file."""
    uploads = tmp_path / "uploads"
    for name, files in {"a": ["upload.json"], "b": ["film.mp4"], "c": ["upload.json", "film.mp4"], "d": []}.items():
        (uploads / f"u{name * 16}").mkdir(parents=True)
        for file in files:
            (uploads / f"u{name * 16}" / file).touch()
    kept = uploads / f"u{'c' * 16}" / "film.mp4"
    clock = FakeClock(time.time_ns() // 1000)
    sweeper = Uploads(cast(Streams, SimpleNamespace()), clock, Settings(data=tmp_path))
    sweeper.sweep({str(kept)})
    assert len(list(uploads.iterdir())) == 4, "all of them are new"
    clock.advance(2 * 86_400)
    sweeper.sweep({str(kept)})
    assert list(uploads.iterdir()) == [kept.parent]


def test_a_clock_that_jumped_sweeps_nothing(tmp_path: Path) -> None:
    """A wall clock alone never deletes what somebody is still sending."""
    begun = tmp_path / "data" / "uploads" / f"u{'a' * 16}" / "film.mp4"
    begun.parent.mkdir(parents=True)
    begun.touch()
    clock, ledger = FakeClock(time.time_ns() // 1000), Ledger()
    memory = Memory.open(tmp_path / "memory", encoder="fake", dim=4, ledger=ledger, clock=clock)
    uploads = Uploads(cast(Streams, SimpleNamespace()), clock, Settings(data=tmp_path / "data"))
    footage = cast(Footage, SimpleNamespace(trim=lambda: None))
    keeping = Housekeeping(memory, footage, uploads)
    keeping.tidy()
    clock.jump(25 * 3600)
    for _ in range(3):
        keeping.tidy()
        clock.advance(3600)
    assert begun.exists()
    for _ in range(30):
        clock.advance(3600)
        keeping.tidy()
    assert not begun.exists(), "a day later the clock is believed"
    memory.close()


SAID = """1
00:00:01,000 --> 00:00:02,500
Bring me the small ladder

2
00:00:08,000 --> 00:00:09,500
Der Hund schläft im Garten
"""


@pytest.fixture
def speaking(settings: Settings) -> Iterator[httpx.Client]:
    """The service with the encoder that understands words."""
    with running(settings, Models(EmbeddedEncoder(), FakeSystem(), FakeTranscriber())) as (_, http):
        yield http


def test_subtitles_that_are_sent_with_a_film_are_found_and_quoted(speaking: httpx.Client, films: Path) -> None:
    """With their language, at their time; and they are forgotten with the film."""
    upload = send(speaking, films / "red.mp4")
    place = f"/v1/uploads/{upload}/subtitles"
    answer = speaking.put(place, params={"filename": "red.srt"}, content=b"00:00:01,000 --> 00:00:02,000\nother words")
    assert answer.json()["subtitles"] == ["red.srt"], answer.text
    speaking.put(place, params={"filename": "red.srt"}, content=SAID.encode())  # the same name again replaces it
    answer = speaking.put(place, params={"filename": "C:\\films\\red.de.vtt"}, content=web(SAID).encode("utf-16"))
    assert answer.json()["subtitles"] == ["red.de.vtt", "red.srt"], answer.text
    assert speaking.get(f"/v1/uploads/{upload}").json() == answer.json()
    done = speaking.post(f"/v1/uploads/{upload}/complete", json={"name": "sent", "starts_at": FILMED})
    assert done.status_code == 201, done.text
    wait_for(lambda: speaking.get("/v1/streams/sent").json()["state"] == "finished")

    def hits(event: str) -> list[tuple[float, float]]:
        found = speaking.post("/v1/find", json={"event": event}).json()["hits"]
        return [(hit["span"]["start_offset_s"], hit["span"]["end_offset_s"]) for hit in found]

    assert wait_for(lambda: hits("“bring me the small ladder”"))[0] == pytest.approx((1.0, 2.5), abs=0.1)
    assert hits("someone says “der Hund schläft im Garten”")[0] == pytest.approx((8.0, 9.5), abs=0.1)
    assert hits("ladder")[0][0] == pytest.approx(1.0, abs=0.5)
    assert not hits("“other words”")
    read = speaking.get("/v1/streams/sent/timeline").json()["observations"]
    said = [(one["label"], one["text"], one["language"]) for one in read if one["kind"] == "heard"]
    lines = ("Bring me the small ladder", "Der Hund schläft im Garten")
    assert sorted(said) == sorted(("subtitle", line, language) for line in lines for language in ("de", "und"))
    late = speaking.put(place, params={"filename": "red.fr.srt"}, content=SAID.encode())
    assert (late.status_code, "stream already" in late.json()["detail"]) == (409, True)
    assert speaking.delete("/v1/streams/sent").json()["removed"]["uploads"] == 1
    assert not hits("“bring me the small ladder”")


def test_subtitles_are_found_where_nobody_listens(settings: Settings, films: Path) -> None:
    quiet = settings.model_copy(update={"audio": False})
    with running(quiet, Models(EmbeddedEncoder(), FakeSystem())) as (_, http):
        upload = send(http, films / "red.mp4")
        http.put(f"/v1/uploads/{upload}/subtitles", params={"filename": "red.srt"}, content=SAID.encode())
        http.post(f"/v1/uploads/{upload}/complete", json={"name": "sent", "starts_at": FILMED})
        wait_for(lambda: http.get("/v1/streams/sent").json()["state"] == "finished")
        [hit] = http.post("/v1/find", json={"event": "“bring me the small ladder”"}).json()["hits"]
        assert hit["span"]["start_offset_s"] == pytest.approx(1.0, abs=0.1)


def web(text: str) -> str:
    return "\ufeffWEBVTT\n\n" + text.replace(",", ".")


@pytest.mark.parametrize(
    ("filename", "content", "status", "said"),
    [
        ("other.srt", SAID.encode(), 400, "red.de.srt"),
        ("red.part2.srt", SAID.encode(), 400, "red.de.srt"),
        ("red.ass", SAID.encode(), 400, "red.de.srt"),
        ("../red.json", SAID.encode(), 400, "red.de.srt"),
        ("upload.json", SAID.encode(), 400, "red.de.srt"),
        ("red.srt", b"", 400, "WebVTT"),
        ("red.srt", b"nothing but words" * 1000, 400, "WebVTT"),
        ("red.srt", bytes(range(256)) * 1000, 400, "WebVTT"),
        ("red.srt", SAID.encode() + b"x" * LARGEST, 413, "subtitle file"),
    ],
)
def test_what_are_no_subtitles_of_the_film_leaves_no_trace(
    settings: Settings, films: Path, filename: str, content: bytes, status: int, said: str
) -> None:
    with running(settings) as (_, http):
        upload = send(http, films / "red.mp4")
        answer = http.put(f"/v1/uploads/{upload}/subtitles", params={"filename": filename}, content=content)
        assert (answer.status_code, said in answer.json()["advice"]) == (status, True), answer.text
        kept = (settings.folder / "uploads" / upload).iterdir()
        assert sorted(path.name for path in kept) == ["red.mp4", "upload.json"]
        done = http.post(f"/v1/uploads/{upload}/complete", json={"name": "red"})
        assert done.status_code == 201, "the film is one none the less"


def test_a_film_has_so_many_subtitle_files_and_no_more(http: httpx.Client) -> None:
    upload = http.post("/v1/uploads", json={"filename": "red.mp4", "size": 10}).json()["id"]
    languages = ["de", "en", "fr", "it", "es", "pt", "nl", "da", "fi"]
    place = f"/v1/uploads/{upload}/subtitles"
    sent = [http.put(place, params={"filename": f"red.{one}.srt"}, content=SAID.encode()) for one in languages]
    assert [one.status_code for one in sent] == [200] * MOST_TRACKS + [409]
    assert http.put(place, params={"filename": "red.de.srt"}, content=SAID.encode()).status_code == 200


def test_a_film_that_is_called_like_subtitles_keeps_its_bytes(http: httpx.Client) -> None:
    upload = http.post("/v1/uploads", json={"filename": "odd.srt", "size": 10}).json()
    assert upload["subtitles"] == []
    answer = http.put(f"/v1/uploads/{upload['id']}/subtitles", params={"filename": "odd.srt"}, content=SAID.encode())
    assert answer.status_code == 400
    assert http.get(f"/v1/uploads/{upload['id']}").json()["received"] == 0


def test_the_command_line_sends_the_subtitles_that_lie_beside_a_film(
    speaking: httpx.Client, films: Path, tmp_path: Path
) -> None:
    """What cannot be read of them is named, and keeps the film from nothing."""
    (tmp_path / "mine").mkdir()
    film = tmp_path / "mine" / "red, once.mp4"  # the service calls it otherwise
    film.write_bytes((films / "red.mp4").read_bytes())
    film.with_name("red, once.de.srt").write_text(SAID)
    film.with_name("red, once.fr.srt").write_text("no times")
    film.with_name("red, once.it.srt").symlink_to(tmp_path / "nowhere")
    film.with_name("another.srt").write_text(SAID)
    done = run(speaking.base_url.port or 0, "add", "sent", str(film), "--upload", "--wait", "--starts-at", FILMED)
    assert done.returncode == 0, done.stderr
    assert "red, once.fr.srt was left out. There is no line with times" in done.stderr
    assert "red, once.it.srt was left out. It cannot be read" in done.stderr
    hits = wait_for(lambda: speaking.post("/v1/find", json={"event": "“bring me the small ladder”"}).json()["hits"])
    assert hits[0]["span"]["start_offset_s"] == pytest.approx(1.0, abs=0.1)
    [folder] = (tmp_path / "data" / "uploads").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["red_ once.de.srt", "red_ once.mp4", "upload.json"]


def test_unfinished_uploads_are_listed_and_thrown_away(http: httpx.Client, films: Path, tmp_path: Path) -> None:
    assert http.get("/v1/uploads").json() == []
    done = send(http, films / "plain.mp4")
    http.post(f"/v1/uploads/{done}/complete", json={"name": "sent", "starts_at": FILMED})
    half, other = (http.post("/v1/uploads", json={"filename": f"{name}.mp4", "size": 10}).json()["id"] for name in "ab")
    http.put(f"/v1/uploads/{half}", params={"offset": 0}, content=b"01234")
    listed = http.get("/v1/uploads").json()
    assert {one["id"]: one["received"] for one in listed} == {half: 5, other: 0}, "what is a stream is finished"
    refused = http.delete(f"/v1/uploads/{done}")
    assert (refused.status_code, bool(refused.json()["advice"])) == (409, True)
    assert http.delete(f"/v1/uploads/{half}").status_code == 204
    assert not (tmp_path / "data" / "uploads" / half).exists()
    assert [one["id"] for one in http.get("/v1/uploads").json()] == [other]
    for gone in (half, "u..", "../../etc"):
        assert http.delete(f"/v1/uploads/{gone}").status_code == 404
    assert http.put(f"/v1/uploads/{half}", params={"offset": 5}, content=b"56789").status_code == 404


def test_unfinished_uploads_on_the_command_line(http: httpx.Client) -> None:
    upload = http.post("/v1/uploads", json={"filename": "a.mp4", "size": 10}).json()["id"]
    port = http.base_url.port or 0
    assert "0 of 10 bytes" in run(port, "uploads").stdout
    assert "No upload is unfinished." in run(port, "uploads", "--discard", upload).stdout
    assert run(port, "uploads", "--discard", upload).returncode == 3


def talking(port: int) -> Client:
    """The command line's side, in this process."""
    return Client(address=f"http://127.0.0.1:{port}")


@pytest.mark.service
@pytest.mark.slow
def test_the_command_line_goes_on_where_it_was_broken_off(
    hindsight: Hindsight,  # the fixture
    films: Path,
) -> None:
    """The service is killed amid a file. The next attempt sends the rest alone."""
    film = hindsight.folder / "mine" / "long.mp4"
    film.parent.mkdir()
    padding = 3 * PIECE
    film.write_bytes((films / "red.mp4").read_bytes() + padding.to_bytes(4, "big") + b"free" + bytes(padding - 8))
    hindsight.start()

    def kill_after_two(there: int) -> None:
        if there == 2 * PIECE:
            hindsight.end(signal.SIGKILL)

    sent = f"{2 * PIECE} of {film.stat().st_size} bytes are there"
    with pytest.raises(SourceUnavailable, match=sent):
        send_file(talking(hindsight.port), film, kill_after_two, lambda *_: None)
    refused = hindsight.run("add", "sent", str(film), "--upload")
    assert (refused.returncode, "hindsight serve" in refused.stderr) == (4, True)
    hindsight.start()
    [half] = hindsight.json("uploads")
    assert half["received"] >= 2 * PIECE, "what was acknowledged is there"
    stored = hindsight.folder / "data" / "uploads" / half["id"] / "long.mp4"
    assert film.read_bytes().startswith(stored.read_bytes())
    added = hindsight.json("add", "sent", str(film), "--upload", "--starts-at", FILMED)
    assert hindsight.json("uploads") == [], "it went on with the same one"
    assert (stored.read_bytes() == film.read_bytes(), added["name"]) == (True, "sent")
    taken = hindsight.run("add", "sent", str(film), "--upload")
    assert (taken.returncode, "already a stream" in taken.stderr) == (3, True)
    assert hindsight.json("uploads") == [], "a name that is taken is said before anything is sent"


def test_another_file_of_the_same_name_and_size_is_sent_anew(http: httpx.Client, tmp_path: Path) -> None:
    """What was sent of one must not become the beginning of another."""
    film = tmp_path / "a.mp4"
    film.write_bytes(b"1" * 100)
    upload = http.post("/v1/uploads", json={"filename": "a.mp4", "size": 100, "mark": "somebody's own"}).json()
    http.put(f"/v1/uploads/{upload['id']}", params={"offset": 0}, content=b"2" * 50)
    client = talking(http.base_url.port or 0)
    first = send_file(client, film, lambda _: None, lambda *_: None)
    assert first != upload["id"]
    assert send_file(client, film, lambda _: None, lambda *_: None) == first, "all of it is there"
    film.write_bytes(b"3" * 100)
    second = send_file(client, film, lambda _: None, lambda *_: None)
    assert second not in (first, upload["id"])
    assert (tmp_path / "data" / "uploads" / second / "a.mp4").read_bytes() == b"3" * 100
