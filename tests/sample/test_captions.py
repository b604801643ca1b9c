"""The captions of the sample against the scenes that they are about."""

import re

from clipknight.sample.captions import COLOUR_WORDS, RELATION_WORDS, add_s
from clipknight.sample.pen import COLOURS
from clipknight.sample.scenes import draw_clips
from clipknight.sample.world import STYLES, THINGS

import pytest


def nouns(group) -> str:
    """A pattern of the words for a group, in the number that it has."""
    return "|".join(noun if group.count == 1 else add_s(noun) for noun in THINGS[group.name].nouns)


@pytest.mark.parametrize(
    ("word", "with_s"),
    [("dog", "dogs"), ("butterfly", "butterflies"), ("fly", "flies"), ("bus", "buses"), ("toy", "toys")],
)
def test_add_s(word, with_s):
    assert add_s(word) == with_s


def test_five_and_different(scenes):
    for scene in (*scenes, *draw_clips(100, seed=1)):
        assert len(set(scene.captions)) == len(scene.captions) == 5
        for caption in scene.captions:
            assert caption == " ".join(caption.split()) and caption.endswith(".") == caption[0].isupper(), caption


def test_every_object_is_named_in_its_number_and_colour(scenes):
    owners = {word.split("-")[-1]: colour for colour in COLOURS for word in COLOUR_WORDS.get(colour, (colour,))}
    coloured = 0
    for scene in scenes:
        for caption in scene.captions:
            for group in scene.groups:
                found = re.search(rf"([\w-]+) ({nouns(group)})(?![\w-])", caption.lower())
                assert found, (scene, caption)
                if (word := found[1].split("-")[-1]) in owners:
                    assert owners[word] == group.colour, (scene, caption)
                    coloured += 1
            if not STYLES[scene.style].coloured:
                assert not set(re.findall(r"\w+", caption)) & owners.keys(), caption
    assert coloured > 500


def test_relations_are_told_as_they_are(scenes):
    checked = 0
    for scene in (s for s in scenes if s.relation):
        first, second = map(nouns, scene.groups)
        for caption in scene.captions:
            for relation, words in RELATION_WORDS.items():
                either = f"({first}|{second})"
                if named := re.search(rf"\b{either}( \w+)? ({'|'.join(words)}) .*\b{either}", caption.lower()):
                    in_order = re.fullmatch(first, named[1]) is not None
                    assert (relation == scene.relation) == in_order, (scene.relation, caption)
                    checked += 1
    assert checked > 500


def test_a_clip_tells_its_motion():
    for clip in draw_clips(40, seed=1):
        verbs = r"(\w+s|\w+ing)"
        assert re.search(rf"({nouns(clip.groups[0])}) {verbs} ", clip.captions[0].lower()), clip
        direction = {"left to right": "right", "right to left": "left", "up": "up|higher", "down": "down|lower"}
        assert all(re.search(direction.get(clip.motion, "up and down|again"), c) for c in clip.captions), clip
