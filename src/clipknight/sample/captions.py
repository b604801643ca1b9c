"""What can truly be said of the built-in sample's scenes: captions varied in form and in what they leave out."""

from collections.abc import Callable

from clipknight.sample.world import BACKGROUNDS, MOTIONS, STYLES, THINGS, Group

import numpy as np

# The words for a colour, a size and so on: the first is the plain one.

COLOUR_WORDS = {
    "red": ("red", "scarlet"),
    "turquoise": ("turquoise", "teal"),
    "purple": ("purple", "violet"),
    "white": ("white", "snow-white"),
    "grey": ("grey", "gray"),
}
SIZE_WORDS = {"small": ("small", "tiny", "little"), "medium": ("",), "large": ("big", "large", "huge")}
COUNT_WORDS = {
    1: ("a",) * 8 + ("one", "a single"),
    2: ("two", "two", "a pair of", "a couple of"),
    3: ("three", "three", "a group of three", "a trio of"),
    4: ("four", "four", "a group of four", "several"),
    5: ("five", "five", "a group of five", "several"),
}
RELATION_WORDS = {
    "left of": ("to the left of", "on the left of", "left of"),
    "right of": ("to the right of", "on the right of", "right of"),
    "above": ("above", "over", "high above"),
    "below": ("below", "under", "beneath"),
}
CONVERSE = {"left of": "right of", "right of": "left of", "above": "below"}
POLISH = ("highly detailed", "intricate", "beautiful composition", "masterpiece", "soft shading")
GERUNDS = {"lie": "lying", "sit": "sitting", "run": "running", "swim": "swimming", "hop": "hopping", "trot": "trotting"}

# Each form has the probability that a size or a colour is named, and sentences to choose from.
SCENE_FORMS = (
    (0.9, ("{opening} {all} {where}{polish}",)),
    (0.9, ("{all} {where}, {tag}{polish}",)),
    (0.75, ("{one} {does}{other} {where}.",)),
    (
        0.75,
        (
            "there {are} {all} {where}.",
            "{all} can be seen {where}.",
            "{scenery} with {all}.",
            "{one} {doing}{other} {where}.",
        ),
    ),
    (0.4, ("{all} {where}", "{all} {where}", "{all}, {scenery}")),
)
CLIP_FORMS = (
    (1.0, ("{one} {does}{past} {way} {where}.",)),
    (0.9, ("{moving} {one} {doing}{past} {way} {where}",)),
    (0.6, ("{one} {does}{past} {way} {where}.",)),
    (0.4, ("{one} {doing}{past} {way} {where}",)),
    (0.8, ("the video shows {one} {doing}{past} {way} {where}.",)),
)


def pick(rng: np.random.Generator, options):
    return options[rng.integers(len(options))]


def add_s(word: str) -> str:
    """A noun's plural, or a verb's third person."""
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "ch", "sh")) else "s")


def noun_phrase(rng: np.random.Generator, group: Group, full: float) -> str:
    """Count, size, colour and noun; size and colour are each told with probability `full`."""
    noun = pick(rng, THINGS[group.name].nouns)
    words = [pick(rng, SIZE_WORDS[group.size])] if rng.random() < full else []
    if group.colour and rng.random() < full:
        words.append(pick(rng, COLOUR_WORDS.get(group.colour, (group.colour,))))
    words = [w for w in [*words, noun if group.count == 1 else add_s(noun)] if w]
    count = pick(rng, COUNT_WORDS[group.count])
    return " ".join(["an" if count == "a" and words[0][0] in "aeiou" else count, *words])


def describe(rng, groups, relation, background, style) -> tuple[str, ...]:
    """Five different captions, all true: two like prompts, two full sentences and one terse note, in random order."""
    place, look = BACKGROUNDS[background], STYLES[style]

    def words(full: float) -> dict[str, str]:
        first, second, link = groups[0], groups[-1], relation
        if relation and rng.random() < 0.5:
            first, second, link = second, first, CONVERSE[relation]
        one = noun_phrase(rng, first, full)
        other = f" {pick(rng, RELATION_WORDS[link])} {noun_phrase(rng, second, full)}" if link else ""
        return {
            **_verb_forms(pick(rng, THINGS[first.name].verbs), first),
            **{"one": one, "other": other, "all": one + other},
            "where": pick(rng, place.over if all(g.floats for g in groups) else place.on),
            "scenery": pick(rng, place.scenery),
            "opening": pick(rng, look.openings),
            "tag": pick(rng, look.tags),
            "polish": f", {pick(rng, POLISH)}" if rng.random() < 0.25 else "",
        }

    captions = _different(rng, SCENE_FORMS, words)
    return tuple(captions[i] for i in rng.permutation(len(captions)))


def describe_motion(rng, groups, motion, background, style) -> tuple[str, ...]:
    """Five different captions of a clip, all true; the first tells everything."""
    mover, *still = groups
    place, (verbs, ways) = BACKGROUNDS[background], MOTIONS[motion]

    def words(full: float) -> dict[str, str]:
        return {
            **_verb_forms(pick(rng, verbs or THINGS[mover.name].moves), mover),
            "one": noun_phrase(rng, mover, full),
            "past": f" past {noun_phrase(rng, still[0], full)}" if still and rng.random() < 0.7 else "",
            "way": pick(rng, ways),
            "where": pick(rng, place.over if mover.floats else place.on),
            "moving": STYLES[style].moving,
        }

    return _different(rng, CLIP_FORMS, words)


def _verb_forms(verb: str, subject: Group) -> dict[str, str]:
    doing = GERUNDS.get(verb) or verb.removesuffix("e") + "ing"
    many = subject.count > 1
    return {"does": verb if many else add_s(verb), "doing": doing, "are": "are" if many else "is"}


def _different(rng, forms, words: Callable[[float], dict[str, str]]) -> tuple[str, ...]:
    """One caption of each form, no two alike; those that end in a full stop begin with a capital."""
    captions: list[str] = []
    for full, sentences in forms:
        caption = None
        while caption is None or caption in captions:
            caption = pick(rng, sentences).format(**words(full))
        captions.append(caption)
    return tuple(c[0].upper() + c[1:] if c.endswith(".") else c for c in captions)
