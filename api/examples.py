"""One example of every body that crosses the HTTP border; each is checked against its schema by a test."""

from __future__ import annotations

from typing import Any

_SPAN = {
    "start": "2026-11-23T14:02:10Z",
    "end": "2026-11-23T14:02:15Z",
    "start_offset_s": None,
    "end_offset_s": None,
    "label": "Mon 14:02:10–14:02:15",
}
_HOUR = {**_SPAN, "start": "2026-11-23T14:00:00Z", "end": "2026-11-23T15:00:00Z", "label": "Mon 14:00:00–15:00:00"}
_GAP_SPAN = {**_SPAN, "start": "2026-11-23T14:10:00Z", "end": "2026-11-23T14:14:00Z", "label": "Mon 14:10:00–14:14:00"}
_GAP = {"stream": "door-cam", "span": _GAP_SPAN, "reason": "offline", "detail": "The camera did not answer."}
_OBSERVATION = {
    "kind": "event",
    "label": "enters",
    "description": "something red enters from the left",
    "span": _SPAN,
    "score": 0.91,
    "colour": "red",
    "text": "something",
}
_HIT = {
    "stream": "s1f0c2a9b3",
    "stream_name": "door-cam",
    "span": _SPAN,
    "score": 0.91,
    "peak": "2026-11-23T14:02:12Z",
    "thumbnail_url": "/v1/streams/s1f0c2a9b3/thumbnail?at=2026-11-23T14:02:12Z",
    "clip_url": "/v1/streams/s1f0c2a9b3/clip?from=2026-11-23T14:02:09Z&to=2026-11-23T14:02:16Z",
    "observations": [_OBSERVATION],
}
PLAYLIST = """#EXTM3U
#EXT-X-VERSION:7
#EXT-X-TARGETDURATION:10
#EXT-X-MEDIA-SEQUENCE:4711
#EXT-X-DISCONTINUITY-SEQUENCE:2
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MAP:URI="segments/0-1795442530000000.mp4",BYTERANGE="1289@0"
#EXT-X-PROGRAM-DATE-TIME:2026-11-23T14:02:10.000Z
#EXTINF:10.000000,
segments/0-1795442530000000.m4s
#EXT-X-ENDLIST
"""
TRACK = """WEBVTT

00:00:00.000 --> 00:01:00.000
sprite.jpg?from=2026-11-23T14:00:00.000000Z&to=2026-11-23T15:00:00.000000Z&count=60&columns=10#xywh=0,0,160,90
"""
_SEARCHED = {"streams": ["door-cam"], "span": _HOUR}
_SCHEDULE = {"days": [1, 2, 3, 4, 5], "start": "22:00", "end": "06:00", "timezone": "Europe/Berlin"}
_RULE = {
    "name": "red-at-night",
    "text": "something red enters",
    "streams": ["door-cam"],
    "threshold": 0.6,
    "release": 0.4,
    "hold_s": 1.0,
    "cooldown_s": 60.0,
    "schedule": _SCHEDULE,
    "webhook": "https://example.org/hook",
    "enabled": True,
}
_UPLOAD = {
    "id": "u0123456789abcdef",
    "filename": "holiday.mp4",
    "size": 73400320,
    "received": 8388608,
    "subtitles": ["holiday.de.srt"],
}

PROBLEM: dict[str, Any] = {
    "type": "urn:hindsight:not-found",
    "title": "Not found",
    "status": 404,
    "detail": "There is no stream 'door-cam'.",
    "advice": "`hindsight streams` lists them.",
}

