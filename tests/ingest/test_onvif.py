"""ONVIF against a stand-in that speaks its SOAP on loopback."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from ingest.errors import DeadlineExceeded, SourceRefused, SourceUnavailable, Unauthorised
from ingest.guard import Guard
from ingest.onvif import Answering, CameraStream, Login, answering, discover, streams
from ingest.sources import Secret
from tests.ingest.conftest import LOOPBACK, Trap, answer
from tests.onvif_camera import ENVELOPE, TIME, onvif_camera

pytest.importorskip("zeep", reason="needs the extra onvif")
pytest.importorskip("onvif", reason="needs the extra onvif")
GUARD = Guard([], LOOPBACK)
LOGIN = Login("admin", Secret("onvif secret"))


def test_the_streams_of_a_camera_whose_clock_is_an_hour_wrong() -> None:
    """It says that its media service is elsewhere, and puts its password into addresses: neither is followed."""
    with onvif_camera(8554) as address:
        found = streams(address, LOGIN, GUARD)
        assert streams(f"http://{address}/onvif/device_service", LOGIN, GUARD) == found
    assert found == [
        CameraStream("Main stream", "rtsp://127.0.0.1:8554/cam", "H264", 1920, 1080, 25.0),
        CameraStream("Sub stream", "rtsp://127.0.0.1:8554/silent", "H264", 640, 360, 25.0),
    ]


def test_a_camera_that_wants_to_be_told_in_http_who_asks() -> None:
    """As a digest: it would take the password itself, too, and is not told it."""
    with onvif_camera(8554, by_http=True) as address:
        assert [one.name for one in streams(address, LOGIN, GUARD)] == ["Main stream", "Sub stream"]


@pytest.mark.parametrize("by_http", [False, True])
@pytest.mark.parametrize("login", [Login(), Login("admin", Secret("wrong")), Login("eve", Secret("onvif secret"))])
def test_another_login_is_said_to_be_needed(login: Login, by_http: bool) -> None:
    with onvif_camera(by_http=by_http) as address, pytest.raises(Unauthorised) as caught:
        streams(address, login, GUARD)
    assert caught.value.advice
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>no</html>", b"not xml", b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>",
     b"<s:Envelope xmlns:s='http://www.w3.org/2003/05/soap-envelope'><s:Body/></s:Envelope>",
     ENVELOPE.format(body=TIME.format(datetime(2024, 1, 1, tzinfo=UTC)).replace("2024", "9" * 20)).encode()],
)  # fmt: skip
def test_what_does_not_speak_onvif_is_said_so(body: bytes, trap: Callable[..., Trap]) -> None:
    peer = trap(answer(body, kind="application/soap+xml"))
    with pytest.raises(SourceUnavailable) as caught:
        streams(f"127.0.0.1:{peer.port}", LOGIN, GUARD)
    assert caught.value.advice


def test_nobody_and_silence(trap: Callable[..., Trap]) -> None:
    with pytest.raises(SourceUnavailable):
        streams("127.0.0.1:1", LOGIN, GUARD)
    silent = trap(lambda visitor: visitor.recv(1 << 16) and visitor.recv(1))
    with pytest.raises(DeadlineExceeded):
        streams(f"127.0.0.1:{silent.port}", LOGIN, GUARD, timeout_s=1)


def test_a_camera_of_very_many_streams_is_asked_for_some_of_them() -> None:
    with onvif_camera(more=100) as address:
        assert len(streams(address, LOGIN, GUARD)) == 64


def test_an_address_that_is_not_granted_is_not_reached() -> None:
    with onvif_camera() as address, pytest.raises(SourceRefused):
        streams(address, LOGIN, Guard([]))


PROBED = """<?xml version="1.0"?><e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"
 xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"
 xmlns:dn="http://www.onvif.org/ver10/network/wsdl"><e:Header><w:MessageID>uuid:{number}</w:MessageID>
