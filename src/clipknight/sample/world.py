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
class Spot:
    """A part of a background that holds objects: the span of their feet (or centres, where they float)."""

    span: tuple[float, float]
    phrases: tuple[str, ...]
    floats: bool = False


@dataclass(frozen=True)
class Background:
    scenery: tuple[str, ...]
    spots: dict[str, Spot]
    weather: tuple[str, ...] = ()
    hides: tuple[str, ...] = ()  # colours that would not show


@dataclass(frozen=True)
class Style:
    openings: tuple[str, ...]
    tags: tuple[str, ...]
    coloured: bool = True
    share: int = 2
    hides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """`colour` is None where the style shows none."""

    name: str
    colour: str | None
    count: int
    size: str
    spot: str


_ANY = ("red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink", "white", "black")
_FUR = ("orange", "brown", "white", "grey", "black", "pink", "blue")
_LAND, _HOME, _DESK = ("ground",), ("ground", "room"), ("ground", "room", "table")
_STAND, _LIE, _SIT = ("stand",), ("lie", "rest"), ("sit", "rest")

THINGS = {
    "cat": Thing(("cat", "kitty", "cat"), _FUR, (*_DESK, "space"), _SIT, 0.95, ("walk", "stroll")),
    "dog": Thing(("dog", "puppy", "dog"), _FUR, (*_HOME, "space"), _STAND, 1.0, ("run", "trot")),
    "horse": Thing(("horse", "pony"), ("brown", "white", "black", "grey"), _LAND, _STAND, 1.15, ("gallop", "trot")),
    "sheep": Thing(("sheep",), ("white", "grey", "pink", "brown"), _LAND, _STAND, 1.0, ("walk", "trot")),
    "elephant": Thing(("elephant",), ("grey", "pink", "blue"), (*_LAND, "space"), _STAND, 1.2, ("walk", "march")),
    "rabbit": Thing(("rabbit", "bunny"), ("white", "brown", "grey", "black"), _HOME, _SIT, 0.85, ("hop",)),
    "bird": Thing(("bird", "songbird"), _ANY[:7], ("air",), ("fly", "flutter"), 0.9, ("fly", "glide")),
    "owl": Thing(("owl",), ("brown", "grey", "white", "purple"), _HOME, ("sit", "perch"), 0.9),
    "duck": Thing(("duck",), ("yellow", "white", "brown", "green"), ("ground", "water"), ("rest",), 0.85, ("waddle",)),
    "penguin": Thing(("penguin",), ("black", "blue", "grey"), (*_LAND, "room"), _STAND, 0.95, ("waddle",)),
    "fish": Thing(("fish", "reef fish"), _ANY[:8], ("deep",), ("swim", "glide"), 0.85, ("swim", "glide")),
    "whale": Thing(("whale",), ("blue", "grey", "black", "purple"), ("deep", "water"), ("swim",), 1.2, ("swim",)),
    "turtle": Thing(("turtle",), ("green", "brown", "purple", "red"), ("ground", "deep"), ("rest",), 0.9, ("crawl",)),
    "butterfly": Thing(("butterfly",), _ANY[:8], ("air",), ("flutter", "hover"), 0.85, ("flutter", "fly")),
    "car": Thing(("car", "automobile", "car"), _ANY, _LAND, ("stand", "wait"), 1.2, ("drive", "roll")),
    "bus": Thing(("bus", "coach"), _ANY[:7], _LAND, ("stand", "wait"), 1.25, ("drive", "roll")),
    "bicycle": Thing(("bicycle", "bike"), _ANY[:8], _HOME, _STAND, 1.05, ("roll",)),
    "sailboat": Thing(
        ("sailboat", "sailing boat", "boat"), (*_ANY[:9],), ("water",), ("sail", "float"), 1.15, ("sail", "glide")
    ),
    "airplane": Thing(("airplane", "plane"), _ANY[:7], ("air",), ("fly", "soar"), 1.15, ("fly", "soar")),
    "rocket": Thing(("rocket", "spaceship"), _ANY[:8], ("air", "space"), ("fly", "soar"), 1.05, ("fly",)),
    "hot_air_balloon": Thing(("hot-air balloon",), _ANY[:8], ("air",), ("float", "hover"), 1.2, ("drift", "float")),
    "house": Thing(("house", "cottage"), ("yellow", "white", "blue", "pink", "green", "red"), _LAND, _STAND, 1.2),
    "castle": Thing(("castle",), ("grey", "white", "pink", "yellow", "purple"), _LAND, _STAND, 1.3),
    "lighthouse": Thing(("lighthouse",), ("red", "blue", "green", "orange", "black"), _LAND, _STAND, 1.25),
    "windmill": Thing(("windmill",), ("white", "yellow", "brown", "turquoise", "red"), _LAND, _STAND, 1.25),
    "tent": Thing(("tent",), _ANY[:7], _LAND, _STAND, 1.1),
    "tree": Thing(("tree",), ("green", "orange", "yellow", "pink", "red"), _LAND, ("stand", "grow"), 1.25),
    "flower": Thing(
        ("flower", "blossom"),
        ("red", "pink", "yellow", "purple", "white", "orange", "blue"),
        _LAND,
        ("grow", "stand"),
        0.85,
    ),
    "cactus": Thing(("cactus",), ("green", "turquoise", "purple"), _DESK, _STAND, 1.05),
    "mushroom": Thing(
        ("mushroom", "toadstool"), ("red", "brown", "blue", "purple", "orange"), (*_LAND, "table"), ("stand",), 0.85
    ),
    "apple": Thing(("apple",), ("red", "green", "yellow"), _DESK, _LIE, 0.75),
    "banana": Thing(("banana",), ("yellow", "green"), _DESK, _LIE, 0.85),
    "strawberry": Thing(("strawberry",), ("red", "pink", "white"), (*_DESK, "space"), _LIE, 0.75),
    "watermelon": Thing(("slice of watermelon", "watermelon slice"), ("red", "yellow"), _DESK, _LIE, 0.9),
    "pumpkin": Thing(("pumpkin",), ("orange", "white", "green"), _DESK, _LIE, 0.9),
    "mug": Thing(("mug", "coffee cup", "cup"), _ANY, ("table", "room"), _STAND, 0.8),
    "teapot": Thing(("teapot",), _ANY[:9], ("table", "room", "space"), _STAND, 0.95),
    "lamp": Thing(("lamp", "table lamp"), _ANY[:9], ("table", "room"), _STAND, 1.0),
    "chair": Thing(("chair", "wooden chair"), _ANY, _HOME, _STAND, 1.05),
    "clock": Thing(("alarm clock", "clock"), _ANY[:8], ("table", "room", "space"), _STAND, 0.85),
    "umbrella": Thing(("umbrella",), _ANY, ("air", "ground", "room"), ("hang",), 1.0, ("drift", "float")),
    "guitar": Thing(
        ("guitar", "acoustic guitar"), ("orange", "brown", "red", "blue", "black"), (*_HOME, "space"), _STAND, 1.1
    ),
    "ball": Thing(("beach ball", "ball"), _ANY[:8], _HOME, _LIE, 0.8, ("roll",)),
    "balloon": Thing(("balloon",), _ANY[:9], ("air", "room", "space"), ("float", "hover"), 0.95, ("drift", "float")),
    "kite": Thing(("kite",), _ANY[:8], ("air",), ("fly", "dance"), 1.0, ("fly", "sail")),
    "star": Thing(("star",), ("yellow", "red", "blue", "pink"), ("space", "air"), ("shine", "glow"), 0.75, ("drift",)),
    "moon": Thing(
        ("crescent moon", "moon"), ("yellow", "white", "orange"), ("space", "air"), ("shine", "glow"), 0.85, ("drift",)
    ),
    "planet": Thing(("ringed planet", "planet"), _ANY[:8], ("space",), ("float",), 1.05, ("drift",)),
}

