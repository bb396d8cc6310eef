"""The whole service over HTTP, with real capture, real memory and fake models."""

from __future__ import annotations

import io
from pathlib import Path

import httpx
import pytest

from api.profile import Models
from api.settings import Settings
from models.fake import FakeEncoder
from models.language.extractive import ExtractiveSystem
from tests.api.conftest import FILMED, add, ask, running, wait_for

RED = (4.0, 7.0)
SLACK = 0.55
"""Frames are looked at four times a second, and a fake feature lasts half a second."""


def offsets(hit: dict) -> tuple[float, float]:  # type: ignore[type-arg]  # JSON
    return hit["span"]["start_offset_s"], hit["span"]["end_offset_s"]


def test_a_file_is_read_remembered_and_found(http: httpx.Client, films: Path) -> None:
    stream = add(http, "door", films / "red.mp4")
    assert stream["kind"] == "file"
    assert stream["progress"] == 1.0
    assert stream["span"]["start"] == FILMED
    counters = stream["counters"]
    assert counters["in_flight"] == 0
    assert counters["captured"] == counters["stored"] + sum(counters["dropped"].values())
    assert counters["stored"] >= 40

    found = http.post("/v1/find", json={"event": "red"}).json()
    assert len(found["hits"]) == 1
    start, end = offsets(found["hits"][0])
    assert abs(start - RED[0]) <= SLACK
    assert abs(end - RED[1]) <= SLACK
    assert found["hits"][0]["stream_name"] == "door"
    assert found["searched"]["streams"] == ["door"]
    assert http.post("/v1/find", json={"event": "blue"}).json()["hits"] == []
    inside = http.post("/v1/find", json={"event": "red", "streams": ["door"], "from": "00:00", "to": "00:03"}).json()
    assert inside["hits"] == []
    assert "Nothing" in inside["note"]


def test_search_by_picture(http: httpx.Client, films: Path) -> None:
    from PIL import Image

    add(http, "door", films / "two.mp4")
    picture = io.BytesIO()
    Image.new("RGB", (64, 48), (10, 10, 230)).save(picture, "PNG")
    found = http.post("/v1/search", files={"image": ("p.png", picture.getvalue())}, data={"streams": ["door"]}).json()
    start, end = offsets(found["hits"][0])
    assert abs(start - 5) <= SLACK
    assert abs(end - 6) <= SLACK
    [one] = http.post("/v1/search", files={"image": ("p.png", picture.getvalue())}, data={"limit": "1"}).json()["hits"]
    assert one == found["hits"][0]
    broken = http.post("/v1/search", files={"image": ("p.png", b"no picture")})
    assert (broken.status_code, broken.json()["type"]) == (422, "urn:hindsight:not-video")


def test_search_by_words_finds_what_find_finds(http: httpx.Client, films: Path) -> None:
    add(http, "door", films / "two.mp4")
    found = http.post("/v1/search", data={"text": "red", "streams": ["door"], "to": "00:07"}).json()
    assert [offsets(hit) for hit in found["hits"]] == [
        offsets(hit) for hit in http.post("/v1/find", json={"event": "red", "to": "00:07"}).json()["hits"]
    ]
    assert len(found["hits"]) == 1
    assert found["event"] == "red"


@pytest.mark.parametrize(("text", "image"), [("", b""), (" ?! ", b""), ("red", b"picture")])
def test_a_search_is_for_words_or_for_a_picture(http: httpx.Client, text: str, image: bytes) -> None:
    answer = http.post("/v1/search", data={"text": text}, files={"image": ("p.png", image)})
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:hindsight:invalid")
    assert "`text`" in answer.json()["advice"]


def test_an_answer_names_the_streams_as_people_do(settings: Settings, films: Path) -> None:
    with running(settings, Models(FakeEncoder(), ExtractiveSystem())) as (_, http):
        ids = [add(http, name, films / film)["id"] for name, film in (("front door", "red.mp4"), ("yard", "two.mp4"))]
        answer = ask(http, "red")
    assert "on front door" in answer["text"]
    assert "on yard" in answer["text"]
    assert not [identity for identity in ids if identity in answer["text"]]


def test_an_answer_cites_what_can_be_played(http: httpx.Client, films: Path) -> None:
    add(http, "door", films / "two.mp4")
    answer = ask(http, "red on door?")
    assert answer["found"]
    assert [citation["number"] for citation in answer["citations"]] == [1, 2]
    assert {round(offsets(citation)[0]) for citation in answer["citations"]} == {2, 8}
    assert set(answer["timings_ms"]) == {"recall", "evidence", "first_token", "answer"}
    clip = http.get(answer["citations"][0]["clip_url"])
    assert (clip.status_code, clip.headers["content-type"]) == (200, "video/mp4")