EXAMPLES: dict[str, dict[str, Any]] = {
    "StreamIn": {"name": "door-cam", "source": "rtsp://user:secret@192.168.1.20/stream1", "starts_at": None},
    "StreamPatch": {"name": "front-door", "password": "another secret"},
    "StreamOut": {
        "id": "s1f0c2a9b3",
        "name": "door-cam",
        "kind": "live",
        "source": "rtsp://user:•••@192.168.1.20/stream1",
        "state": "live",
        "detail": "",
        "added": "2026-11-23T13:59:58Z",
        "span": _HOUR,
        "progress": None,
        "last_frame_age_s": 0.4,
        "counters": {"captured": 7211, "stored": 7208, "repeated": 0, "dropped": {}, "parked": {}, "in_flight": 3},
    },
    "TimelineOut": {
        "stream": "door-cam",
        "span": _HOUR,
        "covered": [_HOUR],
        "gaps": [_GAP],
        "more_gaps": 0,
        "observations": [_OBSERVATION],
        "alerts": [],
        "truncated": False,
    },
    "CameraOut": {
        "address": "http://192.168.1.20/onvif/device_service",
        "name": "Front door",
        "hardware": "IPC-1",
    },
    "CameraIn": {"address": "192.168.1.20", "username": "admin", "password": "secret"},
    "CameraStreamOut": {
        "name": "Main stream",
        "source": "rtsp://192.168.1.20/Streaming/Channels/101",
        "codec": "H264",
        "width": 1920,
        "height": 1080,
        "fps": 25.0,
    },
    "UploadIn": {"filename": "holiday.mp4", "size": 73400320},
    "UploadOut": _UPLOAD,
    "UploadComplete": {"name": "holiday", "starts_at": "2026-07-14 10:00"},
    "AskIn": {"question": "Did something red come in this afternoon?", "streams": [], "from": None, "to": None},
    "FindIn": {"event": "something red enters", "streams": ["door-cam"], "from": "yesterday 14:00", "to": "now"},
    "FindOut": {
        "event": "something red enters",
        "hits": [_HIT],
        "searched": _SEARCHED,
        "gaps": [_GAP],
        "understood": ["something", "red", "enters"],
        "unknown": [],
        "unsure": [],
        "note": "",
    },
    "Body_search_v1_search_post": {"text": "something red", "streams": ["door-cam"], "from": "today", "to": None},
    "SummaryOut": {
        "text": "Something entered once.\nMon 14:02:10–14:02:15: something red enters from the left.",
        "span": _HOUR,
        "streams": ["door-cam"],
        "highlights": [_HIT],
        "gaps": [_GAP],
    },
    "RuleIn": _RULE,
    "RuleOut": {
        **_RULE,
        "webhook": "https://example.org/•••",
        "id": "r5b1e0d7c4",
        "understood": ["something", "red", "enters"],
        "unknown": [],
        "unsure": [],
    },
    "RulePatch": {"threshold": 0.7, "enabled": False},
    "RuleTestIn": {"rule": _RULE, "from": "yesterday", "to": "yesterday"},
    "AlertOut": {
        "id": "r5b1e0d7c4/s1f0c2a9b3/1795442530000000",
        "rule": "r5b1e0d7c4",
        "rule_name": "red-at-night",
        "stream": "s1f0c2a9b3",
        "stream_name": "door-cam",
        "span": _SPAN,
        "open": False,
        "score": 0.91,
        "why": "“something red enters” with probability 0.91, threshold 0.60. Seen: something red enters.",
        "thumbnail_url": _HIT["thumbnail_url"],
        "clip_url": _HIT["clip_url"],
    },
    "EraseIn": {"stream": "door-cam", "from": "yesterday 14:00", "to": "yesterday 15:00"},
    "HoldIn": {"stream": "door-cam", "from": "yesterday 14:00", "to": "yesterday 15:00", "reason": "Case 4711"},
    "HoldOut": {
        "id": 3,
        "stream": "door-cam-5f3a1c",
        "stream_name": "door-cam",
        "span": _HOUR,
        "reason": "Case 4711",
        "placed": "2026-07-15T09:00:00Z",
    },
    "EraseOut": {
        "stream": "door-cam",
        "span": _HOUR,
        "removed": {"features": 5121, "segments": 360, "clips": 2},
        "verified_gone": ["features", "segments", "clips"],
    },
    "BudgetOut": {
        "stream": "door-cam",
        "used_bytes": 10485760,
        "limit_bytes": 4000000000,
        "recordings_bytes": 734003200,
        "recordings_limit_bytes": None,
        "detail": {"vectors": 8388608, "thumbnails": 1572864, "text": 524288, "recordings": 734003200},
        "reach": {"fine": "2026-07-14T08:00:00Z", "day": "2026-05-02T00:00:00Z"},
    },
    "CheckOut": {"name": "index", "ok": True, "detail": "Every sealed chapter is in the index."},
    "HealthOut": {
        "ok": True,
        "checks": [{"name": "encoder", "ok": True, "detail": "A query was encoded."}],
        "version": "0.1.0",
        "profile": "embedded",
    },
}
