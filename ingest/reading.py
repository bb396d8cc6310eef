"""The decoder child's main job: one decode of a source serves sampling, sound and recording."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ingest import pictures, sounds
from ingest.beginning import Task, earliest, publish_from, read_early, seek_to
from ingest.captions import Captions, beside
from ingest.captions import tracks as captions_of
from ingest.clock import SystemClock
from ingest.errors import BrokenVideo
from ingest.frugal import Frugal
from ingest.hearing import Hearing
from ingest.libav_errors import noting, translate
from ingest.limits import Limits
from ingest.opening import Opened, open_source, unfiltered
from ingest.orders import Orders
from ingest.probe import describe
from ingest.recording import Recorder
from ingest.records import Frame, Moment, Segment, StreamId, seconds
from ingest.sampling import Grey, Sampler, Sampling
from ingest.sight import Sight
from ingest.timeline import (
    APART,
    FORWARD,
    MPEGTS_WRAP,
    Stamp,
    Ticks,
    Timeline,
    advance,
    microseconds,
    resumed,
)

if TYPE_CHECKING:
    from av import AudioFrame, Packet, VideoFrame
    from av.audio.stream import AudioStream
    from av.video.stream import VideoStream

    from ingest.decode import Emit

_BEAT_S: Final = 0.5
_TURN: Final = 64
"""Packets of sound that are decoded at once."""
_LATE_S: Final = 1.0
"""So long sound waits at most for more of it."""
_PATIENCE: Final = 200
"""Broken packets in a row after which a source counts as broken."""
_REORDERED: Final = 32
"""More packets than lie between the one that is shown last and the last one."""
_SHORT: Final = seconds(2)
"""A file that ends this much before its stated duration was cut off."""


def job(details: Mapping[str, Any], limits: Limits, emit: Emit) -> dict[str, Any]:
    """Read the source to its end. Says `open`, then records and `beat`s; ends with how it ended."""
    task = Task(**{**details["task"], "sampling": Sampling(**details["task"]["sampling"])})
    source, seen = details["source"], earliest(task, SystemClock()) if task.live else Moment(0)
    with open_source(source, limits, seen) as opened:
        film = Path(source["location"]).resolve() if source["scheme"] == "file" else None
        if opened.burst_s:  # when it was filmed is not known before a segment more has come
            emit(("open", asdict(describe(opened))))
        reader = Reader(opened, task, emit, Sight(limits) if task.live else None, film)
        return reader.run()


class Reader:
    """Packets in; frames, sounds, segments, looks and beats out."""

    def __init__(
        self, opened: Opened, task: Task, emit: Emit, sight: Sight | None = None, film: Path | None = None
    ) -> None:
        """`film`: the file that is read, if it is one: there may be subtitles beside it."""
        import av.error

        self._refusal: type[Exception] = av.error.FFmpegError
        """What libav raises; looked up once, since it is asked for with each packet."""
        self._opened, self._task, self._emit, self._sight = opened, task, emit, sight
        self._clock = SystemClock()
        self._stream = StreamId(task.stream)
        self._captions = Captions(beside(film, opened.container.start_time or 0) if film is not None else ())
        self._written = captions_of(opened.container) if not task.live else []
        self._audio = opened.audio if task.audio else None
        """The sound that is listened to: of a live stream this may change."""
        heard = opened.audio if task.live else self._audio
        self._packets = opened.packets(opened.video, heard, *self._written)
        self._seek = seek_to(task, opened, hears=self._audio is not None or bool(self._written))
        self._promised = opened.promised
        self._lasts = 0
        """How long the newest picture is shown, of sound alone the newest sound, in ticks; 0 where nothing tells it."""
        self._ends: deque[int] = deque(maxlen=_REORDERED)
        """In ticks, where the newest packets of a file end of which only key frames are decoded."""
        self._apart_s = 0.0
        """How far apart the first pictures came."""
        self._earliest = Moment(task.starts_at)
        """The first picture has no earlier moment."""
        self._line = self._first_line()
        self._floor = publish_from(task)
        self._tracks: dict[int, Ticks] = {}
        self._sampler = Sampler(task.sampling)
        self._hearing = Hearing(task, self._captions, emit, from_start=self._seek is None)
        self._resampler = sounds.mono_resampler()
        self._recorder = self._make_recorder()
        self._waiting: list[Packet] = []
        """Sound that is to be decoded."""
        self._waits_since = 0.0
        self._heard: list[tuple[int, AudioFrame]] = []
        """Sound that was decoded, and its time in microseconds."""
        self._broken = 0
        self._beat_at = 0.0
        self._newest: Stamp | None = None
        self._frugal = self._make_frugal()
        self._orders = Orders(self._clock, audio=task.audio, record=task.record, turn=self._turn)
        self._sparing = False
        pixel = pictures.pixel_of(opened.video) if opened.video is not None else pictures.SQUARE
        self._scaler = pictures.Scaler(task.sampling.max_side, pixel)
        self._told: tuple[str, int, bool] = ("nothing", 0, False)

    def run(self) -> dict[str, Any]:
        opened = self._opened
        self._prepare()
        info = describe(opened)
        if self._apart_s * info.fps > 1:  # what libav takes for a rate is a guess where nothing tells it
            info = replace(info, fps=1 / self._apart_s)
        self._emit(("open", asdict(info)))
        self._turn()
        live = self._task.live
        try:
            for packet in self._unless_broken(self._packets):
                self._take(packet)
                if live and self._orders.end():
                    break
        except BaseException as error:
            if live:  # what came before the connection was lost is listened to
                with noting(error):
                    self._flush_sound()
            raise
        finally:
            self._tell_frugal()
        self._flush_sound()
        if self._recorder is not None:
            self._record(self._recorder.close(torn=not (self._orders.over or opened.ends)))
        return self._outcome()

    def _take(self, packet: Packet) -> None:
        opened, stream, recorder = self._opened, packet.stream, self._recorder
        if stream is opened.video:
            self._take_picture(packet, opened.video)
        elif stream is not opened.audio:
            self._caption(packet)
        elif self._audio is None:
            self._place(1, packet)  # its clock may wrap meanwhile
        elif not self._put_off(packet):
            self._decode(packet)
            self._listen()
        if recorder is None or (self._line.last is None and self._known(packet)):
            return
        if found := recorder.add(packet, self._line):
            self._record(found)

    def _take_picture(self, packet: Packet, video: VideoStream) -> None:
        if self._opened.burst_s:
            self._pass(packet)
        frugal = self._frugal
        if frugal is not None and packet.size:
            if not frugal.ignores(packet):
                self._ration(packet, frugal, video)
            return
        if self._task.sampling.keyframes_only and packet.pts is not None:
            self._ends.append(packet.pts + (packet.duration or 0))
        self._decode(packet)

    def _pass(self, packet: Packet) -> None:
        """Say how far the pictures reach, decoded or not."""
        ticks = self._tracks.get(0)
        if ticks is not None and packet.dts is not None:
            self._opened.passed(ticks.at(packet.dts + (packet.duration or 0)))

    def _turn(self) -> None:
        """Listen or not, record or not, from now on."""
        orders, recorder = self._orders, self._recorder
        if self._audio is not None and not orders.audio:
            self._flush_sound()
        elif self._audio is None and orders.audio:
            self._hearing.begin()
        self._audio = self._opened.audio if orders.audio else None
        if recorder is not None:
            self._record(recorder.turn(on=orders.record, audible=orders.audio))
            self._emit(("unrecorded", recorder.refused if orders.record else ""))

    def _unless_broken(self, packets: Iterator[Packet]) -> Iterator[Packet]:
        """A file whose middle cannot be read is a broken video, whatever libav calls it there."""
        try:
            yield from packets
        except (self._refusal, UnicodeDecodeError) as error:
            if self._task.live or self._newest is None:
                raise
            raise translate(error, started=True) from error

    # --- where to begin ----------------------------------------------------------------------------------------

    def _first_line(self) -> Timeline:
        jumps = not self._opened.one_timeline
        if self._seek is not None and self._task.resume is not None:
            return resumed(self._task.resume, jumps=jumps)
        if not self._task.live:
            return Timeline(self._task.epoch, jumps=jumps)
        lead = self._opened.video or self._opened.audio
        early = read_early(self._packets, lead, self._clock, filmed=self._opened.filmed)
        self._packets, self._apart_s = chain(early.packets, self._packets), early.apart_s
        self._earliest = earliest(self._task, self._clock)
        return Timeline(self._task.epoch, early.offset, jumps=jumps, floor=self._earliest, arrived=early.known)

    def _prepare(self) -> None:
        opened, task = self._opened, self._task
        if opened.video is not None:
            opened.video.codec_context.thread_count = 1 if task.live else 2
            if task.sampling.keyframes_only:
                opened.video.codec_context.skip_frame = "NONKEY"
                unfiltered(opened.video)
        target = self._seek
        if target is not None and target > 0:
            opened.container.seek(target, backward=task.skip is None)

    # --- packets -----------------------------------------------------------------------------------------------

    def _make_recorder(self) -> Recorder | None:
        task = self._task
        if task.folder is None:
            return None
        return Recorder(self._opened, task.folder, self._stream, task.segment_s, before_writing=self._catch_up)

    def _make_frugal(self) -> Frugal | None:
        """Only what is live may be late or left out. A decoder that holds pictures back could not be woken in order."""
        video = self._opened.video
        if not self._task.live or video is None:
            return None
        sampling, base = self._task.sampling, Fraction(video.time_base or 0)
        rests = sampling.rests and not video.codec_context.has_b_frames
        return Frugal(base, rests=rests, keys=sampling.keyframes_only, burst=seconds(self._opened.burst_s))

    def _ration(self, packet: Packet, frugal: Frugal, video: VideoStream) -> None:
        """Decode of the video what there is reason and time for; of the rest, say that it came."""
        newest, key = self._newest, packet.is_keyframe
        still = key and newest is not None and self._sampler.still(newest.pts)
        wanted = (key or not self._task.sampling.keyframes_only) and not self._served(packet, frugal)
        frugal.load.filled = self._orders.filled
        now = self._clock.monotonic()
        decoded = frugal.admit(packet, now, wanted=wanted, still=still)
        if decoded:  # what was left out is counted before the picture behind it comes
            self._tell_frugal()
        for one in decoded:
            self._spare(one, video, frugal)
            self._decode(one, video)
        if decoded:
            frugal.deferred.took(self._clock.monotonic() - now, len(decoded))
        else:
            self._pass_over(packet)
        if frugal.load.shedding != self._told[0] or frugal.resting != self._told[2]:
            self._tell_frugal()

    def _spare(self, packet: Packet, video: VideoStream, frugal: Frugal) -> None:
        """Of pictures that no candidate can be, have libav leave out those that no other is made from."""
        spared = self._served(packet, frugal) and not self._task.sampling.keyframes_only
        if spared != self._sparing:
            self._sparing = spared
            video.codec_context.skip_frame = "NONREF" if spared else "DEFAULT"

    def _served(self, packet: Packet, frugal: Frugal) -> bool:
        """Whether no candidate can be made of a packet that is not decoded yet."""
        pts = self._ahead(packet)
        return pts is not None and self._sampler.served(pts, floor=frugal.load.step > 0)

    def _ahead(self, packet: Packet) -> int | None:
        """The time of a packet that is not decoded yet, microseconds."""
        ticks = self._tracks.get(0)
        return None if ticks is None or packet.pts is None else ticks.at(packet.pts)

    def _pass_over(self, packet: Packet) -> None:
        """A picture that is not decoded, or not yet: the camera delivers all the same."""
        if not self._beat_due() or self._line.offset is None or self._line.last is None:
            return
        pts = self._ahead(packet)
        if pts is not None and 0 <= pts - self._line.last < FORWARD:
            self._beat(Stamp(self._line.epoch, pts, Moment(pts + self._line.offset)))

    def _woken(self, frame: VideoFrame) -> bool:
        """Whether a key frame ends the stream's rest: then what was put off is decoded, and it once more behind it."""
        frugal, video = self._frugal, self._opened.video
        if frugal is None or video is None or not frugal.resting or not self._sampler.differs(pictures.grey(frame)):
            return False
        again = frugal.again()
        video.codec_context.flush_buffers()
        for packet in again:
            self._decode(packet, video)
        return True

    def _decode(self, packet: Packet, track: VideoStream | AudioStream | None = None) -> None:
        """`track`: of a packet that does not say so itself."""
        try:
            frames: Any = packet.decode() if track is None else track.codec_context.decode(packet)
        except MemoryError:
            raise
        except self._refusal as error:  # decoders say all sorts of things about broken data, even EPERM
            self._broken += 1
            if self._broken > _PATIENCE:
                raise BrokenVideo("From here on it cannot be decoded.", advice="Check the file or camera.") from error
            return
        for frame in frames:
            self._broken = 0
            if (track or packet.stream) is self._opened.audio:
                self._hear(frame)
            elif not self._woken(frame):
                self._picture(frame)

    def _place(self, track: int, frame: VideoFrame | AudioFrame | Packet) -> int | None:
        """A frame's own time, microseconds, unwrapped."""
        if frame.pts is None:
            return None
        ticks = self._tracks.get(track)
        if ticks is None:
            if frame.time_base is None:
                return None
            ticks = Ticks.of(Fraction(frame.time_base), MPEGTS_WRAP if self._opened.wraps else 0)
        self._tracks[track], pts = ticks.read(frame.pts)
        return pts

    def _known(self, frame: VideoFrame | AudioFrame | Packet) -> bool:
        """Whether it was seen before the connection was lost: a playlist begins again with it."""
        offset = self._line.offset
        if self._line.last is not None or offset is None or self._opened.filmed is None:
            return False
        at = None if frame.pts is None else microseconds(frame.pts, Fraction(frame.time_base or 0))
        return at is not None and at + offset < self._earliest + APART // 2

    def _lead(self, pts: int | None) -> Stamp | None:
        """Move the timeline on by the leading track."""
        arrival = self._opened.arrival(self._clock) if self._task.live else None
        first = self._earliest if arrival is None else max(arrival.moment, self._earliest)
        line, stamp = advance(self._line, pts, first=first, arrival=arrival)
        if line.epoch != self._line.epoch:
            self._flush_sound()
            self._sampler.forget()
            self._ends.clear()
            if self._sight is not None:
                self._sight.forget()
        self._line = line
        if stamp is not None:
            self._newest = stamp
        return stamp

    # --- pictures ----------------------------------------------------------------------------------------------

    def _picture(self, frame: VideoFrame) -> None:
        pts = self._place(0, frame)
        stamp = None if self._known(frame) else self._lead(pts)
        if stamp is None:
            return
        self._lasts = frame.duration
        if self._sampler.wants(stamp.pts, floor=self._frugal is not None and self._frugal.load.step > 0):
            grey = pictures.grey(frame)
            self._look(stamp, grey, frame)
            reason = self._sampler.judge(stamp.pts, grey)
            if reason is not None and self._due(stamp):
                rgb = self._scaler.pixels(frame)
                self._emit(Frame(self._stream, stamp.epoch, stamp.pts, stamp.moment, rgb, reason))
        self._beat(stamp)

    def _look(self, stamp: Stamp, grey: Grey, frame: VideoFrame) -> None:
        look = None if self._sight is None else self._sight.judge(stamp.moment, grey, lambda: pictures.tints(frame))
        if look is not None:
            self._beat_at = 0.0
            self._beat(stamp)
            self._emit(("look", look.blind, look.since, look.detail))

    def _due(self, stamp: Stamp) -> bool:
        skip = self._task.skip
        return (stamp.epoch, stamp.pts) >= self._floor and (skip is None or stamp.pts > skip)

    def _beat_due(self) -> bool:
        return self._clock.monotonic() - self._beat_at >= _BEAT_S

    def _beat(self, stamp: Stamp) -> None:
        if self._beat_due():
            self._beat_at = self._clock.monotonic()
            self._emit(("beat", stamp.epoch, stamp.pts, stamp.moment))
            if self._audio is None:
                self._hearing.show(self._line, stamp.pts)
            self._tell_frugal()

    def _tell_frugal(self) -> None:
        frugal = self._frugal
        if frugal is not None and (now := (frugal.load.shedding, frugal.skipped, frugal.resting)) != self._told:
            self._told = now
            self._emit(("frugal", *now))

    # --- sound -------------------------------------------------------------------------------------------------

    def _put_off(self, packet: Packet) -> bool:
        """Sound is decoded some packets at a time, before a recorder changes them: each turn from pictures to sound and
        back empties the caches."""
        if self._opened.video is None or (self._recorder is not None and self._recorder.encodes_sound):
            return False
        if not self._waiting:
            self._waits_since = self._clock.monotonic()
        self._waiting.append(packet)
        if len(self._waiting) >= _TURN or self._clock.monotonic() - self._waits_since > _LATE_S:
            self._catch_up()
        return True

    def _catch_up(self) -> None:
        """Decode the sound that waits."""
        waiting, self._waiting = self._waiting, []
        for packet in waiting:
            self._decode(packet, self._opened.audio)
        self._listen()

    def _hear(self, frame: AudioFrame) -> None:
        pts = self._place(1, frame)
        if pts is None or self._known(frame):
            return
        if self._recorder is not None:
            self._recorder.add_sound(frame, pts)
        if self._opened.video is None:
            stamp = self._lead(pts)
            if stamp is not None:
                self._lasts = frame.duration
                self._beat(stamp)
        self._heard.append((pts, frame))

    def _listen(self) -> None:
        """Take in what was decoded of the sound."""
        if not self._heard:
            return
        heard, self._heard = self._heard, []
        for pts, frame in sounds.joined(heard):
            self._hearing.add(self._line, pts, sounds.samples(self._resampler, frame))

    def _flush_sound(self) -> None:
        self._catch_up()
        self._hearing.flush(self._line)

    def _caption(self, packet: Packet) -> None:
        pts = self._place(2 + self._written.index(packet.stream), packet)
        if pts is None or not packet.size:
            return
        with suppress(self._refusal, UnicodeDecodeError):  # subtitles that are broken are none
            self._captions.add(packet, pts)
        if self._audio is None:
            self._hearing.show(self._line, pts + 1)

    # --- recording and the end ---------------------------------------------------------------------------------

    def _record(self, found: Iterable[Segment | str]) -> None:
        """Say each segment as it is completed; what cannot be written is left, and reading goes on."""
        assert self._recorder is not None
        try:
            for one in found:
                self._emit(one if isinstance(one, Segment) else ("unrecorded", one))
        except (OSError, self._refusal) as error:
            with suppress(OSError):  # it is rescued later
                for left in self._recorder.abandon():
                    self._emit(left)
            self._emit(("unrecorded", str(translate(error))))

    def _outcome(self) -> dict[str, Any]:
        newest = self._newest
        if newest is None:
            raise BrokenVideo("Not one picture of it could be decoded.", advice="Check that it plays elsewhere.")
        end = self._end(newest.pts)
        missing = max(0, self._promised - end)
        return {
            "ends": self._opened.ends,
            "missing_us": missing if missing > _SHORT else 0,
            "moment": newest.moment,
            "pts": newest.pts,
            "epoch": newest.epoch,
            "lasts_us": end - newest.pts,
        }

    def _end(self, newest: int) -> int:
        """Where the `newest` picture ends, microseconds: when it is no longer shown, as far as that can be."""
        ticks = self._tracks[0 if self._opened.video is not None else 1]
        told = [newest + ticks.lasting(self._lasts or 0), *(ticks.at(end) for end in self._ends)]
        lasts = max(told) - newest
        return newest + min(lasts or APART, max(FORWARD, self._promised - newest))
