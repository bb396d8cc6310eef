"""Faces: how many are found in captioned photographs, how many that are none, and what it costs.

    python -m benchmarks.faces [SHARED FOLDER]

A photograph counts as showing a face when a caption speaks of one, of a smile, or of someone who looks at the camera or
poses; as showing none when no caption speaks of a person. People are found by nano, as in the product.
"""

from __future__ import annotations

import io
import json
import re
import sys
import tarfile
from pathlib import Path
from time import process_time

import numpy as np
from PIL import Image

from ingest.records import MICROSECONDS, Moment, Pixels, Span
from models.embedded import faces
from models.nano.detector import Nano
from models.nano.tracker import Visit

_FACE = re.compile(
    r"\b(faces?|smil\w+|grin\w*|portrait|(?:look\w*|star\w+) (?:at|into|toward) the camera|facing the camera"
    r"|pos(?:es?|ing) for)\b",
    re.IGNORECASE,
)
_PERSON = re.compile(
    r"\b(persons?|people|m[ae]n|wom[ae]n|child(?:ren)?|kids?|boys?|girls?|bab(?:y|ies)|toddlers?|someone|s?he|his|her|they"
    r"|guys?|lady|crowd|group|team|couple|family|adults?|friends?|males?|females?|humans?|individuals?|(?!water|river"
    r"|over|under|another|other|after|corner|flower|paper|summer|winter|tower|power|sweater|collar|leader|her)\w+ers?)\b",
    re.IGNORECASE,
)
_CLAIMED = 0.5


def main() -> None:
    """Print the table."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared") / "images"
    captions: dict[str, list[str]] = json.loads((folder / "captions.json").read_text())
    nano, spent, looked = Nano.load(), 0.0, 0
    found: dict[str, list[bool]] = {"a caption speaks of a face": [], "no caption speaks of a person": [], "others": []}
    for name, pixels in _photographs(folder / "captioned.tar"):
        [sight] = nano.see([pixels], floor=0.3)
        boxes = [one.box for one in sight.detections if one.label == "person"]
        people = [Visit(n, "person", Span(Moment(0), Moment(MICROSECONDS)), b, b, 1.0) for n, b in enumerate(boxes)]
        begun = process_time()
        scores = [score for _, score, _ in faces.find(pixels, people)]
        spent, looked = spent + process_time() - begun, looked + 1
        text = " ".join(captions.get(name, []))
        spoken = "a caption speaks of a face" if _FACE.search(text) else "others"
        found["no caption speaks of a person" if not _PERSON.search(text) else spoken].append(
            max(scores, default=0.0) >= _CLAIMED
        )
    print("| photographs | a face is claimed in |\n|---|---|")
    for which, claimed in found.items():
        print(f"| {which} | {sum(claimed)} of {len(claimed)} |")
    print(f"\n{1000 * spent / max(looked, 1):.1f} ms a picture of processor time, beside nano's own look")


def _photographs(archive: Path) -> list[tuple[str, Pixels]]:
    with tarfile.open(archive) as tar:
        files = [(one.name, tar.extractfile(one)) for one in tar.getmembers() if one.isfile()]
        return [
            (Path(name).name, np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB")))
            for name, file in files
            if file is not None
        ]


if __name__ == "__main__":
    main()
