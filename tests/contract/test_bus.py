"""What every bus must do, and the one loop over it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.bus import FEATURES, FRAMES, JOURNAL, SOUNDS, Bus, Policy
from ingest.bus_memory import MemoryBus, weight
from ingest.errors import Busy, Fatal, NotVideo, SourceUnavailable
from ingest.ledger import Ledger
from ingest.records import Feature, Frame, Gap, Moment, Record, Sound, Span, StateChange, StreamId
from ingest.stage import drive

CAM, DOOR = StreamId("cam"), StreamId("door")
PIXELS = np.zeros((2, 2, 3), np.uint8)
GROUPS = {FRAMES: ("encode",), SOUNDS: ("hear",), FEATURES: ("remember", "watch"), JOURNAL: ("remember",)}


def frame(number: int, stream: StreamId = CAM) -> Frame:
    return Frame(stream, 0, number, Moment(number), PIXELS)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def bus(ledger: Ledger) -> MemoryBus:
    return MemoryBus(GROUPS, capacity=4, ledger=ledger)


def numbers(bus: Bus, topic: str, group: str, limit: int = 100) -> list[int]:
    deliveries = bus.receive((topic,), group, limit=limit, wait_s=0.05)
    bus.acknowledge(deliveries)
    return [d.record.pts for d in deliveries if isinstance(d.record, Frame)]


# --- every bus -------------------------------------------------------------------------------------------------


def test_every_group_gets_every_record_in_order(bus: MemoryBus) -> None:
    for number in range(4):
        bus.publish(FEATURES, frame(number))
    assert numbers(bus, FEATURES, "remember") == [0, 1, 2, 3]
    assert numbers(bus, FEATURES, "watch") == [0, 1, 2, 3]
    assert numbers(bus, FEATURES, "watch") == []


def test_a_full_queue_makes_the_publisher_wait_and_then_says_busy(bus: MemoryBus) -> None:
    for number in range(4):
        bus.publish(FRAMES, frame(number))
    with pytest.raises(Busy):
        bus.publish(FRAMES, frame(4))
    assert numbers(bus, FRAMES, "encode") == [0, 1, 2, 3]


def test_after_busy_no_group_has_the_record(bus: MemoryBus) -> None:
    for number in range(4):
        bus.publish(FEATURES, frame(number))
    assert numbers(bus, FEATURES, "watch") == [0, 1, 2, 3]
    with pytest.raises(Busy):
        bus.publish(FEATURES, frame(4))
    assert numbers(bus, FEATURES, "watch") == []
    assert numbers(bus, FEATURES, "remember") == [0, 1, 2, 3]


def test_a_full_stream_does_not_hold_up_another(bus: MemoryBus) -> None:
    for number in range(4):
        bus.publish(FRAMES, frame(number))
    bus.publish(FRAMES, frame(9, DOOR))
    assert 9 in numbers(bus, FRAMES, "encode")


def test_one_of_each_stream_is_served_in_turn(bus: MemoryBus) -> None:
    """So that all wait alike, whether batches are large or small."""
    for stream in range(3):
        for number in range(3):
            bus.publish(FRAMES, frame(10 * stream + number, StreamId(f"stream {stream}")))
    assert [numbers(bus, FRAMES, "encode", 4) for _ in range(3)] == [[0, 10, 20, 1], [11, 21, 2, 12], [22]]


def test_dropping_the_oldest_is_counted(bus: MemoryBus, ledger: Ledger) -> None:
    for number in range(7):
        bus.publish(FRAMES, frame(number), Policy.DROP_OLDEST)
    assert numbers(bus, FRAMES, "encode") == [3, 4, 5, 6]
    assert ledger.counts(CAM).dropped == {"overload": 3}


def test_a_publisher_is_told_how_full_it_is_and_what_made_room(bus: MemoryBus) -> None:
    rooms = [bus.publish(FRAMES, frame(number), Policy.DROP_OLDEST) for number in range(6)]
    assert [room.filled for room in rooms] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert [[gone.key for gone in room.dropped] for room in rooms[3:]] == [[], [frame(0).key], [frame(1).key]]
    oldest = rooms[-1].oldest
    assert oldest is not None
    assert oldest.key == frame(2).key


def test_sound_that_makes_room_is_counted_by_its_length(bus: MemoryBus, ledger: Ledger) -> None:
    """A listener that is too slow has a bounded queue, and what is lost of a live stream's sound is told."""
    for number in range(7):
        at = Moment(number * 10_000_000)
        bus.publish(SOUNDS, Sound(CAM, 0, at, at, np.zeros(160_000, np.float32)), Policy.DROP_OLDEST)
    assert ledger.counts(CAM).unheard == {"overload": 30_000_000}
    assert (ledger.counts(CAM).dropped, ledger.counts(CAM).in_flight) == ({}, 0), "frames have an account of their own"