def test_time_and_stream_are_read_from_the_question(http: httpx.Client, films: Path) -> None:
    add(http, "door", films / "two.mp4")
    add(http, "yard-cam", films / "plain.mp4")
    answer = ask(http, "red on door between 00:06 and 00:12?")
    assert answer["searched"]["streams"] == ["door"]
    assert answer["searched"]["span"]["label"] == "00:00:06–00:00:12"
    assert [round(offsets(citation)[0]) for citation in answer["citations"]] == [8]
    assert not ask(http, "red on the yard cam camera?")["found"]


def test_what_is_not_there_is_said(http: httpx.Client, films: Path) -> None:
    add(http, "door", films / "red.mp4")
    answer = ask(http, "blue?")
    assert not answer["found"]
    assert answer["citations"] == []
    assert "Not found in the footage of door" in answer["text"]
    nowhere = ask(http, "red yesterday?", streams=["door"])
    assert not nowhere["found"]
    assert "no video of door" in nowhere["text"]


def test_no_stream_yet(http: httpx.Client) -> None:
    assert "no stream yet" in ask(http, "red?")["text"]
    assert http.post("/v1/find", json={"event": "red"}).json()["hits"] == []
    assert http.get("/v1/summary").json()["highlights"] == []
    assert http.get("/v1/streams").json() == []


def test_timeline_and_coverage(http: httpx.Client, films: Path) -> None:
    add(http, "door", films / "red.mp4")
    drawn = http.get("/v1/streams/door/timeline").json()
    assert drawn["span"]["label"] == "00:00:00–00:00:12"
    [covered] = drawn["covered"]
    assert (covered["start_offset_s"], round(covered["end_offset_s"])) == (0, 12)
    assert drawn["gaps"] == []
    part = http.get("/v1/streams/door/coverage", params={"from": "00:02", "to": "00:03"}).json()
    assert [span["label"] for span in part["covered"]] == ["00:00:02–00:00:03"]


def test_pictures(http: httpx.Client, films: Path) -> None:
    from PIL import Image

    add(http, "door", films / "red.mp4")
    for at, channel in (("00:05", 0), ("now", None)):
        answer = http.get("/v1/streams/door/frame", params={"at": at, "max_side": 80})
        assert answer.headers["content-type"] == "image/jpeg"
        picture = Image.open(io.BytesIO(answer.content))
        assert max(picture.size) == 80
        pixel = picture.convert("RGB").getpixel((40, 30))
        assert isinstance(pixel, tuple)
        assert (pixel[0] > 180 and pixel[2] < 80) if channel == 0 else abs(pixel[0] - pixel[2]) < 20
    missing = http.get("/v1/streams/door/frame", params={"at": "00:30"})
    assert missing.status_code == 404


def test_clips_have_ranges_and_are_cut_once(http: httpx.Client, films: Path, tmp_path: Path) -> None:
    import av

    stream = add(http, "door", films / "red.mp4")
    params = {"from": "00:03", "to": "00:06"}
    whole = http.get("/v1/streams/door/clip", params=params)
    assert whole.status_code == 200
    assert whole.headers["accept-ranges"] == "bytes"
    part = http.get("/v1/streams/door/clip", params=params, headers={"Range": "bytes=10-99"})
    assert (part.status_code, part.content) == (206, whole.content[10:100])
    with av.open(io.BytesIO(whole.content)) as container:
        frames = [frame.to_ndarray(format="rgb24").mean(axis=(0, 1)) for frame in container.decode(video=0)]
    assert 29 <= len(frames) <= 41  # three seconds at 10 Hz, and up to a second to the key frame before
    assert frames[0][0] < 150
    assert frames[-1][0] > 180
    assert len(list((tmp_path / "data" / "clips" / stream["id"]).iterdir())) == 1
    assert http.get("/v1/streams/door/clip", params={"from": "00:40", "to": "00:50"}).status_code == 404
    assert http.get("/v1/streams/door/clip", params={"from": "00:05", "to": "00:05"}).status_code == 400
    assert http.get("/v1/streams/door/clip").status_code == 400


@pytest.mark.parametrize("what", ["clip?from=00:03&to=00:06", "frame?at=00:03"])
def test_players_may_ask_for_the_head_alone(http: httpx.Client, films: Path, what: str) -> None:
    add(http, "door", films / "red.mp4")
    whole = http.get(f"/v1/streams/door/{what}")
    head = http.head(f"/v1/streams/door/{what}")
    assert head.status_code == 200
    assert head.content == b""
    for name in ("content-type", "content-length", "accept-ranges"):
        assert head.headers.get(name) == whole.headers.get(name)
    assert http.head("/v1/streams/nobody/clip?from=00:03&to=00:06").status_code == 404


