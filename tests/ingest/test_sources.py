from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import Invalid, SourceRefused
from ingest.guard import Guard
from ingest.sources import MASK, SCHEMES, Secret, SourceSpec, parse


@pytest.mark.parametrize(
    ("text", "kind", "scheme", "location"),
    [
        ("/films/a.mp4", "file", "file", "/films/a.mp4"),
        ("film with spaces.mkv", "file", "file", "film with spaces.mkv"),
        ("file:///films/a%20b.mp4", "file", "file", "/films/a b.mp4"),
        ("/dev/video0", "live", "device", "/dev/video0"),
        ("rtsp://10.0.0.5:8554/cam?x=1", "live", "rtsp", "rtsp://10.0.0.5:8554/cam?x=1"),
        ("RTSP://Door.Example/cam", "live", "rtsp", "rtsp://door.example/cam"),
        ("rtsps://[2001:db8::1]/cam", "live", "rtsps", "rtsps://[2001:db8::1]/cam"),
        ("https://example.com/a.MP4", "file", "https", "https://example.com/a.MP4"),
        ("http://example.com/live.m3u8", "live", "http", "http://example.com/live.m3u8"),
        ("http://cam/mjpeg.cgi", "live", "http", "http://cam/mjpeg.cgi"),
        ("rtmp://host/app/key", "live", "rtmp", "rtmp://host/app/key"),
        ("srt://host:9000", "live", "srt", "srt://host:9000"),
    ],
)
def test_sources_as_people_write_them(text: str, kind: str, scheme: str, location: str) -> None:
    spec = parse(text)
    assert (spec.kind, spec.scheme, spec.location) == (kind, scheme, location)


@pytest.mark.parametrize(
    "text",
    ["exec:rm", "concat:/a|/b", "lavfi:testsrc", "ftp://h/a", "data:,x",
     "pipe:0", "javascript:1", "gopher://h", "udp://239.0.0.1:1", "concatf:/x", "crypto:/x", "tee:/x", "unix:/x"],
)  # fmt: skip
def test_other_schemes_are_refused_with_advice(text: str) -> None:
    with pytest.raises(SourceRefused) as caught:
        parse(text)
    assert caught.value.advice


def test_what_does_not_look_like_a_scheme_is_the_name_of_a_file() -> None:
    """libav would see a protocol there; it never sees names."""
    assert parse("subfile,,start,0,end,9,,:/etc/passwd").scheme == "file"


@pytest.mark.parametrize(
    "text", ["", "   ", "rtsp://", "http://:80/", "rtsp://h:99999/", "http://[::1", "a\nb", "file://host/x"]
)
def test_what_is_no_source_is_invalid(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(text)
    assert caught.value.advice


def test_a_path_where_nobody_can_look_is_refused_in_words() -> None:
    far = "/" + "a" * 300
    assert parse(far).kind == "file"
    guard = Guard([Path("/")])
    for ask in (guard.path, guard.folder):
        with pytest.raises(Invalid) as caught:
            ask(far)
        assert caught.value.advice


def test_a_file_with_a_colon_in_its_name_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cam:door.mp4").touch()
    assert parse("cam:door.mp4").location == str(tmp_path / "cam:door.mp4")


@given(password=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8).filter(lambda p: p.strip()))
def test_a_password_is_nowhere_to_be_seen(password: str) -> None:
    from urllib.parse import quote

    password = f"Zq7{password}"
    spec = parse(f"rtsp://admin:{quote(password, safe='')}@cam.example:8554/live")
    assert spec.password.reveal() == password
    shown = [spec.masked, repr(spec), str(spec), f"{spec.password}", repr(spec.password), f"{spec.password!s:>20}"]
    for text in shown:
        assert password not in text
        assert quote(password, safe="") not in text
    assert spec.masked == f"rtsp://admin:{MASK}@cam.example:8554/live"
    assert spec.location == "rtsp://cam.example:8554/live"