def test_a_blocked_publisher_goes_on_when_there_is_room_and_nothing_is_lost(bus: MemoryBus) -> None:
    """The queue runs empty and is full again, over and over."""
    got: list[int] = []
    done = threading.Event()

    def publish() -> None:
        for number in range(300):
            bus.publish(FRAMES, frame(number))
        done.set()

    thread = threading.Thread(target=publish)
    thread.start()
    while not done.is_set() or len(got) < 300:
        got += numbers(bus, FRAMES, "encode", 3)
        assert len(got) <= 300
    thread.join()
    assert got == list(range(300))


def test_closing_wakes_everyone(bus: MemoryBus) -> None:
    begun = time.monotonic()
    threading.Timer(0.1, bus.close).start()
    assert bus.receive((FRAMES,), "encode", limit=1, wait_s=60) == []
    with pytest.raises(Busy):
        bus.publish(FRAMES, frame(1))
    assert time.monotonic() - begun < 30


def test_depth_tells_what_waits_and_what_is_being_handled(bus: MemoryBus) -> None:
    bus.publish(FRAMES, frame(0))
    bus.publish(FRAMES, frame(1))
    held = bus.receive((FRAMES,), "encode", limit=1, wait_s=0.1)
    assert bus.depth()["frames/encode"] == 2
    bus.acknowledge(held)
    assert bus.depth()["frames/encode"] == 1


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from([CAM, DOOR]), st.integers(1, 5), st.booleans()), max_size=60))
def test_whatever_the_pace_order_holds_and_the_account_closes(steps: list[tuple[StreamId, int, bool]]) -> None:
    ledger = Ledger()
    bus = MemoryBus({FRAMES: ("encode",)}, capacity=3, ledger=ledger)
    got: dict[StreamId, list[int]] = {CAM: [], DOOR: []}

    def take(limit: int) -> None:
        deliveries = bus.receive((FRAMES,), "encode", limit=limit, wait_s=0)
        bus.acknowledge(deliveries)
        for delivery in deliveries:
            assert isinstance(delivery.record, Frame)
            got[delivery.record.stream].append(delivery.record.pts)
            ledger.stored(delivery.record.stream)

    for number, (stream, limit, publish) in enumerate(steps):
        if publish:
            ledger.captured(stream)
            bus.publish(FRAMES, frame(number, stream), Policy.DROP_OLDEST)
        else:
            take(limit)
    waiting = sum(bus.depth().values())
    assert sum(ledger.counts(stream).in_flight for stream in got) == waiting
    take(1000)
    assert all(ledger.counts(stream).in_flight == 0 for stream in got)
    assert all(values == sorted(values) for values in got.values())


# --- what waits of all streams ----------------------------------------------------------------------------------


def named(number: int) -> StreamId:
    return StreamId(f"stream {number}")


def small(ledger: Ledger, pictures: int) -> MemoryBus:
    """Room for so many pictures of all streams."""
    return MemoryBus(GROUPS, budget=pictures * PIXELS.nbytes, ledger=ledger)


def waiting(bus: Bus) -> dict[StreamId, list[int]]:
    """Takes all pictures."""
    found: dict[StreamId, list[int]] = {}
    for delivery in bus.receive((FRAMES,), "encode", limit=1000, wait_s=0):
        assert isinstance(delivery.record, Frame)
        found.setdefault(delivery.record.stream, []).append(delivery.record.pts)
    return found


@pytest.mark.parametrize("streams", [1, 2, 3, 5, 12])
def test_what_waits_of_all_streams_is_bounded_and_each_keeps_its_newest(streams: int, ledger: Ledger) -> None:
    bus = small(ledger, 12)
    for number in range(30):
        for stream in range(streams):
            bus.publish(FRAMES, frame(number, named(stream)), Policy.DROP_OLDEST)
    found = waiting(bus)
    assert sum(map(len, found.values())) == 12, "all the room is used"
    for stream in range(streams):
        kept = found[named(stream)]
        assert 0 <= len(kept) - 12 // streams <= 1
        assert kept == list(range(30 - len(kept), 30))
        assert ledger.counts(named(stream)).dropped == {"overload": 30 - len(kept)}


