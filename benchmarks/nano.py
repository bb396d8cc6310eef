"""How good nano is, on pictures and clips it has not learned from: `python -m benchmarks.nano [SHARED FOLDER]`.

Prints detection against the teacher's confident boxes, people and visits on the clips, captions to photographs,
calibration and speed, beside the teachers where their files are there. Without the folder only speed is measured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.clock import SystemClock
from ingest.errors import NotFound
from ingest.records import MICROSECONDS, Box, Frame, Moment, Pixels, Span, StreamId
from models.embedded.encoder import EmbeddedEncoder
from models.embedded.kinds import GROUPS
from models.embedded.reading import Line
from models.nano.boxes import Boxes, Floats, letterbox, overlap, suppress
from models.nano.calibration import expected_calibration_error, fit_by_category, fit_logistic, sigmoid
from models.nano.coco import NAMES, group
from models.nano.detector import SIDE, Detection, Nano, Sight
from models.nano.text import unit
from models.nano.tracker import Tracker, Visit, at_once
from models.nano.training import sentences
from models.nano.training.export import matched, prior_weights, text_targets
from models.nano.training.measure import average_precision, of, table, teacher_truth
from models.nano.training.pictures import Example, clip_frames, read
from models.nano.training.space import SpaceRecipe, fit_map
from models.nano.training.teachers import BoxTeacher, GistTeacher

CLOCK = SystemClock()
THRESHOLD = 0.5
CLIP_RATE_S, TOLD_RATE_S = 0.5, 0.25
ABSENT = ("a giraffe", "a submarine", "a piano", "an airplane", "a pizza", "a zebra", "a laptop", "a train")


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Held-out photographs, the teacher's confident boxes in them, and what nano sees."""

    examples: list[Example]
    truth: list[Boxes]
    seen: list[Sight]


