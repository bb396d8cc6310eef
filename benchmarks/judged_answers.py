"""Score open answers about videos by the protocol of Video-ChatGPT (Maaz et al. 2023, section 4.2), which many
published numbers use: a language model compares each answer with the correct one.

    python -m benchmarks.judged_answers ask correctness answers.json > requests.jsonl
    python -m benchmarks.judged_answers score correctness answers.json replies.jsonl

`answers.json` is a list of {"video_name", "Q", "A", "pred"} (consistency: "Q1", "Q2", "A", "pred1", "pred2").
`requests.jsonl` has {"key", "messages"} per answer for any judge; `replies.jsonl` has {"key", "reply"}. Replies that
are no Python literal are listed for another try. Scores are cut to whole numbers as the authors do: 4.8 counts as 4.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

CRITERIA = {
    "correctness": ("factual correctness", "facts and the absence of misinformation"),
    "detail": ("detail orientation", "completeness of the major points and their being specific rather than generic"),
    "context": ("contextual understanding", "agreement with the overall context, its themes and its sentiment"),
    "temporal": ("temporal understanding", "the right order of events"),
    "consistency": ("consistency", "agreement of both answers with the correct one and with each other"),
    "zero_shot_qa": ("correctness", "a match in meaning with the correct answer"),
}


def clean(decoded: str) -> str:
    """A decoded answer as the authors' benchmark keeps it: with "</s>" its last letters among <, /, s, > go too."""
    return decoded.strip().rstrip("</s>").strip()  # the published numbers were made this way


def keys(videos: Iterable[str]) -> list[str]:
    """The k-th answer about a video is "<video>_<k>"."""
    seen: Counter[str] = Counter()
    names = []
    for video in videos:
        names.append(f"{video}_{seen[video]}")
        seen[video] += 1
    return names


def messages(aspect: str, record: Mapping[str, str]) -> list[dict[str, str]]:
    """What the judge is asked about one answer, in our words; the form of the reply is the authors'."""
    name, matter = CRITERIA[aspect]
    if aspect == "zero_shot_qa":
        form = "a Python dictionary with 'pred', \"yes\" or \"no\", and 'score', an INTEGER from 0 to 5"
    else:
        form = "a Python dictionary with 'score', an INTEGER from 0 to 5, 5 being the best"
    said = [
        f"{label}: {record[label]}" for label in ("Q", "Q1", "Q2", "A", "pred", "pred1", "pred2") if label in record
    ]
    return [
        {"role": "system", "content": f"You judge the {name} of answers about videos: {matter}. Synonyms are fine."},
        {"role": "user", "content": "\n".join([*said, f"Reply with {form}, and nothing else."])},
    ]


def read(reply: str) -> Any:
    """The judge's dictionary, or None when it must be asked again."""
    try:
        return ast.literal_eval(reply)
    except (ValueError, SyntaxError):
        return None


def average(judged: Sequence[Mapping[str, Any]]) -> float:
    """Mean of whole scores, 0 to 5. A score given as "4.8", in quotation marks, is an error, as with the authors."""
    return sum(int(one["score"]) for one in judged) / len(judged)


def accuracy(judged: Sequence[Mapping[str, Any]]) -> tuple[int, int, float]:
    """(yes, no, share of yes). "unknown" holds a "no" and counts as one; "maybe" counts as neither."""
    said = [str(one["pred"]).lower() for one in judged]
    yes = sum("yes" in one for one in said)
    no = sum("no" in one and "yes" not in one for one in said)
    return yes, no, yes / (yes + no) if yes + no else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("ask", "score"))
    parser.add_argument("aspect", choices=tuple(CRITERIA))
    parser.add_argument("answers", type=Path)
    parser.add_argument("replies", type=Path, nargs="?")
    chosen = parser.parse_args()
    records = json.loads(chosen.answers.read_text())
    names = keys(record["video_name"] for record in records)
    if chosen.verb == "ask":
        for key, record in zip(names, records, strict=True):
            print(json.dumps({"key": key, "messages": messages(chosen.aspect, record)}))
        return
    if chosen.replies is None:
        parser.error("score needs the replies")
    lines = (json.loads(line) for line in chosen.replies.read_text().splitlines() if line.strip())
    judged = {line["key"]: answer for line in lines if (answer := read(line["reply"])) is not None}
    if missing := [key for key in names if key not in judged]:
        sys.exit(f"{len(missing)} answers are not judged yet: {', '.join(missing)}")
    print(f"{chosen.aspect}: {average(list(judged.values())):.3f} of 5 over {len(names)} answers")
    if chosen.aspect == "zero_shot_qa":
        print("yes {}, no {}, accuracy {:.3f}".format(*accuracy(list(judged.values()))))


if __name__ == "__main__":
    main()
