"""Recordings that lie on an FTP server: watched, cut, listed and erased as if they were here."""

from __future__ import annotations

import io
from pathlib import Path

import av
import pytest

from api.playlist import iso
from api.settings import Settings
from ingest.records import Moment, seconds
from tests.api.conftest import running, wait_for
from tests.api.test_playlist import camera, needs_ffmpeg, played
from tests.ftp_server import FtpServer


@needs_ffmpeg
def test_recordings_on_a_server(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = tmp_path / "served" / "house"
    served.mkdir(parents=True)
    with FtpServer(served.parent) as server:
        settings = Settings(**settings.model_dump() | {"recordings": server.url, "fetched_mb": 0})
        with running(settings) as (service, http):
            kept = camera(service, http, tmp_path, monkeypatch)
            here = settings.folder / "recordings" / "s-cam"
            wait_for(lambda: not list(here.iterdir()), within_s=90)
            assert len(list((served / "s-cam").iterdir())) == len(kept)
            whole = {"from": iso(kept[0].span.start), "to": iso(kept[-1].span.end)}
            with av.open(io.BytesIO(http.get("/v1/streams/cam/clip", params=whole).content)) as clip:
                assert sum(1 for _ in clip.demux(video=0)) >= 38 * 25
            assert played(http, f"/v1/streams/cam/playlist.m3u8?from={whole['from']}&to={whole['to']}")["video"] == 950
            frame = {"at": iso(Moment(kept[1].span.start + seconds(1)))}
            assert http.get("/v1/streams/cam/frame", params=frame).content[:2] == b"\xff\xd8"
            assert not list((settings.folder / "fetched").glob("*/*.mp4")), "nothing is kept here beyond its use"
            first = {"from": iso(kept[0].span.start), "to": iso(Moment(kept[0].span.start + seconds(1)))}
            receipt = http.post("/v1/erase", json={"stream": "cam", **first}).json()
            assert receipt["removed"]["stored recordings"] == 1
            assert "stored recordings" in receipt["verified_gone"]
            assert len(list((served / "s-cam").iterdir())) == len(kept) - 1
            server.stop()
            refused = http.get("/v1/streams/cam/frame", params={"at": iso(Moment(kept[2].span.start + 1))})
            assert (refused.status_code, refused.json()["type"]) == (503, "urn:hindsight:recordings-unavailable")
            Path(kept[0].path).write_bytes(b"written while it is down")
            with service.store.database.write() as connection:
                service.store.timeline.record(connection, kept[0])
            sick = wait_for(lambda: [one for one in http.get("/v1/health").json()["checks"] if not one["ok"]])
            assert [one["name"] for one in sick] == ["recordings"]
            assert "s3cret" not in str(sick)
