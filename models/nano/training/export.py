"""From a checkpoint to the file that ships: the averaged student, the text space, and the calibrations."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ingest.errors import Invalid
from models.nano.boxes import NONE, Boxes, Floats, letterbox, overlap
from models.nano.calibration import Calibration, fit_by_category, fit_logistic
from models.nano.coco import NAMES
from models.nano.detector import SIDE, Judgement
from models.nano.model import Student
from models.nano.text import PictureMap, TextTower, unit
from models.nano.training.measure import student_boxes
from models.nano.training.pictures import Example
from models.nano.training.sentences import Sayings
from models.nano.training.space import SpaceRecipe, fit_map, fit_tower, principal, vocabulary
from models.nano.training.teachers import SentenceTeacher

log = logging.getLogger(__name__)

PRIOR = 0.1
"""The share of pictures that show what is asked for, in the world that text probabilities are calibrated for."""
NAME_WEIGHT = 0.5
"""How much a photograph with only a class name counts beside a captioned one."""
PLAIN = frozenset((
    "a", "an", "the", "of", "in", "on", "at", "by", "to", "with", "from", "and", "or", "is", "are", "was", "were",
    "be", "being", "been", "it", "its", "this", "that", "there", "he", "she", "his", "her", "their", "they",
    "them", "has", "have", "had", "some", "into", "out", "up", "down", "over", "under", "near", "next", "while",
    "as", "for", "one", "who", "which", "where", "when", "what", "any", "does", "do", "did", "i", "me", "my",
    "you", "your", "we", "our", "show", "find",
))  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Paired:
    """Pictures with something said about them: features [N, F], texts, how much each counts, whether held out."""

    features: Floats
    texts: tuple[tuple[str, ...], ...]
    weights: Floats
    held: NDArray[np.bool_]
    captioned: NDArray[np.bool_]

    def part(self, mask: NDArray[np.bool_]) -> Paired:
        texts = tuple(t for t, keep in zip(self.texts, mask, strict=True) if keep)
        return Paired(self.features[mask], texts, self.weights[mask], self.held[mask], self.captioned[mask])


def tower_of(sayings: Sayings, teacher: SentenceTeacher, recipe: SpaceRecipe, most: int = 16_000) -> TextTower:
    """The word table fitted to what is said, by a seeded sample of at most `most` sentences."""
    sentences = sayings.sentences()
    chosen = np.random.default_rng(recipe.seed).permutation(len(sentences))[:most]
    words = vocabulary(sentences, sayings.names(), recipe.rarest)
    said = [sentences[i] for i in chosen]
    vectors = teacher.embed(said)
    reduce = principal(vectors, recipe.dim)
    return fit_tower(said, reduce(vectors), words, reduce(teacher.embed(words)), recipe)


@torch.inference_mode()
def features_of(student: Student, pictures: Sequence[NDArray[np.uint8]]) -> Floats:
    """The student's summaries at its working size, float32 [N, pooled]."""
    student.eval()
    rows = []
    for pixels in pictures:
        batch = torch.from_numpy(letterbox(pixels, SIDE)[0]).permute(2, 0, 1)[None].float()
        rows.append(student(batch.contiguous(memory_format=torch.channels_last)).pooled[0].numpy())
    return np.stack(rows)


def pair(student: Student, examples: Sequence[Example], sayings: Sayings) -> Paired:
    """Every photograph something is said about. Tiles were tried too and taught the map nothing."""
    told = [(example, sayings.about(example)) for example in examples if example.origin == "picture"]
    told = [(example, texts) for example, texts in told if texts]
    captioned = np.array([example.name in sayings.captions for example, _ in told], bool)
    if not captioned.any():
        raise Invalid("nothing is known about any picture", advice="Give captions with --captions, or more pictures.")
    return Paired(
        features=features_of(student, [example.pixels for example, _ in told]),
        texts=tuple(texts for _, texts in told), captioned=captioned,
        weights=np.where(captioned, 1.0, NAME_WEIGHT).astype(np.float32),
        held=np.array([example.held for example, _ in told], bool),
    )  # fmt: skip


def text_targets(tower: TextTower, texts: Sequence[tuple[str, ...]]) -> Floats:
    """The mean direction of each picture's texts, float32 [N, dim]."""
    return np.stack([unit(tower.embed(each)).mean(0) for each in texts])