_FEET, _SKY = (0.74, 0.95), (0.08, 0.5)
_FAIR = ("golden light", "mist", "rain")


def _open_air(scenery, ground, air, weather=_FAIR, hides=(), feet=_FEET) -> Background:
    return Background(scenery, {"ground": Spot(feet, ground), "air": Spot(_SKY, air, True)}, weather, hides)


BACKGROUNDS = {
    "beach": _open_air(
        ("a sandy beach", "a beach", "the seaside"),
        ("on a beach", "on the sand", "at the beach", "on a sandy shore"),
        ("over a beach", "above a sandy shore", "in the sky over a beach"),
    ),
    "sea": Background(
        ("the open sea", "the ocean", "the sea"),
        {
            "water": Spot((0.68, 0.92), ("on the sea", "on the open water", "in the ocean", "on the waves")),
            "air": Spot(_SKY, ("over the sea", "above the ocean", "in the sky over the sea"), True),
        },
        _FAIR,
    ),
    "underwater": Background(
        ("a coral reef", "the deep blue sea", "an underwater world"),
        {"deep": Spot((0.12, 0.84), ("under water", "beneath the waves", "at a coral reef", "in the deep sea"), True)},
        hides=("blue",),
    ),
    "desert": _open_air(
        ("a desert", "sand dunes", "a desert landscape"),
        ("in the desert", "among sand dunes", "in a sandy desert", "in a dry desert landscape"),
        ("over the desert", "above the dunes", "in the sky over a desert"),
        ("golden light",),
    ),
    "forest": _open_air(
        ("a forest", "a pine forest", "the woods"),
        ("in a forest", "in the woods", "among pine trees", "in a forest clearing"),
        ("over a forest", "above the pine trees", "in the sky over the woods"),
        (*_FAIR, "snowfall"),
    ),
    "night": _open_air(
        ("a starry night", "a night landscape", "a starry sky"),
        ("at night", "under a starry sky", "under the stars", "on a starry night"),
        ("in the night sky", "in a starry sky", "among the stars at night"),
        (),
        ("black", "grey"),
    ),
    "city": _open_air(
        ("a city", "a city skyline", "skyscrapers"),
        ("in the city", "on a city street", "in front of skyscrapers", "downtown"),
        ("over the city", "above the skyscrapers", "over the rooftops of a city"),
        (*_FAIR, "snowfall"),
    ),
    "snow": _open_air(
        ("a snowy field", "a winter landscape", "snowy hills"),
        ("in the snow", "on a snowy field", "in a winter landscape", "on snow-covered ground"),
        ("over a snowy field", "above a winter landscape", "in the winter sky"),
        ("snowfall",),
        ("white",),
    ),
    "meadow": _open_air(
        ("a meadow", "a green meadow", "a field of flowers"),
        ("in a meadow", "on the grass", "in a green field", "on a flowery meadow"),
        ("over a meadow", "above a green field", "in the sky over a meadow"),
    ),
    "mountains": _open_air(
        ("mountains", "a mountain valley", "snow-capped mountains"),
        ("in the mountains", "in a mountain valley", "at the foot of the mountains", "in front of snowy peaks"),
        ("over the mountains", "above the snowy peaks", "in the sky over a mountain valley"),
        (*_FAIR, "snowfall"),
    ),
    "room": Background(
        ("a cosy room", "a living room", "a room with a window"),
        {"room": Spot((0.8, 0.95), ("in a room", "in a living room", "on a wooden floor", "indoors"))},
    ),
    "table": Background(
        ("a wooden table", "a kitchen table", "a table top"),
        {"table": Spot((0.76, 0.93), ("on a table", "on a wooden table", "on a kitchen table", "on the table top"))},
        hides=("brown",),
    ),
    "sunset": _open_air(
        ("a sunset", "an evening landscape", "an orange evening sky"),
        ("at sunset", "at dusk", "under an orange evening sky", "as the sun goes down"),
        ("in the sunset sky", "in the evening sky", "in an orange sky at sunset"),
        (),
    ),
    "space": Background(
        ("outer space", "the cosmos", "a galaxy full of stars"),
        {"space": Spot((0.1, 0.88), ("in outer space", "among the stars", "in deep space", "in the cosmos"), True)},
        hides=("black",),
    ),
    "garden": _open_air(
        ("a garden", "a fenced garden", "a tidy lawn"),
        ("in a garden", "in front of a white fence", "on a lawn", "in the backyard"),
        ("over a garden", "above a white garden fence", "in the sky over a garden"),
        ("golden light", "rain"),
    ),
    "studio": Background(
        ("a plain background", "a plain backdrop", "an empty studio"),
        {
            "studio": Spot(
                (0.8, 0.9), ("against a plain background", "in front of a plain wall", "on a pastel background")
            )
        },
    ),
}

