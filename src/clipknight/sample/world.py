"""What the world of the built-in sample is made of: things, places, styles and motions, with the words for them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Thing:
    nouns: tuple[str, ...]
    colours: tuple[str, ...]
    spots: tuple[str, ...]
    verbs: tuple[str, ...]
    scale: float = 1.0
    moves: tuple[str, ...] = ()  # how it crosses the picture in a clip


@dataclass(frozen=True)
class Background:
    spot: str  # what things stand on
    scenery: tuple[str, ...]
    on: tuple[str, ...]  # where things that stand are
    over: tuple[str, ...] = ()  # where things in the air are; empty indoors


@dataclass(frozen=True)
class Style:
    openings: tuple[str, ...]
    tags: tuple[str, ...]
    moving: str = ""  # the opening of a clip's caption
    coloured: bool = True


@dataclass(frozen=True)
class Group:
    """So many of one thing. `colour` is None where the style shows none."""

    name: str
    colour: str | None
    count: int
    size: str
    spot: str

    @property
    def floats(self) -> bool:
        return self.spot == "air"


_BRIGHT = ("red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink")
_ANY, _FUR = (*_BRIGHT, "white", "black"), ("orange", "brown", "white", "grey", "black", "pink", "blue")
_LAND, _HOME, _DESK, _AIR = ("ground",), ("ground", "room"), ("ground", "room", "table"), ("air",)
_STAND, _SIT, _LIE = ("stand",), ("sit", "rest"), ("lie", "rest")

THINGS = {
    "cat": Thing(("cat", "kitty"), _FUR, _DESK, _SIT, 0.95, ("walk", "stroll")),
    "dog": Thing(("dog", "puppy"), _FUR, _HOME, _STAND, 1.0, ("run", "trot")),
    "duck": Thing(("duck",), ("yellow", "white", "brown", "green"), ("ground", "water"), _SIT, 0.85, ("waddle",)),
    "whale": Thing(("whale",), ("blue", "grey", "black", "purple"), ("water",), ("swim",), 1.2, ("swim",)),
    "bird": Thing(("bird", "songbird"), _ANY, _AIR, ("fly", "flutter"), 0.9, ("fly", "glide")),
    "butterfly": Thing(("butterfly",), _BRIGHT, _AIR, ("flutter", "hover"), 0.85, ("flutter", "fly")),
    "car": Thing(("car", "automobile"), _ANY, _LAND, ("stand", "wait"), 1.2, ("drive", "roll")),
    "sailboat": Thing(("sailboat", "sailing boat"), _ANY[:9], ("water",), ("sail", "float"), 1.15, ("sail", "glide")),
    "airplane": Thing(("airplane", "plane"), _BRIGHT, _AIR, ("fly", "soar"), 1.15, ("fly", "soar")),
    "balloon": Thing(("balloon",), _ANY[:9], _AIR, ("float", "hover"), 0.95, ("drift", "float")),
    "house": Thing(("house", "cottage"), ("yellow", "white", "blue", "pink", "green", "red"), _LAND, _STAND, 1.2),
    "tree": Thing(("tree",), ("green", "orange", "yellow", "pink", "red"), _LAND, ("stand", "grow"), 1.25),
    "flower": Thing(("flower", "blossom"), (*_BRIGHT, "white"), _LAND, ("grow", "stand"), 0.85),
    "apple": Thing(("apple",), ("red", "green", "yellow", "pink"), _DESK, _LIE, 0.75),
    "mug": Thing(("mug", "coffee cup"), _ANY, ("table", "room"), _STAND, 0.8),
    "teapot": Thing(("teapot",), _ANY[:9], ("table", "room"), _STAND, 0.95),
    "chair": Thing(("chair", "wooden chair"), _ANY, _HOME, _STAND, 1.05),
    "umbrella": Thing(("umbrella",), _ANY, _HOME, _STAND),
}

# The span of their lower edges, in heights of the picture.
FEET = {"air": (0.38, 0.56), "ground": (0.74, 0.95), "water": (0.68, 0.92), "room": (0.8, 0.95), "table": (0.76, 0.93)}

BACKGROUNDS = {
    "beach": Background("ground", ("a beach", "the seaside"), ("on a beach", "on the sand"), ("over a beach",)),
    "sea": Background("water", ("the sea", "the ocean"), ("on the sea", "on the open water"), ("over the sea",)),
    "meadow": Background("ground", ("a meadow", "a grassy field"), ("in a meadow", "on the grass"), ("over a meadow",)),
    "city": Background("ground", ("a city", "skyscrapers"), ("in the city", "on a city street"), ("over a city",)),
    "snow": Background("ground", ("a snowy field", "a winter day"), ("in the snow", "on snowy ground"), ("over snow",)),
    "night": Background(
        "ground", ("a starry night", "a night sky"), ("at night", "under the stars"), ("in the night",)
    ),
    "room": Background(
        "room", ("a living room", "a room with a window"), ("in a room", "on a wooden floor", "indoors")
    ),
    "table": Background("table", ("a wooden table", "a table top"), ("on a table", "on a wooden table")),
}
HIDDEN = {"snow": ("white",), "night": ("black", "grey"), "table": ("brown",)}  # colours that would not show there

STYLES = {
    "illustration": Style(("an illustration of", "a cartoon of"), ("digital art", "flat colours"), "a cartoon clip of"),
    "photo": Style(("a photo of", "a photograph of"), ("soft focus photo", "bokeh"), "soft-focus footage of"),
    "watercolor": Style(("a watercolor of", "a painting of"), ("watercolor", "wet paint"), "a watercolor animation of"),
    "pixel art": Style(("pixel art of", "an 8-bit picture of"), ("pixel art", "8-bit"), "a pixel art animation of"),
    "comic": Style(("a comic of", "an ink cartoon of"), ("comic book style", "bold ink"), "a comic style animation of"),
    "pencil sketch": Style(("a pencil sketch of", "a drawing of"), ("graphite", "pencil on paper"), coloured=False),
}

MOTIONS = {  # verbs to use instead of the thing's own, and the words for the motion
    "left to right": ((), ("from left to right", "to the right", "across the picture to the right")),
    "right to left": ((), ("from right to left", "to the left", "across the picture to the left")),
    "up": (("rise", "float", "climb"), ("up", "upwards", "higher and higher")),
    "down": (("sink", "float", "come"), ("down", "downwards", "lower and lower")),
    "bounce": (("bounce", "jump", "hop"), ("up and down", "again and again")),
}