def map_of(tower: TextTower, paired: Paired, recipe: SpaceRecipe) -> PictureMap:
    learned = paired.part(~paired.held)
    return fit_map(learned.features, text_targets(tower, learned.texts), learned.weights, recipe)


def caption_scores(
    tower: TextTower, picture: PictureMap, paired: Paired
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Standardised scores [queries, pictures] of each caption with each picture, and which belong together."""
    vectors = picture(paired.features)
    queries = np.concatenate([tower.embed(each) for each in paired.texts])
    own = np.repeat(np.arange(len(paired.texts)), [len(each) for each in paired.texts])
    scores = (queries @ vectors.T) / picture.deviation(queries)[:, None]
    return scores.astype(np.float32), own[:, None] == np.arange(len(vectors))[None]


def prior_weights(right: NDArray[np.bool_], prior: float = PRIOR) -> NDArray[np.float64]:
    """Weights that make the share of right pairs `prior`, with a mean of one."""
    share = right.mean()
    return np.asarray(np.where(right, prior / share, (1 - prior) / (1 - share)), np.float64)


def judgement_of(tower: TextTower, picture: PictureMap, held: Paired) -> Judgement:
    """Text calibration from pictures the map has not seen."""
    scores, right = caption_scores(tower, picture, held)
    weights = prior_weights(right).ravel()
    slope, offset = fit_logistic(scores.reshape(-1, 1).astype(np.float64), right.ravel(), weights)
    queries = np.concatenate([tower.embed(each) for each in held.texts])
    return Judgement(float(slope), float(offset), float(np.median(picture.deviation(queries))))


def matched(found: Sequence[Boxes], truth: Sequence[Boxes]) -> NDArray[np.bool_]:
    """For each box found, best first in its picture, whether an unclaimed true box of its category overlaps by half."""
    right = []
    for ours, theirs in zip(found, truth, strict=True):
        used = np.zeros(len(theirs), bool)
        for corners, category in zip(ours.corners, ours.categories, strict=True):
            iou = overlap(corners[None], theirs.corners)[0] * (theirs.categories == category) * ~used
            hit = bool(iou.max(initial=0.0) >= 0.5)
            if hit:
                used[iou.argmax()] = True
            right.append(hit)
    return np.array(right, bool)


def box_calibration(student: Student, pictures: Sequence[NDArray[np.uint8]], truth: Sequence[Boxes]) -> Calibration:
    """From held-out pictures: a score is the probability that the teacher is confident of the same box."""
    found = student_boxes(student, pictures)
    scores = np.concatenate([NONE.scores, *(each.scores for each in found)])
    categories = np.concatenate([NONE.categories, *(each.categories for each in found)])
    if not len(scores):
        return Calibration(1.0, np.zeros(len(NAMES)))
    return fit_by_category(scores, categories, matched(found, truth), len(NAMES))


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """Everything that ships."""

    student: Student
    tower: TextTower
    picture: PictureMap
    boxes: Calibration
    judgement: Judgement
    images: int


def write(finished: Finished, path: Path) -> None:
    """One safetensors file: matrices as float16, everything one-dimensional as float32."""
    from safetensors.torch import save_file

    words, table = finished.tower.words, finished.tower.table
    tensors = {k: v for k, v in finished.student.state_dict().items() if v.dtype.is_floating_point}
    tensors |= {
        "space.words": torch.from_numpy(table), "space.weight": torch.from_numpy(finished.picture.weight),
        "space.bias": torch.from_numpy(finished.picture.bias),
        "space.spread": torch.from_numpy(finished.picture.spread),
        "boxes.offsets": torch.from_numpy(finished.boxes.offsets.astype(np.float32)),
    }  # fmt: skip
    stored = {k: (v.half() if v.ndim > 1 else v.float()).contiguous() for k, v in tensors.items()}
    about = {
        "id": f"nano-{finished.images // 1000}k", "size": asdict(finished.student.size), "words": words,
        "plain": sorted(PLAIN), "slope": finished.boxes.slope, "judgement": asdict(finished.judgement),
    }  # fmt: skip
    beside = path.with_suffix(".part")
    save_file(stored, str(beside), metadata={key: json.dumps(value) for key, value in about.items()})
    beside.replace(path)
    log.info("wrote %s, %.1f MB", path, path.stat().st_size / 1e6)