STYLES = {
    "illustration": Style(
        ("an illustration of", "a digital illustration of"), ("digital art", "clean vector illustration"), share=4
    ),
    "photo": Style(
        ("a photo of", "a soft-focus photograph of"), ("soft focus photo", "shallow depth of field, bokeh"), share=4
    ),
    "watercolor": Style(
        ("a watercolor painting of", "a watercolour of"), ("watercolor", "watercolour on paper"), share=3
    ),
    "oil painting": Style(("an oil painting of", "an oil on canvas of"), ("oil on canvas", "thick oil paint"), share=3),
    "pencil sketch": Style(
        ("a pencil sketch of", "a pencil drawing of"), ("graphite drawing", "black and white pencil sketch"), False
    ),
    "pixel art": Style(("pixel art of", "an 8-bit picture of"), ("pixel art", "8-bit video game style")),
    "pop art": Style(("a pop art print of", "a pop art poster of"), ("pop art", "halftone pop art style")),
    "sepia photo": Style(("a sepia photo of", "an old photograph of"), ("sepia", "vintage photograph"), False),
    "blueprint": Style(
        ("a blueprint of", "a white line drawing on blue of"),
        ("blueprint", "technical drawing, white lines on blue"),
        False,
        1,
    ),
    "neon": Style(
        ("a neon picture of", "glowing neon lines of"),
        ("neon lights", "neon glow on black"),
        hides=("white", "grey", "black", "brown"),
    ),
    "comic": Style(("a comic book drawing of", "an ink cartoon of"), ("comic book style", "bold ink outlines")),
    "stained glass": Style(
        ("a stained glass window of", "a stained glass picture of"), ("stained glass", "stained glass mosaic")
    ),
    "pointillism": Style(
        ("a pointillist painting of", "a painting in dots of"), ("pointillism", "made of colourful dots")
    ),
    "crayon": Style(("a crayon drawing of", "a child's crayon picture of"), ("crayon drawing", "wax crayons on paper")),
}
CLIP_STYLES = {
    "illustration": "a cartoon clip of",
    "photo": "soft-focus footage of",
    "watercolor": "a watercolor animation of",
    "pixel art": "a pixel art animation of",
    "comic": "a comic style animation of",
}
MOTIONS = {  # verbs to use instead of the object's own, and how the motion is told
    "left to right": ((), ("from left to right", "to the right", "across the picture to the right")),
    "right to left": ((), ("from right to left", "to the left", "across the picture to the left")),
    "up": (("rise", "float", "climb"), ("up", "upwards", "higher and higher")),
    "down": (("sink", "float", "come"), ("down", "downwards", "lower and lower")),
    "bounce": (("bounce", "jump", "hop"), ("up and down", "again and again")),
    "closer": (("come", "move"), ("closer", "nearer", "towards the viewer")),
}
