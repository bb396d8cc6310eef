"""The words people use for the kinds of things that can be recognised.

A word may say more than can be seen: a woman is recognised as a person, a van as a vehicle. Such words come with the
share of things of that kind which they mean when someone looks for them, and what is found is told to be uncertain.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from models.embedded.kinds import FACE, KINDS
from models.embedded.vocabulary import listed

_SAME: Final = {
    "person": "someone, somebody, anyone, anybody, everyone, everybody, human, human being, pedestrian, individual",
    "bicycle": "bike, cycle, push bike", "car": "automobile, sedan, hatchback, motor car", "truck": "lorry",
    "motorcycle": "motorbike, motor bike, moped", "airplane": "aeroplane, plane, aircraft, airliner, jet",
    "bus": "minibus, omnibus", "boat": "ship, sailboat, motorboat, rowing boat, canoe, kayak, yacht, ferry",
    "train": "locomotive, tram", "vehicle": "", "animal": "beast, creature", "traffic light": "traffic signal",
    "fire hydrant": "hydrant", "dog": "puppy, pup, doggy, hound", "cat": "kitten, kitty, pussycat",
    "bird": "pigeon, seagull, gull, crow, sparrow, duck, goose, swan, hen, chicken, parrot",
    "horse": "pony, foal", "sheep": "lamb, ewe", "cow": "cattle, calf, bull, ox", "bear": "grizzly, bear cub",
    "backpack": "rucksack, knapsack", "handbag": "purse", "suitcase": "luggage, trolley case",
    "umbrella": "parasol", "tie": "necktie", "ski": "", "sports ball": "ball, football, basketball, tennis ball",
    "tennis racket": "racket, tennis racquet", "cup": "mug, teacup, coffee cup", "couch": "sofa, settee",
    "potted plant": "house plant, houseplant, flower pot, plant pot", "donut": "doughnut", "tv": "television",
    "laptop": "laptop computer", "mouse": "computer mouse", "remote": "remote control", "keyboard": "",
    "cell phone": "phone, mobile phone, mobile, smartphone, cellphone, telephone", "microwave": "microwave oven",
    "refrigerator": "fridge, freezer", "clock": "wall clock", "teddy bear": "teddy", "hair drier":
    "hair dryer, hairdryer",
    "bowl": "", "book": "", "knife": "", "furniture": "", "food": "", "bag": "", "chair": "armchair, office chair",
    "dining table": "table, kitchen table, coffee table", "bed": "", "oven": "stove, cooker", "sink": "wash basin",
    "bottle": "water bottle, plastic bottle, glass bottle", "wine glass": "wineglass, drinking glass",
}  # fmt: skip
_OFTEN: Final = {
    "person": """man, woman, guy, lady, gentleman, child, kid, boy, girl, teenager, adult, worker, employee, customer,
    visitor, guest, stranger, intruder, burglar, thief, courier, postman, mailman, driver, passenger, passer-by, figure,
    neighbour, neighbor, mother, father, mum, mom, dad, couple, crowd, family, group of people""",
    "animal": "pet, wildlife", "bag": "shopping bag, satchel, briefcase, shoulder bag", "laptop": "notebook, computer",
    "car": "suv, jeep", "truck": "pickup", "motorcycle": "scooter", "cup": "beaker, tumbler", "tv": "monitor",
    "potted plant": "plant", "food": "meal, snack", "furniture": "shelf", "teddy bear": "soft toy, cuddly toy",
}  # fmt: skip
"""Most of what is recognised as the kind is what someone who uses the word looks for."""
_SELDOM: Final = {
    "person": """baby, toddler, player, runner, jogger, skater, skier, swimmer, dancer, officer, policeman, soldier,
    nurse, doctor, teacher, student, chef, waiter, musician, singer, farmer, fisherman, bride, king, queen""",
    "vehicle": """van, minivan, delivery van, ambulance, fire engine, tractor, caravan, camper, trailer, tank,
    helicopter, rocket, submarine""",
    "car": "taxi, cab, police car, limousine, convertible, sports car, race car",
    "motorcycle": "quad bike",
    "animal": """fox, deer, rabbit, squirrel, goat, pig, monkey, ape, lion, tiger, wolf, rat, kangaroo, donkey""",
    "furniture": "stool, cupboard, wardrobe", "food": "fruit, vegetable, breakfast, lunch, dinner",
}  # fmt: skip
"""Few are, so what is recognised as the kind is never enough to claim it."""
_IRREGULAR: Final = {
    "people": "person", "persons": "person", "men": "man", "women": "woman", "children": "child", "gentlemen":
    "gentleman", "policemen": "policeman", "knives": "knife", "puppies": "puppy", "buses": "bus", "calves": "calf",
    "mice": "mouse", "geese": "goose", "wolves": "wolf", "skis": "ski", "scissors": "scissors", "oxen": "ox",
    "wildlife": "wildlife", "glasses": "glasses", "passers-by": "passer-by", "shelves": "shelf",
}  # fmt: skip
_NEVER: Final = frozenset({"orange"})
"""A kind whose name is a colour to everyone: only its plural means the fruit."""
CLOTHES: Final = frozenset(
    listed(
        """shirt, t-shirt, tshirt, jacket, coat, sweater, jumper, pullover, hoodie, suit, dress, vest, uniform,
    trousers, jeans, pants, skirt, clothes, clothing, outfit, overall, overalls, hat, cap, helmet, shoes"""
    )
)
"""What a person wears: its colour is told as the person's."""


