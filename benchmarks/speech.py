"""Speech as text, measured: word error rates of what the `embedded` profile may listen with, and what listening costs.

Run `python -m benchmarks.speech [FOLDER]`. FOLDER holds clips and `annotations.json`, whose clips may have a
`transcript`; without it the clips beside the repository (`../shared/footage`) are used when they are there. An ellipsis
in a transcript stands for words that nobody wrote down: whatever was heard there costs nothing. A reading of the
beginning of "A Tale of Two Cities", which comes with Moonshine's wheel, is read against the book. Both transcribers
hear the same sound, cut as the service cuts it. Then the words on the screen of every clip, with the
time they are shown.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ingest.audio import SoundCutter
from ingest.records import MICROSECONDS, SAMPLE_RATE, Frame, Moment, Sound, StreamId, Utterance
from models import registry
from models.moonshine import installed

ANYTHING = "…"
STREAM = StreamId("clip")
PHRASES = ("ask not", "clean rooms", "greenbelt")
CITIES = """
It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, it was the
epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of Darkness, it was the
spring of hope, it was the winter of despair, we had everything before us, we had nothing before us, we were all going
direct to Heaven, we were all going direct the other way – in short, the period was so far like the present period, that
some of its noisiest authorities insisted on its being received, for good or for evil, in the superlative degree of
comparison only."""


def words_of(text: str) -> list[str]:
    """Lower case, without punctuation; an ellipsis stays."""
    text = re.sub(r"\(.*?\)", " ", text.lower()).replace("...", f" {ANYTHING} ")
    return re.findall(rf"{ANYTHING}|[^\W_]+(?:['’][^\W_]+)*", text)


def errors(reference: Sequence[str], heard: Sequence[str]) -> int:
    """The least number of words to change, add or leave out (Levenshtein); an ellipsis takes any words."""
    row = list(range(len(heard) + 1))
    for word in reference:
        before, row = row, [row[0] + (word != ANYTHING)]
        for at, other in enumerate(heard, 1):
            if word == ANYTHING:
                row.append(min(before[at], row[at - 1]))
            else:
                row.append(min(before[at] + 1, row[at - 1] + 1, before[at - 1] + (word != other)))
    return row[-1]


def sounds(path: Path) -> list[Sound]:
    """The clip's sound track as the service would cut it."""
    import av

    cutter, resampler, at = SoundCutter(), av.AudioResampler("flt", "mono", SAMPLE_RATE), 0
    chunks: list[tuple[int, np.ndarray]] = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            for piece in resampler.resample(frame):
                samples = piece.to_ndarray().ravel()
                chunks += cutter.add(at * MICROSECONDS // SAMPLE_RATE, samples)
                at += len(samples)
    chunks += cutter.flush()
    return [Sound(STREAM, 0, pts, Moment(pts), samples) for pts, samples in chunks]


def when(phrase: str, utterances: Sequence[Utterance]) -> str:
    """Every time at which the phrase's words were heard behind one another."""
    wanted = words_of(phrase)
    words = [word for one in utterances for word in one.words]
    texts = [re.sub(r"[^\w']", "", word.text.lower()) for word in words]
    places = [at for at in range(len(texts)) if texts[at : at + len(wanted)] == wanted]
    return ", ".join(
        f"{words[at].span.start / MICROSECONDS:.2f}–{words[at + len(wanted) - 1].span.end / MICROSECONDS:.2f}"
        for at in places
    )


def listen(path: Path, transcript: str, names: Sequence[str]) -> None:
    reference = words_of(transcript)
    count = sum(word != ANYTHING for word in reference)
    given = sounds(path)
    length = sum(len(one.samples) for one in given) / SAMPLE_RATE
    print(f"\n### {path.name} ({length:.1f} s)\n")
    print(f"A person heard: {' '.join(transcript.split())}\n")
    print(
        "| transcriber | words | errors | word error rate | CPU-seconds per second | heard |\n|---|---|---|---|---|---|"
    )
    for name in names:
        transcriber = registry.transcriber(name)
        transcriber.transcribe([Sound(STREAM, 0, 0, Moment(0), np.random.default_rng(0).normal(0, 0.1, 16_000))])
        begun = time.process_time()
        utterances = transcriber.transcribe(given)
        cost = (time.process_time() - begun) / length
        text = " ".join(one.text for one in utterances)
        wrong = errors(reference, words_of(text))
        print(f"| {name} | {count} | {wrong} | {wrong / count:.0%} | {cost:.3f} | {text} |")
        for phrase in PHRASES:
            if found := when(phrase, utterances):
                print(f"| | | | | | *“{phrase}” at {found} s* |")


def read(path: Path) -> None:
    """The words on the screen, four pictures a second, with the first and the last moment of each."""
    import av

    encoder = registry.encoder("embedded")
    lines: dict[str, tuple[str, float, float]] = {}
    due = 0.0
    with av.open(str(path)) as container:
        for picture in container.decode(video=0):
            at = picture.time or 0.0
            if at < due:
                continue
            due = at + 0.25
            frame = Frame(STREAM, 0, round(at * 1e6), Moment(round(at * 1e6)), picture.to_ndarray(format="rgb24"))
            for one in encoder.encode([frame])[0].observations:
                if one.kind == "read":
                    lines[one.key] = one.text, one.span.start / MICROSECONDS, one.span.end / MICROSECONDS
    for text, first, last in lines.values():
        print(f"| {path.name} | {text} | {first:.1f}–{last:.1f} |")


def main() -> None:
    here = Path(__file__).resolve().parents[2] / "shared" / "footage"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else here
    if not (folder / "annotations.json").exists():
        raise SystemExit(f"There is no annotations.json in {folder}: give a folder of annotated clips.")
    clips = json.loads((folder / "annotations.json").read_text())["clips"]
    wheel = installed()
    names = ["pocketsphinx"] if wheel is None else ["moonshine", "pocketsphinx"]
    print("## Speech")
    for clip in clips:
        if "transcript" in clip:
            listen(folder / clip["file"], clip["transcript"], names)
    if wheel is not None:
        listen(wheel.parent / "two_cities.wav", CITIES, names)
    print("\n## Words on the screen\n\n| clip | line | shown |\n|---|---|---|")
    for clip in clips:
        if not clip["file"].endswith(".flac"):
            read(folder / clip["file"])


if __name__ == "__main__":
    main()
