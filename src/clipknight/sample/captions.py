"""What can truly be said of the built-in sample's scenes: captions varied in form and in what they leave out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from clipknight.sample.pen import COLOURS
from clipknight.sample.world import BACKGROUNDS, CLIP_STYLES, MOTIONS, STYLES, THINGS, Group

import numpy as np

# The vocabulary. A colour's words, a size's words, and so on: the first is the plain one.

COLOUR_WORDS = {
    "red": ("red", "scarlet"),
    "yellow": ("yellow", "bright yellow"),
    "turquoise": ("turquoise", "teal"),
    "purple": ("purple", "violet"),
    "brown": ("brown", "dark brown"),
    "white": ("white", "snow-white"),
    "grey": ("grey", "gray"),
}
SIZE_WORDS = {"small": ("small", "tiny", "little"), "medium": ("",), "large": ("big", "large", "huge")}
COUNT_WORDS = {
    1: ("a",) * 8 + ("one", "a single"),
    2: ("two", "two", "a pair of", "a couple of"),
    3: ("three", "three", "a group of three", "a trio of"),
    4: ("four", "four", "a group of four"),
    5: ("five", "five", "a group of five"),
}
RELATION_WORDS = {
    "left of": ("to the left of", "on the left of", "left of"),
    "right of": ("to the right of", "on the right of", "right of"),
    "above": ("above", "over", "high above"),
    "below": ("below", "under", "beneath"),
    "in front of": ("in front of", "just in front of"),
    "behind": ("behind", "partly hidden behind"),
}
CONVERSE = {"left of": "right of", "above": "below", "in front of": "behind"}
CONVERSE |= {b: a for a, b in CONVERSE.items()}
WEATHER_WORDS = {  # (after a comma in a prompt, at the end of a sentence)
    "golden light": (("golden light", "warm golden hour light"), ("in golden light", "in warm evening light")),
    "mist": (("misty", "thick fog"), ("in the mist", "on a foggy day")),
    "rain": (("rainy weather", "falling rain"), ("in the rain", "on a rainy day")),
    "snowfall": (("falling snow", "snowflakes in the air"), ("while snow is falling", "as snowflakes drift down")),
}
POLISH = ("highly detailed", "intricate", "beautiful composition", "masterpiece", "soft shading")
SPOT_VERBS = {  # instead of the object's own
    "space": ("float", "drift"),
    "studio": ("appear",),
    "water": ("float", "swim"),
    "deep": ("swim", "glide"),
    ("sailboat", "water"): ("sail", "float"),
    ("umbrella", "air"): ("float",),
}
GERUND = {"lie": "lying", "sit": "sitting", "run": "running", "swim": "swimming", "hop": "hopping", "trot": "trotting"}

# Words.


def pick(rng: np.random.Generator, options):
    return options[rng.integers(len(options))]


def plural(noun: str) -> str:
    head, of, rest = noun.partition(" of ")
    if head.endswith(("sheep", "fish")):
        many = head
    elif head == "cactus":
        many = "cacti"
    elif head.endswith("y") and head[-2] not in "aeiou":
        many = head[:-1] + "ies"
    else:
        many = head + ("es" if head.endswith(("s", "x", "ch", "sh")) else "s")
    return many + of + rest


def third(verb: str) -> str:
    """he ...s"""
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + ("es" if verb.endswith(("s", "x", "ch", "sh")) else "s")


def gerund(verb: str) -> str:
    return GERUND.get(verb) or verb.removesuffix("e") + "ing"


def shown(phrases: tuple[str, ...], style: str) -> tuple[str, ...]:
    """Without those that name a colour, where the style shows none."""
    if STYLES[style].coloured:
        return phrases
    return tuple(p for p in phrases if not {*p.replace("-", " ").split()} & COLOURS.keys())


def conjugate(verb: str, group: Group) -> str:
    return verb if group.count > 1 else third(verb)


def noun_phrase(rng: np.random.Generator, group: Group, full: float = 0.9) -> str:
    """Count, size, colour and noun; size and colour are each told with probability `full`."""
    noun = pick(rng, THINGS[group.name].nouns)
    words = [pick(rng, SIZE_WORDS[group.size])] if rng.random() < full else []
    if group.colour and rng.random() < full:
        words.append(pick(rng, COLOUR_WORDS.get(group.colour, (group.colour,))))
    words = [w for w in [*words, noun if group.count == 1 else plural(noun)] if w]
    vague = group.count > 2 and rng.random() > full
    count = pick(rng, ("several", "a few", "some")) if vague else pick(rng, COUNT_WORDS[group.count])
    if count == "a":
        count = "an" if words[0][0] in "aeiou" else "a"
    return " ".join([count, *words])


@dataclass(frozen=True)
class _Telling:
    """One way to name what a scene shows: its grammatical subject, and all of it."""

    subject: Group
    start: str  # the subject's phrase
    rest: str  # " to the left of a tree", or nothing
    place: str

    @property
    def whole(self) -> str:
        return self.start + self.rest


def _tell(rng, groups, relation, background, style, full: float = 0.9) -> _Telling:
    a, b = groups[0], groups[-1]
    if relation and rng.random() < 0.5:
        a, b, relation = b, a, CONVERSE[relation]
    spots = BACKGROUNDS[background].spots
    start, rest = noun_phrase(rng, a, full), ""
    if relation:
        nearby = relation in ("left of", "right of") and rng.random() > full
        words = ("next to", "beside", "near") if nearby else RELATION_WORDS[relation]
        rest = f" {pick(rng, words)} {noun_phrase(rng, b, full)}"
    low = next((g for g in groups if not spots[g.spot].floats), a)
    return _Telling(a, start, rest, pick(rng, shown(spots[low.spot].phrases, style)))


def _verb(rng, group: Group) -> str:
    verbs = SPOT_VERBS.get((group.name, group.spot)) or SPOT_VERBS.get(group.spot)
    return pick(rng, verbs or THINGS[group.name].verbs)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def describe(rng, groups, relation, background, style, weather) -> tuple[str, ...]:
    """Five different captions, all true: two like prompts, two full sentences and one terse note, in random order."""
    look, scenery = STYLES[style], shown(BACKGROUNDS[background].scenery, style)
    tags, endings = WEATHER_WORDS.get(weather, ((), ()))

    def tell(full: float, relation=relation) -> _Telling:
        return _tell(rng, groups, relation, background, style, full)

    def extras() -> str:
        told = [pick(rng, tags)] if tags else []
        told += [pick(rng, POLISH)] if rng.random() < 0.25 else []
        return "".join(f", {t}" for t in told)

    def ending() -> str:
        return f" {pick(rng, endings)}" if endings and rng.random() < 0.6 else ""

    def opened() -> str:
        t = tell(0.9)
        return f"{pick(rng, look.openings)} {t.whole} {t.place}{extras()}"

    def tagged() -> str:
        t = tell(0.9)
        return f"{t.whole} {t.place}, {pick(rng, look.tags)}{extras()}"

    def acted() -> str:
        t = tell(0.75)
        return _sentence(f"{t.start} {conjugate(_verb(rng, t.subject), t.subject)}{t.rest} {t.place}{ending()}")

    def stated() -> str:
        t = tell(0.75)
        forms = (
            f"there {'are' if t.subject.count > 1 else 'is'} {t.whole} {t.place}{ending()}",
            f"{t.whole} can be seen {t.place}{ending()}",
            f"{pick(rng, scenery)} with {t.whole}",
            f"{t.start} {gerund(_verb(rng, t.subject))}{t.rest} {t.place}",
        )
        return _sentence(pick(rng, forms))

    def noted() -> str:
        if relation and rng.random() < 0.3:
            return " and ".join(noun_phrase(rng, g, 0.4) for g in groups) + f", {pick(rng, scenery)}"
        t = tell(0.4)
        return f"{t.whole} {t.place}"

    captions = _different((opened, tagged, acted, stated, noted))
    return tuple(captions[i] for i in rng.permutation(len(captions)))


def _different(forms: Iterable[Callable[[], str]]) -> tuple[str, ...]:
    """One caption of each form, no two alike."""
    captions: list[str] = []
    for form in forms:
        while (caption := form()) in captions:
            pass
        captions.append(caption)
    return tuple(captions)


def tell_motion(rng, groups, motion: str, background: str, style: str) -> tuple[str, ...]:
    """Five different captions of a clip, all true; the first tells everything."""
    mover, spot = groups[0], BACKGROUNDS[background].spots[groups[0].spot]
    own, ways = MOTIONS[motion]
    verbs = own or THINGS[mover.name].moves

    def told(conjugated, full: float, direction: bool = True) -> str:
        past = f" past {noun_phrase(rng, groups[1], full)}" if len(groups) > 1 and rng.random() < 0.7 else ""
        way = f" {pick(rng, ways)}" if direction else ""
        return f"{noun_phrase(rng, mover, full)} {conjugated(pick(rng, verbs))}{past}{way} {pick(rng, spot.phrases)}"

    forms = (
        lambda: _sentence(told(third, 1.0)),
        lambda: f"{CLIP_STYLES[style]} {told(gerund, 0.9)}",
        lambda: _sentence(told(third, 0.6)),
        lambda: told(gerund, 0.4, direction=bool(own)),
        lambda: _sentence(f"the video shows {told(gerund, 0.8)}"),
    )
    return _different(forms)