def _entries() -> Iterator[tuple[str, tuple[str, float]]]:
    for kind in KINDS:
        if kind not in _NEVER:
            yield kind, (kind, 1.0)
    for table, share in ((_SAME, 1.0), (_OFTEN, 0.7), (_SELDOM, 0.35)):
        for kind, text in table.items():
            for word in (part.strip() for part in text.split(",")):
                if word:
                    yield " ".join(word.split()), ("skis" if kind == "ski" else kind, share)
    yield "ski", ("skis", 1.0)
    yield "oranges", ("orange", 1.0)
    yield "orange fruit", ("orange", 1.0)
    for words in _facing():
        yield words, (FACE, 1.0)


def _facing() -> Iterator[str]:
    """Who looks at the camera shows a face."""
    looks = ("look", "looks", "looked", "looking", "stare", "stares", "staring", "glance", "glances", "glancing")
    for camera in ("the camera", "the lens"):
        yield from (f"{look} {at} {camera}" for look in looks for at in ("at", "into", "towards", "toward"))
        yield from (f"{faces} {camera}" for faces in ("face", "faces", "faced", "facing"))


_NOUNS: Final = dict(reversed(list(_entries())))
LONGEST_NOUN: Final = max(len(phrase.split()) for phrase in _NOUNS)


@lru_cache(maxsize=4096)
def noun(phrase: str) -> tuple[str, float] | None:
    """The kind that lower-case words name, singular or plural, and the share of it that they mean."""
    head, _, last = phrase.rpartition(" ")
    for form in _singulars(last):
        found = _NOUNS.get(f"{head} {form}".strip())
        if found is not None:
            return found
    return None


def plural(kind: str) -> str:
    """More than one of a kind: "people", "buses"."""
    special = next((many for many, one in _IRREGULAR.items() if one == kind), None)
    return special or f"{kind}{'es' if kind.endswith(('s', 'sh', 'ch', 'x')) else 's'}"


def _singulars(word: str) -> Iterator[str]:
    yield word
    if word in _IRREGULAR:
        yield _IRREGULAR[word]
    if len(word) > 2 and word.endswith("s") and not word.endswith("ss"):
        yield word[:-1]
        if word.endswith("es"):
            yield word[:-2]
        if word.endswith("ies"):
            yield f"{word[:-3]}y"
