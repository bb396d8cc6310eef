"""The demonstration film: three and a half minutes of a street that turns from day to night, then a room."""

from __future__ import annotations

from ingest.scene.script import Actor, Film, Line, Shot, Told, Waypoint

STREET_END = 150.0
END = 210.0


def _street() -> tuple[Actor, ...]:
    return (
        Actor(
            "red car", "car", "red", (Waypoint(8.0, -13.0, 11.0), Waypoint(14.0, 13.0, 11.0)),
            ("a red car", "a red car drives to the right"),
        ),
        Actor(
            "woman in blue", "person", "blue", (Waypoint(20.0, 7.0, 9.0), Waypoint(33.0, -7.0, 9.0)),
            ("a person", "a person in blue walks to the left"),
        ),
        Actor(
            "white van", "van", "white",
            (Waypoint(40.0, 14.5, 14.1), Waypoint(44.0, 3.6, 14.1), Waypoint(57.0, 3.6, 14.1),
             Waypoint(61.5, -14.5, 14.1)),
            ("a white van",),
            text="PARCELS",
        ),
        Actor(
            "courier", "person", "orange",
            (Waypoint(45.0, 2.8, 16.6), Waypoint(46.4, 1.2, 16.6), Waypoint(49.5, -2.6, 18.9),
             Waypoint(51.0, -2.6, 18.9),
             Waypoint(54.1, 1.2, 16.6), Waypoint(55.5, 2.8, 16.6)),
            ("a person", "a person in orange delivers a box"),
            carries=((45.0, 50.2),),
        ),
        Actor(
            "box", "box", "brown",
            (Waypoint(45.0, 2.52, 16.55, 0.85), Waypoint(46.4, 0.86, 16.55, 0.85),
             Waypoint(49.5, -2.98, 18.85, 0.85), Waypoint(50.3, -3.0, 18.85, 0.0),
             Waypoint(93.0, -3.0, 18.85, 0.0), Waypoint(93.8, -2.98, 18.85, 0.85),
              Waypoint(101.5, -14.0, 18.5, 0.85)),
        ),
        Actor(
            "cyclist", "bicycle", "yellow", (Waypoint(64.0, -13.0, 12.1), Waypoint(71.0, 13.0, 12.1)),
            ("a bicycle", "someone rides a bicycle to the right"),
        ),
        Actor(
            "street dog", "dog", "brown", (Waypoint(76.0, -6.8, 8.8), Waypoint(81.5, 6.8, 8.8)),
            ("a dog", "a dog runs to the right"),
        ),
        Actor(
            "man in green", "person", "green",
            (Waypoint(86.0, 13.6, 18.9), Waypoint(92.6, -2.6, 18.9), Waypoint(94.0, -2.6, 18.9),
             Waypoint(101.5, -13.6, 18.55)),
            ("a person", "a person in green"),
            carries=((93.0, 102.0),),
        ),
        Actor(
            "bus", "bus", "green", (Waypoint(105.0, -15.5, 11.0), Waypoint(113.0, 15.5, 11.0)),
            ("a green bus",),
            text="RIVERSIDE",
        ),
        Actor(
            "blue car", "car", "blue", (Waypoint(138.0, 13.5, 14.3), Waypoint(143.5, -13.5, 14.3)),
            ("a blue car", "a blue car drives to the left"),
        ),
    )  # fmt: skip


def _room() -> tuple[Actor, ...]:
    return (
        Actor(
            "visitor in red", "person", "red",
            (Waypoint(157.0, -4.6, 5.0), Waypoint(161.5, 0.3, 5.0), Waypoint(164.0, 0.3, 5.0),
             Waypoint(169.0, -4.6, 5.0)),
            ("a person", "a person in red"),
            carries=((157.0, 162.9),),
        ),
        Actor(
            "bag", "bag", "black",
            (Waypoint(157.0, -4.2, 4.95, 0.55), Waypoint(161.5, 0.65, 4.95, 0.55), Waypoint(162.8, 0.75, 4.95, 0.0),
             Waypoint(END, 0.75, 4.95, 0.0)),
            ("a black bag",),
        ),
        Actor(
            "visitor in white", "person", "white", (Waypoint(182.0, 4.8, 5.45), Waypoint(193.0, -4.8, 5.45)),
            ("a person", "a person in white walks to the left"),
        ),
    )  # fmt: skip


DEMONSTRATION = Film(
    shots=(
        Shot("street", 0.0, STREET_END, _street(), "CAM 1  STREET", ((0.0, 1.0), (114.0, 1.0), (136.0, 0.0))),
        Shot("room", STREET_END, END, _room(), "CAM 2  ROOM", ((0.0, 1.0), (198.0, 1.0), (198.4, 0.0))),
    ),
    lines=(
        Line(50.6, "We will see you tomorrow morning."),
        Line(163.4, "I will see you in the office tomorrow."),
        Line(187.0, "We need more money for the house."),
    ),
    told=(
        Told("a white van stops", ((44.0, 57.0),), colour="white"),
        Told("a box is left at the door", ((49.5, 93.0),), colour="brown"),
        Told("someone takes a box away", ((92.6, 96.0),), colour="brown"),
        Told("a bag is left behind", ((162.8, END),), colour="black"),
        Told("it becomes dark outside", ((114.0, 136.0),), "scene"),
        Told("it is night in the street", ((136.0, STREET_END),), "scene"),
        Told("the light goes out in the room", ((198.0, 199.0),), "scene"),
        Told("the picture changes from the street to the room", ((STREET_END, STREET_END + 0.5),), "scene"),
        Told("BAKERY", ((0.0, STREET_END),), "read"),
        Told("RIVERSIDE", ((106.8, 111.2),), "read"),
        Told("PARCELS", ((42.5, 59.0),), "read"),
        Told("STREET", ((0.0, STREET_END),), "read"),
        Told("ROOM", ((STREET_END, END),), "read"),
    ),
    absent=(
        "a yellow car", "a purple van", "a cat", "a horse", "snow", "a fire", "an airplane", "the text TAXI",
        "someone says elephant", "a red bus", "a swimming pool", "a boat",
    ),
    questions=(
        ("What colour is the first car?", "red"),
        ("Which direction does the blue car drive?", "to the left"),
        ("What is written on the bus?", "RIVERSIDE"),
        ("What is the name on the shop?", "BAKERY"),
        ("How many cars pass?", "2"),
        ("What is left behind in the room?", "a black bag"),
        ("Where will someone be tomorrow, according to what is said?", "in the office"),
        ("When does the white van stop?", "from 0:44 to 0:57"),
        ("Was a yellow car seen?", "no"),
    ),
)  # fmt: skip
