"""Servers that want to know who asks, each in its own way, and who is told what."""

from __future__ import annotations

import hashlib
import http.server
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ingest.errors import SourceRefused, SourceUnavailable, Unauthorised
from ingest.fetch import Call, Credentials
from ingest.guard import Guard
from ingest.hls import HlsStream
from ingest.probe import probe
from ingest.sources import parse
from tests.ingest.conftest import LOOPBACK, Harvest
from tests.ingest.test_protocols import QUICK, Camera, jpegs, seen, serving
from tests.media import Clip, make

pytestmark = pytest.mark.service
GUARD = Guard([], LOOPBACK)
PICTURES = jpegs(5)
KINDS: dict[str, Callable[..., Any]] = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


class Guarded(Camera):
    """A camera that lets in who makes the digest of RFC 7616 of its nonce, which is good for one request."""

    pictures = PICTURES
    algorithm, qop = "MD5", "auth"
    asked = 0

    def do_GET(self) -> None:
        said = self.headers.get("Authorization", "")
        type(self).asked += 1
        if said.startswith("Digest ") and self._right(dict(re.findall(r'(\w+)="?([^",]+)"?', said))):
            super().do_GET()
            return
        self.send_response(401)
        self.send_header("WWW-Authenticate", "Negotiate")
        qop = f', qop="{self.qop}"' if self.qop else ""
        challenge = f'Digest realm="camera", nonce="n{self.asked}", algorithm={self.algorithm}{qop}'
        self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _right(self, told: dict[str, str]) -> bool:
        def digest(text: str) -> str:
            return str(KINDS[self.algorithm](text.encode()).hexdigest())

        who, what = digest("admin:camera:s:e cret"), digest(f"GET:{self.path}")
        between = [told["nonce"], told["nc"], told["cnonce"], "auth"] if self.qop else [told["nonce"]]
        fresh = told["nonce"] == f"n{self.asked - 1}"
        return fresh and told["uri"] == self.path and told["response"] == digest(":".join([who, *between, what]))


@pytest.mark.parametrize(("algorithm", "qop"), [("MD5", "auth"), ("MD5", ""), ("SHA-256", "auth,auth-int")])
def test_a_camera_that_wants_a_digest(
    algorithm: str, qop: str, harvest: Callable[..., Harvest], tmp_path: Path
) -> None:
    """As most makers have it; its address has characters that are written in two ways."""
    handler = type("Door", (Guarded,), {"algorithm": algorithm, "qop": qop, "asked": 0})
    with serving(handler) as address:
        url = address.replace("http://", "http://admin:s%3Ae%20cret@") + "/video.cgi?size=[a|b]&c=%20"
        assert probe(parse(url), GUARD).width == 160
        if algorithm == "SHA-256":
            seen(harvest(QUICK), url, tmp_path / "recorded")
        with pytest.raises(Unauthorised):
            probe(parse(url.replace("s%3Ae", "wrong")), GUARD)


@contextmanager
def encrypted(certificate: Path, handler: Callable[..., http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    class Quiet(handler):  # type: ignore[valid-type,misc]  # a class, whatever it is
        def setup(self) -> None:
            self.request = context.wrap_socket(self.request, server_side=True)
            super().setup()

        def finish(self) -> None:
            super().finish()
            self.request.close()

    with serving(Quiet) as address:
        yield address.replace("http:", "https:")


def test_https_by_the_certificate_that_a_person_named(
    harvest: Callable[..., Harvest], certificate: Path, tmp_path: Path
) -> None:
    """What the error of the first try advises is what the second takes."""
    with encrypted(certificate, type("Door", (Camera,), {"pictures": PICTURES})) as address:
        url = f"{address}/video.cgi"
        with pytest.raises(SourceUnavailable) as caught:
            probe(parse(url), GUARD)
        named = caught.value.advice.rpartition("#")[2]
        with pytest.raises(SourceRefused):
            probe(parse(f"{url}#sha256={'0' * 64}"), GUARD)
        seen(harvest(QUICK), f"{url}#{named}", tmp_path / "recorded")


def test_a_playlist_that_names_another_server_tells_it_no_password(tmp_path: Path) -> None:
    """The pieces are fetched all the same, where they may be."""
    film = make(tmp_path / "film.ts", Clip(seconds=2)).read_bytes()
    told: dict[str, list[str]] = {"first": [], "other": []}

    def handler(name: str, body: Callable[[str], bytes]) -> type[http.server.BaseHTTPRequestHandler]:
        class Server(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                told[name].append(self.headers.get("Authorization", ""))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body(self.path))

            def log_message(self, *_: object) -> None:
                """Quiet."""

        return Server

    with serving(handler("other", lambda _: film)) as other:
        pieces = (
            f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n/own.ts\n#EXTINF:2,\n{other}/piece.ts\n#EXT-X-ENDLIST\n"
        )
        lists = {"/live.m3u8": pieces.encode(), "/own.ts": film}
        with serving(handler("first", lambda path: lists[path])) as first:
            call = Call("GET", f"{first}/live.m3u8", login=Credentials("admin", "hush"))
            with HlsStream(GUARD, call) as stream:
                while stream.read(1 << 16):
                    pass
    assert told["other"]
    assert set(told["other"]) == {""}
    assert all(one.startswith("Basic ") for one in told["first"])