def test_names_are_taken_once(http: httpx.Client, films: Path) -> None:
    add(http, "door", films / "plain.mp4")
    again = http.post("/v1/streams", json={"name": "door", "source": str(films / "red.mp4")})
    assert (again.status_code, again.json()["type"]) == (409, "urn:hindsight:conflict")
    assert len(http.get("/v1/streams").json()) == 1


def test_erasing_a_span(http: httpx.Client, films: Path) -> None:
    stream = add(http, "door", films / "two.mp4")
    assert len(http.post("/v1/find", json={"event": "red"}).json()["hits"]) == 2
    http.get("/v1/streams/door/clip", params={"from": "00:01", "to": "00:05"})
    receipt = http.post("/v1/erase", json={"stream": "door", "from": "00:00", "to": "00:05"}).json()
    assert receipt["removed"]["clips"] == 1
    assert "clips" in receipt["verified_gone"]
    hits = http.post("/v1/find", json={"event": "red"}).json()["hits"]
    assert [round(offsets(hit)[0]) for hit in hits] == [8]
    assert http.get("/v1/streams/door/clip", params={"from": "00:01", "to": "00:04"}).status_code == 404
    assert http.get(f"/v1/streams/{stream['id']}/frame", params={"at": "00:03"}).status_code == 404


def test_removing_a_stream(http: httpx.Client, films: Path) -> None:
    add(http, "door", films / "red.mp4")
    receipt = http.delete("/v1/streams/door").json()
    assert receipt["stream"] == "door"
    assert http.get("/v1/streams/door").status_code == 404
    assert http.post("/v1/find", json={"event": "red"}).json()["hits"] == []
    assert (films / "red.mp4").exists()
    add(http, "door", films / "plain.mp4")  # the name is free again


def test_health_budget_doctor_and_metrics(http: httpx.Client, films: Path) -> None:
    add(http, "door", films / "red.mp4")
    health = http.get("/v1/health")
    assert health.status_code == 200, health.text
    names = {check["name"] for check in health.json()["checks"]}
    names -= {"clock"}  # told where nothing keeps this machine's right
    assert names == {"query", "store", "recall", "stages", "streams", "listening", "webhooks", "disk"}
    [budget] = http.get("/v1/budget").json()
    assert budget["used_bytes"] + budget["recordings_bytes"] == sum(budget["detail"].values()) > 0
    assert (budget["limit_bytes"], budget["recordings_limit_bytes"]) == (4_000_000_000, None)
    assert {"fine", "thumbnails", "text", "recordings", "index", "tokens", "open chapter"} <= set(budget["detail"])
    assert set(budget["reach"]) == {"fine", "chapter"}
    assert all(check["ok"] for check in http.post("/v1/doctor").json())
    metrics = http.get("/metrics").text
    stored = http.get("/v1/streams/door").json()["counters"]["stored"]
    assert f'hindsight_frames_stored_total{{stream="door"}} {stored:.1f}' in metrics
    assert 'hindsight_queue_depth{queue="frames/encode"} 0.0' in metrics
    assert 'hindsight_http_request_seconds_count{method="GET",route="/v1/health",status="200"} 1.0' in metrics


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/v1/streams/nobody", None, 404, "not-found"),
        ("DELETE", "/v1/streams/nobody", None, 404, "not-found"),
        ("GET", "/v1/streams/nobody/clip?from=1:00&to=2:00", None, 404, "not-found"),
        ("POST", "/v1/streams", {"name": "x"}, 400, "invalid"),
        ("POST", "/v1/streams", {"name": "a/b", "source": "/tmp"}, 400, "invalid"),
        ("POST", "/v1/streams", {"name": "x", "source": "gopher://x"}, 403, "source-refused"),
        ("POST", "/v1/streams", {"name": "x", "source": "/etc/passwd"}, 403, "source-refused"),
        ("POST", "/v1/find", {"event": "red", "streams": ["nobody"]}, 404, "not-found"),
        ("POST", "/v1/find", {"event": "red", "from": "whenever"}, 400, "invalid"),
        ("POST", "/v1/find", {"event": "red", "from": "today", "to": "last month"}, 400, "invalid"),
        ("POST", "/v1/ask", {"question": ""}, 400, "invalid"),
        ("GET", "/v1/rules/nothing", None, 404, "not-found"),
        ("POST", "/v1/rules", {"name": "r", "text": "x", "threshold": 0.2, "release": 0.5}, 400, "invalid"),
        ("POST", "/v1/rules", {"name": "r", "text": "x", "webhook": "ftp://x"}, 400, "invalid"),
        ("POST", "/v1/rules", {"name": "r", "text": "x", "schedule": {"timezone": "Mars"}}, 400, "invalid"),
        ("POST", "/v1/erase", {"stream": "nobody"}, 404, "not-found"),
        ("GET", "/v1/uploads/u0000000000000000", None, 404, "not-found"),
        ("GET", "/v1/uploads/..%2f..", None, 404, "not-found"),
        ("GET", "/v1/nowhere", None, 404, "not-found"),
        ("PUT", "/v1/streams", None, 405, "invalid"),
    ],
)
def test_every_error_is_a_problem(
    http: httpx.Client, method: str, path: str, body: object, status: int, code: str
) -> None:
    answer = http.request(method, path, json=body)
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["type"]) == (status, status, f"urn:hindsight:{code}")
    assert problem["detail"]


