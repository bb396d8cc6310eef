"""What a stream has of its own in place of the service's settings: given, changed while it is watched, taken back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.profile import Models
from api.settings import Settings
from ingest.audio import PERIOD, REACH
from ingest.records import Sound, Utterance, seconds
from models.fake import FakeEncoder, FakeSystem, FakeTranscriber
from tests.api.conftest import FILMED, add, running, wait_for
from tests.api.test_cli_promises import run
from tests.ingest.conftest import RtspServer, rtsp
from tests.media import Clip, make

__all__ = ["rtsp"]

OWN = {
    "sampling": "rate:1",
    "audio": False,
    "language": "en",
    "record": False,
    "keep_recordings_hours": 24.0,
    "keep_events_hours": 48.0,
    "keep_alerts_hours": 96.0,
    "recordings_budget_mb": 500,
}


class Listening(FakeTranscriber):
    """Keeps of every sound its length and language."""

    languages = frozenset({"en", "de"})

    def __init__(self) -> None:
        self.given: list[tuple[int, str]] = []

    def transcribe(self, sounds: Sequence[Sound]) -> list[Utterance]:
        self.given += [(len(sound.samples), sound.language) for sound in sounds]
        return super().transcribe(sounds)


def change(http: httpx.Client, name: str, **patch: object) -> dict[str, Any]:
    answer = http.patch(f"/v1/streams/{name}", json=patch)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.service
@pytest.mark.slow
@pytest.mark.usefixtures("patient")
def test_sound_and_recording_change_while_a_camera_is_watched_and_nothing_is_opened_anew(
    settings: Settings,
    rtsp: Callable[..., RtspServer],  # the fixture
) -> None:
    """Footage before, between and after has no gap; what is recorded has sound or not as it was wanted."""
    camera, ears = rtsp(), Listening()
    with running(settings, Models(FakeEncoder(), FakeSystem(), ears)) as (service, http):
        http.post("/v1/streams", json={"name": "door", "source": camera.url()})
        stream = http.get("/v1/streams/door").json()["id"]

        def segments() -> list[tuple[int, int, bool]]:
            """Start and end of what is recorded, and whether it has sound."""
            found = service.store.timeline.segments(stream)
            return [(one.span.start, one.span.end, _sounds(Path(one.path))) for one in found]

        def stored() -> int:
            return int(http.get("/v1/streams/door").json()["counters"]["stored"])

        wait_for(lambda: segments() and service.store.streams.mark(stream, "sound"))
        pid = _pid(service)
        assert segments()[0][2], "as the service has it, with sound"

        def heard_to() -> int:
            return int(service.store.streams.mark(stream, "sound").moment)

        quiet, muted = change(http, "door", audio=False), service.clock.now()
        assert (quiet["audio"], quiet["in_force"]["audio"], quiet["in_force"]["record"]) == (False, False, True)
        assert quiet["listening_lag_s"] is None, "nobody is behind who does not listen"
        wait_for(lambda: len(found := segments()) > 2 and not found[-1][2])

        change(http, "door", record=False)
        before = stored()
        wait_for(lambda: stored() > before + 4)  # between two segments, too, none is unfinished
        folder = settings.folder / "recordings" / stream
        wait_for(lambda: service.memory.recordings.unfinished(stream) is None)
        wait_for(lambda: len(segments()) == len(list(folder.glob("*.mp4"))))
        recorded, before = segments(), stored()
        for (_, end, _), (start, _, _) in pairwise(recorded):
            assert abs(start - end) < 200_000, "one begins where the other ended"
        wait_for(lambda: stored() > before + 20 and service.clock.now() > muted + PERIOD + REACH)
        assert segments() == recorded, "it is watched, and not recorded"
        assert heard_to() < muted + seconds(5), "and nobody listens"

        change(http, "door", record=None, audio=None, language="ger", keep_recordings_hours=1)
        wait_for(lambda: len(found := segments()) > len(recorded) and found[-1][2])
        wait_for(lambda: ears.given[-1][1] == "de")
        assert ears.given[0][1] == ""
        assert _pid(service) == pid, "the same child reads the same connection"
        assert http.get("/v1/streams/door").json()["reconnects"] == 0
        gaps = http.get("/v1/streams/door/coverage").json()["gaps"]
        assert [gap for gap in gaps if gap["reason"] != "overload"] == [], "but for what a busy machine left out"

        change(http, "door", sampling="rate:1")
        wait_for(lambda: _pid(service) not in (None, pid))


def _sounds(path: Path) -> bool:
    import av

    with av.open(str(path)) as container:
        return bool(container.streams.audio)


def _pid(service: Any) -> int | None:
    [supervisor] = service._fleet._running.values()
    return None if supervisor._decoder is None else int(supervisor._decoder.pid)


def test_they_are_kept_and_taken_back_one_by_one(settings: Settings, rtsp: Callable[..., RtspServer]) -> None:
    camera = rtsp()
    with running(settings, Models(FakeEncoder(), FakeSystem(), Listening())) as (_, http):
        added = http.post("/v1/streams", json={"name": "door", "source": camera.url("silent"), **OWN})
        assert added.status_code == 201, added.text
        assert {name: added.json()[name] for name in OWN} == OWN == added.json()["in_force"]
    with running(settings, Models(FakeEncoder(), FakeSystem(), Listening())) as (service, http):
        assert {name: http.get("/v1/streams/door").json()[name] for name in OWN} == OWN, "they outlast the service"
        for name in OWN:
            changed = change(http, "door", **{name: None})
            assert (changed[name], changed["in_force"][name]) == (None, getattr(settings.usual, name)), name
        assert service.store.streams.get("door").settings.given == {}
        port = http.base_url.port or 0
        said = run(port, "change", "door", "--set", "audio=off", "--set", "keep_recordings_hours=12", "--json")
        assert (said.returncode, '"keep_recordings_hours": 12.0' in said.stdout) == (0, True), said.stderr
        assert run(port, "change", "door", "--set", "audio=").returncode == 0
        assert service.store.streams.get("door").settings.given == {"keep_recordings_hours": 12.0}
        wrong = run(port, "change", "door", "--set", "colour=blue")
        assert (wrong.returncode, "colour" in wrong.stderr) == (3, True)


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ({"keep_recordings_hours": 0}, "keep_recordings_hours"),
        ({"keep_recordings_hours": 1e9}, "keep_recordings_hours"),
        ({"keep_events_hours": -1}, "keep_events_hours"),
        ({"recordings_budget_mb": -5}, "recordings_budget_mb"),
        ({"recordings_budget_mb": 1.5}, "recordings_budget_mb"),
        ({"language": "german"}, "language"),
        ({"language": "fra"}, "does not understand the language 'fr'"),
        ({"audio": "loud"}, "audio"),
        ({"sampling": "often"}, "sampling policy"),
        ({"record": False}, "of a file nothing is recorded"),
        ({"keep_alerts_hours": 5}, "of a file nothing is recorded"),
        ({"starts_at": "2026-07-14 11:00"}, "does not move"),
        ({"audio": False}, "was read to its end"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    settings: Settings, films: Path, patch: dict[str, Any], said: str
) -> None:
    with running(settings, Models(FakeEncoder(), FakeSystem(), Listening())) as (_, http):
        before = add(http, "door", films / "plain.mp4")
        refused = http.patch("/v1/streams/door", json=patch)
        assert (refused.status_code in (400, 409), said in refused.json()["detail"]) == (True, True), refused.text
        assert refused.json()["advice"]
        assert http.get("/v1/streams/door").json() == before
        assert change(http, "door", starts_at=FILMED)["span"] == before["span"], "where it stands already"


def test_a_file_is_listened_to_or_not_and_its_pictures_are_read_once(settings: Settings, tmp_path: Path) -> None:
    """Changed amid its reading: nothing is lost, and what was not heard before is heard after."""
    film = make(tmp_path / "spoken.mp4", Clip(seconds=30))
    ears = Listening()
    with running(settings, Models(FakeEncoder(), FakeSystem(), ears)) as (_, http):
        wanted = {"name": "door", "source": str(film), "starts_at": FILMED, "audio": False}
        assert http.post("/v1/streams", json=wanted).status_code == 201
        wait_for(lambda: http.get("/v1/streams/door").json()["state"] == "finished")
        silent = http.get("/v1/streams/door").json()
        assert ears.given == []
        http.delete("/v1/streams/door")
        assert http.post("/v1/streams", json={**wanted, "language": "de"}).status_code == 201
        http.post("/v1/streams/door/pause")
        if http.get("/v1/streams/door").json()["state"] != "finished":
            change(http, "door", audio=True)
            http.post("/v1/streams/door/resume")
            wait_for(lambda: http.get("/v1/streams/door").json()["state"] == "finished")
            assert sum(count for count, _ in ears.given) == pytest.approx(30 * 16_000, rel=0.02)
            assert {language for _, language in ears.given} == {"de"}
        heard = http.get("/v1/streams/door").json()
        assert heard["counters"]["stored"] == silent["counters"]["stored"]


def test_a_stream_listens_where_the_service_does_not(settings: Settings, tmp_path: Path) -> None:
    """Its recogniser is started for it, and for nothing else."""
    from api.profile import chosen
    from ingest.guard import Guard

    quiet = settings.model_copy(update={"profile": "fake", "audio": False})
    film = make(tmp_path / "spoken.mp4", Clip(seconds=12))
    with running(quiet, chosen(quiet, Guard([]))) as (service, http):
        add(http, "quiet", film)
        transcriber: Any = service.models.transcriber
        assert (transcriber.check(), transcriber._process.pid) == ("nobody has listened yet", None)
        http.post("/v1/streams", json={"name": "loud", "source": str(film), "starts_at": FILMED, "audio": True})
        wait_for(lambda: http.get("/v1/streams/loud").json()["state"] == "finished")
        hits = http.post("/v1/find", json={"event": "quiet", "limit": 50}).json()["hits"]
        assert {hit["stream_name"] for hit in hits} == {"loud"}
        assert transcriber.check() == "it listened to a second of noise"


def test_a_list_of_streams_is_added_at_once_and_again(http: httpx.Client, films: Path, tmp_path: Path) -> None:
    """One that is wrong keeps the others from nothing; given again, only what is missing is added."""
    port = http.base_url.port or 0
    listed = tmp_path / "cameras.csv"
    red, plain = films / "red.mp4", films / "plain.mp4"
    head = "name,source,sampling,audio\n"
    listed.write_text(f"\ufeff{head}door,{red},rate:1,off\ngate,{films}/absent.mp4,,\n\nyard,{plain},,,\n", "utf-8")
    done = run(port, "add-all", str(listed))
    assert (done.returncode, "2 added: door, yard." in done.stdout) == (3, True), done.stderr
    assert "gate: " in done.stderr
    found = {stream["name"]: stream for stream in http.get("/v1/streams").json()}
    assert (found["door"]["sampling"], found["door"]["audio"]) == ("rate:1", False)
    assert (found["yard"]["sampling"], found["yard"]["audio"]) == (None, None)
    listed.write_text(f"{head}door,{red},,\ngate,{plain},,yes\n")
    again = run(port, "add-all", str(listed))
    assert (again.returncode, "1 added: gate." in again.stdout) == (0, True), again.stderr
    assert http.get("/v1/streams/door").json()["sampling"] == "rate:1", "what is there is left alone"
    for wrong, said in (("a,b\n1,2\n", "no columns called"), (f'{head}"door', "line 2")):
        listed.write_text(wrong)
        refused = run(port, "add-all", str(listed))
        assert (refused.returncode, said in refused.stderr) == (3, True), refused.stderr
    assert run(port, "add-all", str(tmp_path / "absent.csv")).returncode == 3
