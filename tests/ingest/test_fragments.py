"""Where fragments lie, against libav's own reading of the same file."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from ingest.fragments import layout, shifted
from ingest.recording import MUXING


@pytest.fixture(scope="module")
def fragmented(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fragmented") / "ten.mp4"
    with av.open(str(clips / "ten.mp4")) as source, av.open(str(out), "w", format="mp4", options=MUXING) as copy:
        tracks = {track.index: copy.add_stream_from_template(track) for track in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.dts += packet.time_base.denominator  # no time of decoding is negative
                packet.pts += packet.time_base.denominator
                packet.stream = tracks[packet.stream.index]
                copy.mux(packet)
    return out


def decoding(path: Path) -> list[tuple[str, int, bool]]:
    """Track, time of decoding in microseconds and whether it is a key frame, of every packet."""
    with av.open(str(path)) as container:
        return [
            (packet.stream.type, round(packet.dts * packet.time_base * 1_000_000), packet.is_keyframe)
            for packet in container.demux()
            if packet.dts is not None
        ]


def test_a_fragment_begins_at_each_key_frame(fragmented: Path) -> None:
    keys = [at for kind, at, key in decoding(fragmented) if kind == "video" and key]
    found = layout(fragmented)
    assert len(keys) == 5
    assert [fragment.start for fragment in found.fragments] == pytest.approx(keys, abs=1)
    last = max(at for kind, at, _ in decoding(fragmented) if kind == "video")
    assert [fragment.end for fragment in found.fragments] == pytest.approx([*keys[1:], last + 40_000], abs=1)
    ends = [fragment.offset + fragment.size for fragment in found.fragments]
    assert [fragment.offset for fragment in found.fragments] == [len(found.header), *ends[:-1]]


def test_what_begins_with_no_key_frame_goes_with_what_is_before_it(clips: Path, tmp_path: Path) -> None:
    """A fragment is what a player may be given alone."""
    path = tmp_path / "often.mp4"
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "500000"}
    with av.open(str(clips / "ten.mp4")) as source, av.open(str(path), "w", format="mp4", options=options) as out:
        track = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = track
                out.mux(packet)
    assert path.read_bytes().count(b"moof") > 10
    found, keys = layout(path), [at for _, at, key in decoding(path) if key]
    assert [fragment.start for fragment in found.fragments] == pytest.approx(keys, abs=1)
    ends = [fragment.offset + fragment.size for fragment in found.fragments]
    assert [fragment.offset for fragment in found.fragments] == [len(found.header), *ends[:-1]]
    assert [fragment.end for fragment in found.fragments[:-1]] == pytest.approx(keys[1:], abs=1)


def test_what_a_killed_process_left_unfinished_is_left_out(fragmented: Path, tmp_path: Path) -> None:
    whole = layout(fragmented)
    last = whole.fragments[-1]
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(fragmented.read_bytes()[: last.offset + last.size - 1])
    assert layout(torn).fragments == whole.fragments[:-1]
    assert shifted(torn, 0) == fragmented.read_bytes()[len(whole.header) : last.offset]


def test_shifting_changes_times_alone(fragmented: Path, tmp_path: Path) -> None:
    later = tmp_path / "later.mp4"
    by = 1_773_510_120_000_000
    later.write_bytes(layout(fragmented).header + shifted(fragmented, by))
    before, after = decoding(fragmented), decoding(later)
    assert [(kind, key) for kind, _, key in after] == [(kind, key) for kind, _, key in before]
    assert [at - by for _, at, _ in after] == pytest.approx([at for _, at, _ in before], abs=100)


def test_a_plain_file_has_no_fragments(clips: Path, tmp_path: Path) -> None:
    assert layout(clips / "ten.mp4").fragments == ()
    (tmp_path / "none.mp4").write_bytes(b"no video at all, only words")
    assert layout(tmp_path / "none.mp4").fragments == ()