def test_secrets_in_the_query_are_masked_where_shown() -> None:
    spec = parse("http://cam/video.cgi?user=a&Password=hush&res=hd&api_key=abc")
    assert spec.masked == f"http://cam/video.cgi?user=a&Password={MASK}&res=hd&api_key={MASK}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "http://cam/videostream.cgi?loginuse=a&loginpas=hush",
            f"http://cam/videostream.cgi?loginuse=a&loginpas={MASK}",
        ),
        ("http://cam/img.mjpg?u=a&p=hush&page=2", f"http://cam/img.mjpg?u=a&p={MASK}&page=2"),
        (
            "rtsp://cam/user=a_password=hu_sh_channel=1_stream=0.sdp",
            f"rtsp://cam/user=a_password={MASK}_channel=1_stream=0.sdp",
        ),
        ("rtsp://cam/user=a&password=hush&channel=1/x", f"rtsp://cam/user=a&password={MASK}&channel=1/x"),
        ("rtsp://cam/axis-media/key.amp?camera=1", "rtsp://cam/axis-media/key.amp?camera=1"),
        ("rtsps://nvr:7441/aB3dE5fG7hJ9kL1m?enableSrtp", f"rtsps://nvr:7441/{MASK}?enableSrtp"),
        ("rtsp://nvr:7447/QwErTyUiOpAsDfGh", f"rtsp://nvr:7447/{MASK}"),
        ("rtsp://nvr/550e8400-e29b-41d4-a716-446655440000/1", f"rtsp://nvr/{MASK}/1"),
        ("https://cdn/hls/0123456789abcdef0123/index.m3u8", f"https://cdn/hls/{MASK}/index.m3u8"),
        ("https://cdn/hls/0123456789abcdef0123.m3u8", f"https://cdn/hls/{MASK}.m3u8"),
        ("rtmp://host/app/live_12345_hushHUSH", f"rtmp://host/app/{MASK}"),
        ("rtmp://host/app/front-door-camera", "rtmp://host/app/front-door-camera"),
        ("srt://host:9000?streamid=read:door:me:hush&latency=200", f"srt://host:9000?streamid={MASK}&latency=200"),
        ("rtsp://cam/h264Preview_01_main", "rtsp://cam/h264Preview_01_main"),
        ("rtsp://cam/Streaming/Channels/101", "rtsp://cam/Streaming/Channels/101"),
        ("rtsp://cam/mainentranceofthehouse", "rtsp://cam/mainentranceofthehouse"),
        ("https://cdn/BigBuckBunny320x180.mp4", "https://cdn/BigBuckBunny320x180.mp4"),
    ],
)
def test_secrets_stand_where_makers_have_put_them(text: str, shown: str) -> None:
    """Masked wherever they are shown, kept apart, and whole again for the camera."""
    spec = parse(text)
    assert (spec.masked, spec.bare) == (shown, shown)
    assert "hush" not in repr(spec)
    assert parse(spec.bare).with_secrets(spec.secrets()) == spec


def test_secrets_of_a_query_that_were_sealed_before_are_whole_again() -> None:
    spec = parse(f"rtsp://cam/a?token={MASK}").with_secrets('["admin", "hush", "token=abc"]')
    assert (spec.location, spec.username, spec.password.reveal()) == ("rtsp://cam/a?token=abc", "admin", "hush")


def test_secrets_do_not_leak_by_json_pickle_or_copy() -> None:
    secret = Secret("hush")
    with pytest.raises(TypeError):
        json.dumps({"password": secret})
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.copy(secret)
    assert not Secret()
    assert Secret("a") == Secret("a") != Secret("b")


def test_every_scheme_is_parsed_and_kept_apart_from_its_login() -> None:
    for scheme in SCHEMES:
        spec = parse(f"{scheme}://u:p@h/x")
        assert isinstance(spec, SourceSpec)
        assert (spec.username, spec.password.reveal(), spec.location) == ("u", "p", f"{scheme}://h/x")
