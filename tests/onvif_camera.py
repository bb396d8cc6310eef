"""A camera that speaks ONVIF on loopback, as far as finding its streams goes: SOAP written by hand from the standard.

Its clock is an hour wrong, and it wants a WS-Security digest made with that clock, as real ones do; or, as others do,
HTTP's, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

ENVELOPE = """<?xml version="1.0" encoding="UTF-8"?>
<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:tds="http://www.onvif.org/ver10/device/wsdl"
 xmlns:trt="http://www.onvif.org/ver10/media/wsdl" xmlns:tt="http://www.onvif.org/ver10/schema"
 xmlns:ter="http://www.onvif.org/ver10/error"><s:Body>{body}</s:Body></s:Envelope>"""
FAULT = """<s:Fault><s:Code><s:Value>s:Sender</s:Value>
<s:Subcode><s:Value>ter:NotAuthorized</s:Value></s:Subcode></s:Code>
<s:Reason><s:Text xml:lang="en">Sender not authorized</s:Text></s:Reason></s:Fault>"""
TIME = """<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:DateTimeType>Manual</tt:DateTimeType>
<tt:DaylightSavings>false</tt:DaylightSavings><tt:UTCDateTime>
<tt:Time><tt:Hour>{0.hour}</tt:Hour><tt:Minute>{0.minute}</tt:Minute><tt:Second>{0.second}</tt:Second></tt:Time>
<tt:Date><tt:Year>{0.year}</tt:Year><tt:Month>{0.month}</tt:Month><tt:Day>{0.day}</tt:Day></tt:Date>
</tt:UTCDateTime></tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"""
CAPABILITIES = """<tds:GetCapabilitiesResponse><tds:Capabilities><tt:Media><tt:XAddr>http://10.99.99.99/onvif/media</tt:XAddr>
<tt:StreamingCapabilities/></tt:Media></tds:Capabilities></tds:GetCapabilitiesResponse>"""
PROFILE = """<trt:Profiles token="{token}" fixed="true"><tt:Name>{name}</tt:Name>
<tt:VideoEncoderConfiguration token="v{token}"><tt:Name>v</tt:Name><tt:UseCount>1</tt:UseCount>
<tt:Encoding>H264</tt:Encoding><tt:Resolution><tt:Width>{width}</tt:Width><tt:Height>{height}</tt:Height></tt:Resolution>
<tt:Quality>4</tt:Quality><tt:RateControl><tt:FrameRateLimit>25</tt:FrameRateLimit>
<tt:EncodingInterval>1</tt:EncodingInterval><tt:BitrateLimit>2048</tt:BitrateLimit></tt:RateControl>
<tt:Multicast><tt:Address><tt:Type>IPv4</tt:Type></tt:Address><tt:Port>0</tt:Port><tt:TTL>1</tt:TTL>
<tt:AutoStart>false</tt:AutoStart></tt:Multicast><tt:SessionTimeout>PT60S</tt:SessionTimeout>
</tt:VideoEncoderConfiguration></trt:Profiles>"""
URI = """<trt:GetStreamUriResponse><trt:MediaUri><tt:Uri>rtsp://admin:in-the-clear@127.0.0.1:{port}/{token}</tt:Uri>
<tt:InvalidAfterConnect>false</tt:InvalidAfterConnect><tt:InvalidAfterReboot>false</tt:InvalidAfterReboot>
<tt:Timeout>PT0S</tt:Timeout></trt:MediaUri></trt:GetStreamUriResponse>"""


class Camera(http.server.BaseHTTPRequestHandler):
    rtsp_port = 554
    username, password = "admin", "onvif secret"
    by_http = False
    more = 0
    """Profiles besides the two."""

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.by_http and "GetSystemDateAndTime" not in asked and not self._digested():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.send_header("WWW-Authenticate", 'Digest realm="camera", qop="auth", nonce="once", algorithm="MD5"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = self._answer(asked)
        data = ENVELOPE.format(body=body).encode()
        self.send_response(400 if body is FAULT else 200)
        self.send_header("Content-Type", "application/soap+xml; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, asked: str) -> str:
        now = datetime.now(UTC) - timedelta(hours=1)
        if "GetSystemDateAndTime" in asked:
            return TIME.format(now)
        if not self.by_http and not self._known(asked, now):
            return FAULT
        if "GetCapabilities" in asked:
            return CAPABILITIES
        if "GetProfiles" in asked:
            first = PROFILE.format(token="cam", name="Main stream", width=1920, height=1080)
            second = PROFILE.format(token="silent", name="Sub stream", width=640, height=360)
            return f"<trt:GetProfilesResponse>{first}{second}{second * self.more}</trt:GetProfilesResponse>"
        token = re.search(r"ProfileToken>(\w+)<", asked)
        return URI.format(port=self.rtsp_port, token=token[1] if token else "")

    def _digested(self) -> bool:
        """Whether the header has the digest of RFC 7616, and does not say the password."""
        told = dict(re.findall(r'(\w+)="?([^",]+)"?', self.headers.get("Authorization", "")))
        who, what = (
            hashlib.md5(":".join(parts).encode()).hexdigest()
            for parts in ((self.username, "camera", self.password), ("POST", self.path))
        )
        whole = ":".join([who, "once", told.get("nc", ""), told.get("cnonce", ""), "auth", what])
        return told.get("response") == hashlib.md5(whole.encode()).hexdigest()

    def _known(self, asked: str, now: datetime) -> bool:
        """Whether the digest is right and was made within a minute of our own clock."""
        names = ("Username", "Password", "Nonce", "Created")
        found = {name: re.search(rf"<[\w:]*{name}(?: [^>]*)?>([^<]*)<", asked) for name in names}
        if not all(found.values()):
            return False
        username, digest, nonce, created = (one[1] for one in found.values() if one)
        made = hashlib.sha1(base64.b64decode(nonce) + created.encode() + self.password.encode()).digest()
        when = datetime.fromisoformat(created)
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return username == self.username and base64.b64decode(digest) == made and abs(now - when) < timedelta(minutes=1)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def onvif_camera(rtsp_port: int = 554, *, by_http: bool = False, more: int = 0) -> Iterator[str]:
    """The address of a camera whose streams, two and `more`, are at `rtsp_port`. `by_http`: it wants to be told in HTTP
    who asks."""
    handler = type("OnvifCamera", (Camera,), {"rtsp_port": rtsp_port, "by_http": by_http, "more": more})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