def test_whoever_takes_less_than_its_share_loses_nothing_to_whoever_takes_more(ledger: Ledger) -> None:
    bus = small(ledger, 12)
    for number in range(60):
        bus.publish(FRAMES, frame(number), Policy.DROP_OLDEST)
        if number % 15 == 0:
            bus.publish(FRAMES, frame(number, DOOR), Policy.DROP_OLDEST)
    assert ledger.counts(DOOR).dropped == {}
    assert waiting(bus) == {DOOR: [0, 15, 30, 45], CAM: list(range(52, 60))}


def test_one_of_many_may_use_what_the_others_leave(ledger: Ledger) -> None:
    bus = small(ledger, 12)
    for stream in range(5):
        bus.publish(FRAMES, frame(0, named(stream)), Policy.DROP_OLDEST)
    rooms = [bus.publish(FRAMES, frame(number), Policy.DROP_OLDEST) for number in range(8)]
    assert [room.dropped for room in rooms[:7]] == [()] * 7
    assert [gone.key for gone in rooms[7].dropped] == [frame(0).key]
    assert ledger.counts(CAM).dropped == {"overload": 1}


def test_who_begins_to_wait_is_let_in_and_the_others_give_way_with_their_next(ledger: Ledger) -> None:
    bus = small(ledger, 12)
    for number in range(12):
        bus.publish(FRAMES, frame(number), Policy.DROP_OLDEST)
    assert bus.publish(FRAMES, frame(0, DOOR), Policy.DROP_OLDEST).dropped == ()
    gone = bus.publish(FRAMES, frame(12), Policy.DROP_OLDEST).dropped
    assert [one.key for one in gone] == [frame(0).key, frame(1).key]


def test_a_publisher_is_told_of_its_share_of_the_room(ledger: Ledger) -> None:
    """Whoever takes more than others is to give up something first."""
    bus = small(ledger, 20)
    for stream in range(4):
        assert bus.publish(FRAMES, frame(0, named(stream)), Policy.DROP_OLDEST).filled <= 0.2
    rooms = [bus.publish(FRAMES, frame(1, named(0)), Policy.DROP_OLDEST) for _ in range(11)]
    assert rooms[-1].filled == 0.75
    assert bus.publish(FRAMES, frame(1, named(1)), Policy.DROP_OLDEST).filled == 0.2, "one of its five, and the newest"


def test_one_that_waits_alone_is_no_sign_of_overload_and_one_that_had_to_go_is(ledger: Ledger) -> None:
    """However little room there is: it is as much of it as three pictures of ten cameras."""
    bus = small(ledger, 3)
    first = [bus.publish(FRAMES, frame(0, named(stream)), Policy.DROP_OLDEST) for stream in range(10)]
    assert [room.filled for room in first] == [1 / 64] * 10
    again = [bus.publish(FRAMES, frame(1, named(stream)), Policy.DROP_OLDEST) for stream in range(10)]
    assert [(room.filled, len(room.dropped)) for room in again] == [(1.0, 1)] * 10


def test_whose_picture_makes_room_for_its_next_keeps_its_turn(ledger: Ledger) -> None:
    """Else whoever has most to show would be served last, and never where all have room for one."""
    bus = small(ledger, 3)
    served: dict[StreamId, int] = {}
    for second in range(200):
        for stream in range(12):
            for number in range(4 if stream < 6 else second % 2):
                bus.publish(FRAMES, frame(4 * second + number, named(stream)), Policy.DROP_OLDEST)
        for delivery in bus.receive((FRAMES,), "encode", limit=5, wait_s=0):
            served[delivery.record.stream] = served.get(delivery.record.stream, 0) + 1
    busy, quiet = ([served.get(named(stream), 0) for stream in some] for some in (range(6), range(6, 12)))
    assert min(busy) >= max(quiet) - 1
    assert max(busy) - min(busy) <= 3
    assert min(quiet) > 40