def test_a_file_is_paused_and_resumed_where_it_was(http: httpx.Client, films: Path) -> None:
    http.post("/v1/streams", json={"name": "door", "source": str(films / "two.mp4"), "starts_at": FILMED})
    paused = http.post("/v1/streams/door/pause").json()
    assert paused["state"] == "paused"
    assert http.post("/v1/streams/door/pause").json()["state"] == "paused"
    http.post("/v1/streams/door/resume")
    wait_for(lambda: http.get("/v1/streams/door").json()["state"] == "finished")
    assert len(http.post("/v1/find", json={"event": "red"}).json()["hits"]) == 2
    assert http.post("/v1/streams/door/pause").status_code == 409


def test_removed_while_it_is_read_nothing_comes_back(http: httpx.Client, films: Path) -> None:
    http.post("/v1/streams", json={"name": "door", "source": str(films / "two.mp4"), "starts_at": FILMED})
    assert http.delete("/v1/streams/door").status_code == 200
    add(http, "yard", films / "red.mp4")  # what was under way of the other has passed by now
    assert [stream["name"] for stream in http.get("/v1/streams").json()] == ["yard"]
    assert {hit["stream_name"] for hit in http.post("/v1/find", json={"event": "red"}).json()["hits"]} == {"yard"}
    assert http.get("/v1/health").json()["ok"]
    assert all(check["ok"] for check in http.post("/v1/doctor").json())


def test_what_is_held_is_not_erased_unless_it_is_forced(http: httpx.Client, films: Path) -> None:
    add(http, "door", films / "red.mp4")
    body = {"stream": "door", "from": "00:02", "to": "00:04", "reason": "Case 4711"}
    held = http.post("/v1/holds", json=body)
    assert held.status_code == 201
    assert [one["reason"] for one in http.get("/v1/holds").json()] == ["Case 4711"]
    wish = {"stream": "door", "from": "00:01", "to": "00:03"}
    refused = http.post("/v1/erase", json=wish)
    assert refused.status_code == 409
    assert "Case 4711" in refused.json()["detail"]
    assert http.delete("/v1/streams/door").status_code == 409
    assert http.get("/v1/streams/door").json()["state"] == "finished", "a refused removal stops nothing"
    assert http.post("/v1/erase", json={**wish, "force": True}).status_code == 200
    assert http.delete(f"/v1/holds/{held.json()['id']}").status_code == 204
    assert http.delete(f"/v1/holds/{held.json()['id']}").status_code == 404
    assert http.post("/v1/holds", json={"stream": "door", "reason": "all"}).json()["span"] is None
    assert http.delete("/v1/streams/door").status_code == 409
    assert http.delete("/v1/streams/door?force=true").status_code == 200


def test_a_clip_is_saved_under_a_name(http: httpx.Client, films: Path) -> None:
    add(http, "door", films / "red.mp4")
    where = "/v1/streams/door/clip?from=00:03&to=00:06"
    assert http.get(where).headers["content-disposition"].startswith("inline")
    saved = http.get(f"{where}&download=true").headers["content-disposition"]
    assert saved == 'attachment; filename="door-20260714T100003Z.mp4"'


def test_a_policy_is_chosen_per_stream_and_changed(http: httpx.Client, films: Path) -> None:
    wrong = {"name": "a", "source": str(films / "plain.mp4"), "sampling": "often"}
    assert http.post("/v1/streams", json=wrong).status_code == 400
    assert http.get("/v1/streams").json() == []
    added = http.post("/v1/streams", json={**wrong, "sampling": "rate:2"})
    assert (added.status_code, added.json()["sampling"]) == (201, "rate:2")
    wait_for(lambda: http.get("/v1/streams/a").json()["state"] == "finished")
    assert http.get("/v1/streams/a").json()["counters"]["captured"] == 8, "four seconds at two a second"
    assert http.patch("/v1/streams/a", json={"sampling": "keys"}).json()["sampling"] == "keys"
    assert http.patch("/v1/streams/a", json={"sampling": "often"}).status_code == 400
    assert "hindsight_pictures_skipped" in http.get("/metrics").text
    assert "hindsight_capture_failures" in http.get("/metrics").text