<w:RelatesTo>{asked}</w:RelatesTo><w:To>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</w:To>
<w:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/ProbeMatches</w:Action>
<d:AppSequence InstanceId="1" MessageNumber="1"/></e:Header><e:Body><d:ProbeMatches><d:ProbeMatch>
<w:EndpointReference><w:Address>urn:uuid:cam-1</w:Address></w:EndpointReference>
<d:Types>dn:NetworkVideoTransmitter</d:Types>
<d:Scopes>onvif://www.onvif.org/name/Front%20door onvif://www.onvif.org/hardware/IPC-1</d:Scopes>
{told}<d:MetadataVersion>1</d:MetadataVersion>
</d:ProbeMatch></d:ProbeMatches></e:Body></e:Envelope>"""


@pytest.mark.parametrize(
    "told",
    ["http://10.0.0.9/onvif", "http://camera.example/onvif", "http://10.0.0.8@10.0.0.9/", "http://a:b@10.0.0.8/",
     "rtsp://10.0.0.8/", "file://10.0.0.8/etc/passwd", "http://[::1/", "http://10.0.0.8:99999/", "", "http://",
     "http://10.0.0.8/" + "x" * 300],
)  # fmt: skip
def test_who_answers_is_listed_where_it_answered_from_and_nowhere_else(told: str) -> None:
    """What a neighbour may say to have someone else be asked, and told a login."""
    scopes = ["onvif://www.onvif.org/name/Front%20%1b%5b2Jdoor" + "x" * 500]
    assert answering(Guard([]), "10.0.0.8", [told], scopes) is None
    own = answering(Guard([]), "10.0.0.8", [told, "http://10.0.0.8:80/onvif/device_service"], scopes)
    assert own is not None
    assert own.address == "http://10.0.0.8:80/onvif/device_service"
    assert own.name.startswith("Front [2Jdoorxxx")
    assert len(own.name) <= 200


@pytest.mark.parametrize("source", ["127.0.0.1", "169.254.169.254", "::1", "fe80::1%eth0"])
def test_who_answers_from_where_nothing_may_be_reached_is_not_listed(source: str) -> None:
    host = f"[{source}]" if ":" in source else source
    with pytest.raises(SourceRefused):
        answering(Guard([]), source, [f"http://{host}/onvif/device_service"], [])


def test_where_private_addresses_are_granted_one_by_one_cameras_are_listed_of_those_alone() -> None:
    told = ["http://10.0.0.8/onvif/device_service"]
    with pytest.raises(SourceRefused):
        answering(Guard([], private="granted"), "10.0.0.8", told, [])
    assert answering(Guard([], ["10.0.0.0/24"], private="granted"), "10.0.0.8", told, [])
    with pytest.raises(SourceRefused):
        streams("10.0.0.8", LOGIN, Guard([], private="granted"))


def test_a_camera_on_this_network_answers() -> None:
    """A stand-in in the discovery group of every interface of this machine answers whoever asks for cameras; and a
    neighbour, who names others, nobody, and more than anyone has, bids farewell for it and is nonsense besides."""
    pytest.importorskip("wsdiscovery", reason="needs the extra onvif")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as camera:
        camera.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        camera.bind(("", 3702))
        for _, name in socket.if_nameindex():
            with suppress(OSError):
                index = socket.if_nametoindex(name)
                group = struct.pack("4s4si", socket.inet_aton("239.255.255.250"), b"\0" * 4, index)
                camera.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        heard = threading.Event()

        def respond() -> None:
            with suppress(OSError):
                while True:
                    data, asker = camera.recvfrom(65536)
                    text = data.decode("utf-8", "replace")
                    if "Probe" in text and "NetworkVideoTransmitter" in text and "MessageID" in text:
                        heard.set()
                        asked = text.partition("MessageID>")[2].partition("<")[0]
                        for number, old, new in (
                            ("a", 'InstanceId="1"', 'InstanceId="one"'),
                            ("b", 'MessageNumber="1"', 'MessageNumber="many"'),
                            ("c", "<d:Types>dn:NetworkVideoTransmitter</d:Types>", "<d:Types>no:one</d:Types>"),
                            ("d", "</w:Address>", "</w:Address><x/>"),
                            ("e", "ProbeMatches<", "<"),
                        ):
                            broken = PROBED.format(asked=asked, number=number, told="").replace(old, new)
                            camera.sendto(broken.encode(), asker)
                        for told in ("10.9.9.9", "camera.example", *(f"10.1.{n}.1" for n in range(50))):
                            xaddrs = f"<d:XAddrs>http://{told}/onvif/device_service</d:XAddrs>"
                            camera.sendto(PROBED.format(asked=asked, number=told, told=xaddrs).encode(), asker)
                        camera.sendto(PROBED.format(asked=asked, number="nobody", told="").encode(), asker)
                        own = f"<d:XAddrs>http://10.9.9.9/x http://{asker[0]}:8000/onvif/device_service</d:XAddrs>"
                        whole = PROBED.format(asked=asked, number="cam", told=own)
                        camera.sendto(whole.encode(), asker)
                        for action in ("Bye", "Hello", "Resolve", "x"):
                            farewell = whole.replace("uuid:cam", f"uuid:{action}").replace(
                                "/ProbeMatches<", f"/{action}<"
                            )
                            camera.sendto(farewell.encode(), asker)
                        camera.sendto(b"<", asker)

        threading.Thread(target=respond, daemon=True).start()
        granted = Guard([], ["0.0.0.0/0"])
        found = next(filter(None, (discover(granted, timeout_s=2) for _ in range(3))), [])  # it may answer too late
        if not heard.is_set():
            pytest.skip("no multicast on this machine")
        with pytest.raises(SourceRefused, match="answered"):  # and not that there is none
            any(discover(Guard([], resolver=lambda *_: ["169.254.0.1"]), timeout_s=2) for _ in range(3))
    assert found
    for one in found:  # from each network of this machine
        assert one == Answering(one.address, "Front door", "IPC-1")
        assert one.address.endswith(":8000/onvif/device_service")