def test_a_file_waits_for_its_share_of_the_room_and_one_picture_always_has_some(ledger: Ledger) -> None:
    bus = small(ledger, 4)
    for number in range(4):
        bus.publish(FRAMES, frame(number))
    for stream in range(6):
        bus.publish(FRAMES, frame(0, named(stream)))
    with pytest.raises(Busy):
        bus.publish(FRAMES, frame(1, named(0)))
    with pytest.raises(Busy):
        bus.publish(FRAMES, frame(4))
    assert waiting(bus) == {CAM: [0, 1, 2, 3], **{named(stream): [0] for stream in range(6)}}
    assert ledger.counts(CAM).dropped == {}
    bus.publish(FRAMES, frame(4))


def test_a_picture_that_is_larger_than_all_room_goes_through(ledger: Ledger) -> None:
    bus = MemoryBus(GROUPS, budget=1, ledger=ledger)
    bus.publish(FRAMES, frame(0))
    with pytest.raises(Busy):
        bus.publish(FRAMES, frame(1))
    assert waiting(bus) == {CAM: [0]}
    bus.publish(FRAMES, frame(1))


@pytest.mark.parametrize(
    ("record", "size"),
    [
        (frame(0), 12),
        (Sound(CAM, 0, 0, Moment(0), np.zeros(100, np.float32)), 400),
        (Feature(CAM, 0, 0, Span(Moment(0), Moment(0)), np.ones(2, np.float32)), 8),
        (
            Feature(
                CAM, 0, 0, Span(Moment(0), Moment(0)), np.ones(2, np.float32), "frame", np.ones((3, 4), np.float32),
                thumbnail=b"123",
            ),
            59,
        ),
        (StateChange(CAM, "live", Moment(0)), 0),
    ],
)  # fmt: skip
def test_what_is_large_in_a_record_is_counted(record: Record, size: int) -> None:
    assert weight(record) == size


@settings(max_examples=200)
@given(
    st.integers(1, 40),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9), st.booleans()), max_size=80),
)
def test_nothing_goes_without_need_and_the_room_is_kept(budget: int, steps: list[tuple[int, int, bool]]) -> None:
    """Against plain lists: sizes that wait per stream, oldest first."""
    bus = MemoryBus({FRAMES: ("encode",)}, 6, budget)
    lists: dict[StreamId, list[int]] = {}

    def spent(stream: StreamId, more: int) -> bool:
        own, all_ = sum(lists.get(stream, [])), sum(map(sum, lists.values()))
        return all_ + more > budget and (own + more) * len(lists) > budget

    for number, (which, size, publish) in enumerate(steps):
        stream = named(which)
        if not publish:
            for delivery in bus.receive((FRAMES,), "encode", limit=size, wait_s=0):
                lists[delivery.record.stream].pop(0)
                lists = {name: sizes for name, sizes in lists.items() if sizes}
            continue
        while stream in lists and (len(lists[stream]) == 6 or spent(stream, size)):
            lists[stream].pop(0)
            lists = {name: sizes for name, sizes in lists.items() if sizes}
        lists.setdefault(stream, []).append(size)
        pixels = np.zeros((1, size, 1), np.uint8)
        bus.publish(FRAMES, Frame(stream, 0, number, Moment(number), pixels), Policy.DROP_OLDEST)
    got: dict[StreamId, list[int]] = {}
    for delivery in bus.receive((FRAMES,), "encode", limit=1000, wait_s=0):
        assert isinstance(delivery.record, Frame)
        got.setdefault(delivery.record.stream, []).append(delivery.record.pixels.nbytes)
    assert got == lists


# --- the loop --------------------------------------------------------------------------------------------------


@dataclass
class Encode:
    """A stage that turns frames into features, and fails as it is told to."""

    fail: Callable[[Frame, int], Exception | None] = lambda _frame, _attempt: None
    attempts: dict[int, int] = field(default_factory=dict)
    name: str = "encode"
    consumes: tuple[str, ...] = (FRAMES,)
    produces: str | None = FEATURES

    def handle(self, batch: Sequence[Record]) -> Sequence[Record]:
        made = []
        for record in batch:
            assert isinstance(record, Frame)
            self.attempts[record.pts] = self.attempts.get(record.pts, 0) + 1
            if error := self.fail(record, self.attempts[record.pts]):
                raise error
            made.append(
                Feature(record.stream, 0, record.pts, Span(record.moment, record.moment), np.ones(2, np.float32))
            )
        return made