def heading(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


def as_boxes(sight: Sight, pixels: Pixels) -> Boxes:
    """A sight's detections in the pixels `teacher_truth` uses."""
    height, width = pixels.shape[:2]
    scale = SIDE / max(height, width)
    size = np.array([width, height, width, height], np.float32) * scale
    corners = [(d.box.left, d.box.top, d.box.right, d.box.bottom) for d in sight.detections]
    return Boxes(
        np.array(corners, np.float32).reshape(-1, 4) * size,
        np.array([d.score for d in sight.detections], np.float32),
        np.array([NAMES.index(d.label) for d in sight.detections], np.int64),
    )


def detection(held: Held) -> None:
    heading(f"Detection: AP50 against the teacher's boxes over 0.35, {len(held.examples)} held-out photographs")
    found = [as_boxes(s, e.pixels) for s, e in zip(held.seen, held.examples, strict=True)]
    for name, value in table(found, held.truth).items():
        print(f"  {name:10} {value:.3f}")
    counts = np.bincount(np.concatenate([t.categories for t in held.truth]), minlength=80)
    for category in np.argsort(-counts, kind="stable")[:12]:

        def mine(boxes: Boxes, category: int = int(category)) -> NDArray[np.bool_]:
            return np.asarray(boxes.categories == category)

        ap = average_precision(of(mine, found), of(mine, held.truth))
        print(f"    {NAMES[category]:14} {counts[category]:4} boxes  AP50 {ap:.3f}")


def classical(held: Held) -> None:
    """People as OpenCV's histograms of gradients find them (Dalal and Triggs 2005), at the teacher's size."""
    import cv2

    finder = cv2.HOGDescriptor()
    finder.setSVMDetector(np.asarray(cv2.HOGDescriptor.getDefaultPeopleDetector(), np.float32))
    found, used = [], process_time()
    for example in held.examples:
        canvas = letterbox(example.pixels, SIDE)[0]
        places, scores = finder.detectMultiScale(canvas, winStride=(8, 8), scale=1.05)
        sides = np.array(places, np.float32).reshape(-1, 4)
        corners = np.concatenate((sides[:, :2], sides[:, :2] + sides[:, 2:]), 1)
        found.append(suppress(Boxes(corners, np.ravel(scores).astype(np.float32), np.zeros(len(sides), np.int64))))
    used = (process_time() - used) / len(held.examples) * 1e3

    def people(boxes: Boxes) -> NDArray[np.bool_]:
        return np.asarray(boxes.categories == 0)

    truth = of(people, held.truth)
    caught = sum(
        (overlap(t.corners, f.corners).max(1) >= 0.5).sum() for t, f in zip(truth, found, strict=True) if len(f)
    )
    total = sum(len(each) for each in truth)
    print(
        f"  OpenCV's HOG: person AP50 {average_precision(found, truth):.3f}, {caught} of {total} people, {used:.0f} ms"
    )


def detection_calibration(held: Held) -> None:
    """Cross-fitted: calibrated on one half of the pictures, measured on the other, both ways round."""
    heading("Calibration of detections (cross-fitted on the held-out photographs)")
    found = [as_boxes(s, e.pixels) for s, e in zip(held.seen, held.examples, strict=True)]
    stated, right = [], []
    for half in (0, 1):
        learn = [i for i in range(len(found)) if i % 2 == half]
        judge = [i for i in range(len(found)) if i % 2 != half]
        fit = _gathered(found, held.truth, learn)
        test = _gathered(found, held.truth, judge)
        stated.append(fit_by_category(*fit, 80)(test[0], test[1]))
        right.append(test[2])
    report_calibration(np.concatenate(stated), np.concatenate(right))


def report_calibration(
    stated: NDArray[np.floating], right: NDArray[np.bool_], weights: NDArray[np.float64] | None = None
) -> None:
    """Over everything, and over what is claimed with a tenth or more: the many certain refusals hide the rest."""
    claimed = stated >= 0.1
    some = None if weights is None else weights[claimed]
    print(
        f"  expected calibration error: all {expected_calibration_error(stated, right, weights=weights):.3f}, ", end=""
    )
    if claimed.any():
        error = expected_calibration_error(stated[claimed], right[claimed], weights=some)
        print(f"claims of 0.1 and more {error:.3f} ({claimed.sum()} of them)")
    else:
        print("nothing claimed with 0.1 or more")


def _gathered(
    found: Sequence[Boxes], truth: Sequence[Boxes], which: Sequence[int]
) -> tuple[Floats, NDArray[np.int64], NDArray[np.bool_]]:
    chosen = [found[i] for i in which]
    return (
        np.concatenate([b.scores for b in chosen]), np.concatenate([b.categories for b in chosen]),
        matched(chosen, [truth[i] for i in which]),
    )  # fmt: skip


def teacher_sight(teacher: BoxTeacher, pixels: Pixels, floor: float = 0.2) -> tuple[Detection, ...]:
    (boxes,) = teacher_truth(teacher, [pixels], floor)
    height, width = pixels.shape[:2]
    corners = boxes.corners / (np.array([width, height, width, height]) * SIDE / max(height, width))
    return tuple(
        Detection(NAMES[c], float(s), Box(*(float(v) for v in np.clip(b, 0, 1))))
        for b, s, c in zip(corners, boxes.scores, boxes.categories, strict=True)
    )


def follow(frames: Sequence[tuple[float, Pixels]], look: Callable[[Pixels], Sequence[Detection]]) -> list[Visit]:
    tracker = Tracker()
    visits = [v for s, pixels in frames for v in tracker.update(Moment(round(s * MICROSECONDS)), look(pixels))]
    return visits + tracker.close()


def span_ticks(spans: Sequence[Span], end_s: float) -> NDArray[np.bool_]:
    """For every tenth of a second whether one of the spans covers it."""
    ticks = np.arange(0, end_s, 0.1) * MICROSECONDS
    return np.array([any(int(t) in span for span in spans) for t in ticks])


def span_f1(found: Sequence[Span], truth: Sequence[Span], end_s: float) -> tuple[float, float, float]:
    """Precision, recall and F1 of tenths of a second covered."""
    ours, true = span_ticks(found, end_s), span_ticks(truth, end_s)
    both = float((ours & true).sum())
    precision, recall = both / max(ours.sum(), 1), both / max(true.sum(), 1)
    return float(precision), float(recall), 2 * precision * recall / max(precision + recall, 1e-9)


PASSING = "a car passes"
"""The annotated event that vehicles are told of."""
PEOPLE = {"dog-fetch.mp4": (0, 9.6), "bedroom.mp4": (0, 6.7), "nasa-cleanroom.mp4": (0, 12.9)}
"""Seconds in which people are to be seen; in no other clip is a whole person."""


def clips(shared: Path, nano: Nano, teacher: BoxTeacher) -> None:
    heading(f"Clips, a picture every {CLIP_RATE_S} s: people present, and visits followed")
    print("  learned from: nasa-cleanroom, bottle-detection; never: the others")
    modes: dict[str, Callable[[Pixels], Sequence[Detection]]] = {
        "nano": lambda pixels: nano.see([pixels])[0].detections,
        "teacher": lambda pixels: teacher_sight(teacher, pixels),
    }
    for clip in json.loads((shared / "footage/annotations.json").read_text())["clips"]:
        if not clip["file"].endswith(".mp4"):
            continue
        frames = list(clip_frames(shared / "footage" / clip["file"], CLIP_RATE_S))
        print(f"  {clip['file']} ({clip['duration']} s): " + "; ".join(e["text"] for e in clip["events"][:3]))
        for name, look in modes.items():
            report(name, follow(frames, look), PEOPLE.get(clip["file"]), clip["duration"])
        told(nano, list(clip_frames(shared / "footage" / clip["file"], TOLD_RATE_S)), clip)


class Unread:
    """Words are not what is measured here."""

    def read(self, pixels: Pixels) -> list[Line]:
        return []


def told(nano: Nano, frames: Sequence[tuple[float, Pixels]], clip: dict[str, Any]) -> None:
    """What the product tells, which joins looks, closer looks and movement: `a person` by name, and `find a person`."""
    encoder = EmbeddedEncoder(Unread(), nano)
    moments = [Moment(round(seconds * MICROSECONDS)) for seconds, _ in frames]
    features = encoder.encode(
        [
            Frame(StreamId("clip"), 0, moment, moment, pixels)
            for moment, (_, pixels) in zip(moments, frames, strict=True)
        ]
    )
    things = {one.key: one for f in features for one in f.observations if one.kind == "thing"}.values()
    people = [one.span for one in things if one.label == "person"]
    (query,) = encoder.encode_queries(["a person"])
    claimed = [f.span for f in features if query.probability(f.vector @ query.vector) >= THRESHOLD]
    covered = [sum(span_ticks(spans, clip["duration"])) / 10 for spans in (people, claimed)]
    scored = "no whole person is in it"
    if clip["file"] in PEOPLE:
        first, last = (Moment(round(s * MICROSECONDS)) for s in PEOPLE[clip["file"]])
        f1 = [span_f1(spans, [Span(first, last)], clip["duration"])[2] for spans in (people, claimed)]
        scored = f"F1 {f1[0]:.2f} (found frame by frame: {f1[1]:.2f})"
    cars = sorted(
        ((one.span, one) for one in things if one.label == "vehicle" or one.label in GROUPS["vehicle"]),
        key=lambda each: each[0],
    )
    when = ", ".join(
        f"{one.colour} {one.label} {span.start / MICROSECONDS:.1f}-{span.end / MICROSECONDS:.1f} at {one.score:.2f}"
        for span, one in cars
    )
    seconds = f"people {covered[0]:.1f} s (frame by frame {covered[1]:.1f})"
    print(f"    {'told':8} {seconds}, {scored}; vehicles: {when or 'none'}{annotated([s for s, _ in cars], clip)}")


def annotated(cars: Sequence[Span], clip: dict[str, Any]) -> str:
    """How well the spans of vehicles cover those that somebody annotated, where somebody did."""
    passes = [span for event in clip["events"] if event["text"] == PASSING for span in event["spans"]]
    if not passes:
        return ""
    truth = [Span(*(Moment(round(side * MICROSECONDS)) for side in span)) for span in passes]
    precision, recall, f1 = span_f1(cars, truth, clip["duration"])
    return f"; {PASSING}, annotated: precision {precision:.2f} recall {recall:.2f} F1 {f1:.2f}"


def report(name: str, visits: Sequence[Visit], people: tuple[float, float] | None, end_s: float) -> None:
    step = round(CLIP_RATE_S * MICROSECONDS)  # a sighting stands for the time until the next
    lasting = [
        replace(v, span=Span(v.span.start, Moment(v.span.end + step)))
        for v in visits
        if v.label == "person" and not v.limb
    ]
    present = at_once(lasting, 1)
    covered = sum(span.duration for span in present) / MICROSECONDS
    scored = "no whole person is in it"
    if people is not None:
        truth = Span(Moment(round(people[0] * MICROSECONDS)), Moment(round(people[1] * MICROSECONDS)))
        precision, recall, f1 = span_f1(present, [truth], end_s)
        scored = f"precision {precision:.2f} recall {recall:.2f} F1 {f1:.2f}"
    vehicles = [v for v in visits if group(NAMES.index(v.label)) == "vehicle"]
    when = ", ".join(f"{v.span.start / MICROSECONDS:.1f}-{v.span.end / MICROSECONDS:.1f}" for v in vehicles) or "none"
    labels = ", ".join(sorted({v.label for v in visits})) or "nothing"
    print(f"    {name:8} people {covered:5.1f} s, {scored}; vehicles: {when}; saw {labels}")


def recalls(scores: Floats, right: NDArray[np.bool_]) -> str:
    rank = (scores > scores[right][:, None]).sum(1)
    return "  ".join(f"R@{k} {np.mean(rank < k):.3f}" for k in (1, 5, 10)) + f"  median rank {np.median(rank) + 1:.0f}"


def captions(held: Held, nano: Nano, said: sentences.Sayings) -> None:
    chosen = [i for i, e in enumerate(held.examples) if e.name in said.captions]
    texts = [c for i in chosen for c in said.captions[held.examples[i].name]]
    own = np.repeat(np.arange(len(chosen)), [len(said.captions[held.examples[i].name]) for i in chosen])
    right = own[:, None] == np.arange(len(chosen))[None]
    heading(f"Captions to photographs: {len(texts)} captions of {len(chosen)} (chance R@10 {10 / len(chosen):.3f})")
    vectors = np.stack([held.seen[i].vector for i in chosen])
    queries = nano.embed(texts)
    print(f"  nano          {recalls(queries @ vectors.T, right)}")
    print(f"  ConSE, nano   {recalls(queries @ conse([held.seen[i].detections for i in chosen], nano).T, right)}")
    truth = [as_detections(held.truth[i]) for i in chosen]
    print(f"  ConSE, teacher{recalls(queries @ conse(truth, nano).T, right)}")
    text_calibration(nano, texts, vectors, right)


def gist_ceiling(held: Held, said: sentences.Sayings, nano: Nano, shared: Path) -> None:
    """What the gist teacher itself reaches with the same text tower and a linear map: the way up that is left."""
    try:
        look = GistTeacher(shared / "real-models/mobilenet_v1_1.0_224_quant_embedding_extractor.tflite").look
    except NotFound as missing:
        print(f"  gist teacher  not measured: {missing}")
        return
    told = [e for e in read([shared / "images/captioned.tar"]) if e.name in said.captions]
    gists = np.stack([look(e.pixels) for e in told])
    learn = np.array([not e.held for e in told])
    texts = text_targets(nano.text, [said.captions[e.name] for e in told])
    picture = fit_map(gists[learn], texts[learn], np.ones(int(learn.sum()), np.float32), SpaceRecipe(ridge=1000.0))
    chosen = [e for e in told if e.held]
    queries = nano.embed([c for e in chosen for c in said.captions[e.name]])
    own = np.repeat(np.arange(len(chosen)), [len(said.captions[e.name]) for e in chosen])
    right = own[:, None] == np.arange(len(chosen))[None]
    print(f"  gist teacher  {recalls(queries @ picture(gists[~learn]).T, right)}")


def as_detections(boxes: Boxes) -> tuple[Detection, ...]:
    return tuple(
        Detection(NAMES[c], float(s), Box(0, 0, 1, 1)) for s, c in zip(boxes.scores, boxes.categories, strict=True)
    )


def conse(sights: Sequence[Sequence[Detection]], nano: Nano) -> Floats:
    """Convex combination of the names of what was detected (Norouzi et al. 2014): the floor to beat."""
    rows = [
        sum((d.score * nano.embed([d.label])[0] for d in sight), np.zeros(nano.dim, np.float32)) for sight in sights
    ]
    return unit(np.stack(rows))


def text_calibration(nano: Nano, texts: Sequence[str], vectors: Floats, right: NDArray[np.bool_]) -> None:
    queries = [nano.query(text) for text in texts]
    scaled = np.stack([q.slope * (q.vector @ vectors.T) + q.offset for q in queries]).astype(np.float64)
    half = np.arange(right.shape[1]) % 2 == 0
    stated, correct = [], []
    for learn in (half, ~half):
        x, y = scaled[:, learn].ravel(), right[:, learn].ravel()
        slope, offset = fit_logistic(x[:, None], y, prior_weights(y))
        stated.append(sigmoid(slope * scaled[:, ~learn].ravel() + offset))
        correct.append(right[:, ~learn].ravel())
    p, y = np.concatenate(stated), np.concatenate(correct)
    print("  one picture in ten right, cross-fitted:")
    report_calibration(p, y, prior_weights(y))
    wrong = sigmoid(scaled)[~right]
    kept = np.mean(sigmoid(scaled)[right] >= THRESHOLD)
    false = np.mean(wrong >= THRESHOLD)
    print(f"  at {THRESHOLD}: a wrong photograph is claimed in {false:.4f}, the right one in {kept:.3f}")


def absent(held: Held, nano: Nano, said: sentences.Sayings) -> None:
    chosen = [i for i, e in enumerate(held.examples) if e.name in said.captions]
    vectors = np.stack([held.seen[i].vector for i in chosen])
    heading("Absent things, asked of the held-out captioned photographs whose captions do not name them")
    claims = []
    for text in ABSENT:
        noun = text.split()[1]
        named = [any(noun in c.lower() for c in said.captions[held.examples[i].name]) for i in chosen]
        free = ~np.array(named)
        query = nano.query(text)
        claims.append(float(np.mean(query.probability(vectors[free] @ query.vector) >= THRESHOLD)))
    print("  " + ", ".join(f"{text} {claim:.3f}" for text, claim in zip(ABSENT, claims, strict=True)))
    print(f"  mean {np.mean(claims):.4f}")


def speed(nano: Nano, teacher: BoxTeacher | None) -> None:
    import torch

    torch.set_num_threads(1)
    heading("Speed on one thread, a picture of 1280 by 720")
    picture = np.random.default_rng(0).integers(0, 255, (720, 1280, 3)).astype(np.uint8)
    modes: dict[str, Callable[[], object]] = {"nano": lambda: nano.see([picture])}
    if teacher is not None:
        modes["teacher through onnxruntime, network alone"] = lambda: teacher.look(letterbox(picture, SIDE)[0][None])
    for name, run in modes.items():
        times, used = [], process_time()
        for _ in range(40):
            before = CLOCK.monotonic()
            run()
            times.append(CLOCK.monotonic() - before)
        used = (process_time() - used) / len(times)
        best, middle = min(times) * 1e3, float(np.median(times)) * 1e3
        print(f"  {name}: best {best:.1f} ms, median {middle:.1f} ms, processor {used * 1e3:.1f} ms")


def main() -> None:
    before = CLOCK.monotonic()
    nano = Nano.load(Path(sys.argv[2]) if len(sys.argv) > 2 else None)
    print(f"{nano.id}, dim {nano.dim}, loaded in {CLOCK.monotonic() - before:.2f} s")
    shared = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared")
    teacher = BoxTeacher(shared / "real-models/yolox_nano.onnx") if shared.exists() else None
    speed(nano, teacher)
    if teacher is None:
        print(f"no {shared}: nothing else can be measured")
        return
    everything = read([shared / "images/photos.tar", shared / "images/captioned.tar"])
    examples = [example for example in everything if example.held]
    pictures = [example.pixels for example in examples]
    held = Held(examples, teacher_truth(teacher, pictures), nano.see(pictures, floor=0.0))
    said = sentences.read(shared / "images/captions.json", None, [])
    detection(held)
    classical(held)
    detection_calibration(held)
    captions(held, nano, said)
    gist_ceiling(held, said, nano, shared)
    absent(held, nano, said)
    clips(shared, nano, teacher)


if __name__ == "__main__":
    main()