def run(stage: Encode, ledger: Ledger, count: int = 10) -> tuple[list[int], MemoryBus]:
    """Drive `stage` over frames 0..count-1; the features that came out."""
    bus, stop, made = MemoryBus(GROUPS, ledger=ledger), threading.Event(), []
    for number in range(count):
        ledger.captured(CAM)
        bus.publish(FRAMES, frame(number))
    thread = threading.Thread(target=drive, args=(stage, bus, stop), kwargs={"ledger": ledger})
    thread.start()
    end = time.monotonic() + 60
    while sum(bus.depth()[name] for name in ("frames/encode",)) and time.monotonic() < end:
        time.sleep(0.01)
    for delivery in bus.receive((FEATURES,), "remember", limit=100, wait_s=0.2):
        made.append(delivery.record.pts if isinstance(delivery.record, Feature) else -1)
        ledger.stored(CAM)
        bus.acknowledge([delivery])
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    return made, bus


def test_records_go_through(ledger: Ledger) -> None:
    made, bus = run(Encode(), ledger)
    assert made == list(range(10))
    assert bus.parked() == []
    assert ledger.counts(CAM).in_flight == 0


def test_what_is_transient_is_tried_until_it_works(ledger: Ledger) -> None:
    stage = Encode(lambda f, attempt: SourceUnavailable("later") if f.pts == 3 and attempt < 5 else None)
    made, _ = run(stage, ledger)
    assert made == list(range(10))
    assert stage.attempts[3] == 5


@pytest.mark.parametrize("error", [NotVideo("no"), KeyError("a bug"), MemoryError()])
def test_poison_is_parked_and_counted_and_the_rest_goes_on(error: Exception, ledger: Ledger) -> None:
    made, bus = run(Encode(lambda f, _: error if f.pts == 4 else None), ledger)
    assert made == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    ((delivery, reason),) = bus.parked()
    assert delivery.record.key == frame(4).key
    assert reason
    counts = ledger.counts(CAM)
    assert sum(counts.parked.values()) == 1
    assert counts.in_flight == 0
    (told,) = bus.receive((JOURNAL,), "remember", limit=9, wait_s=0.2)
    assert isinstance(told.record, Gap)
    assert (told.record.reason, told.record.span.start) == ("set aside", frame(4).moment + 1)


def test_what_is_fatal_leaves_the_loop_and_acknowledges_nothing(ledger: Ledger) -> None:
    bus = MemoryBus(GROUPS, ledger=ledger)
    bus.publish(FRAMES, frame(0))
    with pytest.raises(Fatal):
        drive(Encode(lambda *_: Fatal("the store is corrupt")), bus, threading.Event())
    assert bus.depth()["frames/encode"] == 1


def test_a_stage_waiting_for_something_transient_can_be_stopped(ledger: Ledger) -> None:
    bus, stop = MemoryBus(GROUPS, ledger=ledger), threading.Event()
    bus.publish(FRAMES, frame(0))
    stage = Encode(lambda *_: SourceUnavailable("never"))
    threading.Timer(0.3, stop.set).start()
    begun = time.monotonic()
    drive(stage, bus, stop)
    assert time.monotonic() - begun < 20
    assert bus.depth()["frames/encode"] == 1


def test_a_full_topic_behind_a_stage_holds_it_back_without_loss(ledger: Ledger) -> None:
    bus, stop = MemoryBus(GROUPS, capacity=2, ledger=ledger), threading.Event()
    thread = threading.Thread(target=drive, args=(Encode(), bus, stop))
    thread.start()
    got: list[int] = []

    def publish() -> None:
        for number in range(20):
            while True:
                try:
                    bus.publish(FRAMES, frame(number))
                    break
                except Busy:
                    continue

    publisher = threading.Thread(target=publish)
    publisher.start()
    end = time.monotonic() + 60
    while len(got) < 20 and time.monotonic() < end:
        for group in ("watch", "remember"):
            deliveries = bus.receive((FEATURES,), group, limit=1, wait_s=0.05)
            bus.acknowledge(deliveries)
            if group == "remember":
                got += [d.record.pts for d in deliveries if isinstance(d.record, Feature)]
    stop.set()
    publisher.join(60)
    thread.join(60)
    assert got == list(range(20))


def test_other_records_are_not_counted_as_frames(ledger: Ledger) -> None:
    bus = MemoryBus(GROUPS, capacity=1, ledger=ledger)
    for at in range(3):
        bus.publish(JOURNAL, StateChange(CAM, "live", Moment(at)), Policy.DROP_OLDEST)
    assert ledger.counts(CAM).dropped == {}
