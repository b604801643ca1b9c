"""The scenes of the built-in sample: what each holds and where its objects stand, from a seeded generator.

Nothing here draws. A scene's `key` identifies what it holds: no two scenes of a sample share one, so none of the test
scenes was trained on.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from clipknight.sample.captions import describe, describe_motion, pick
from clipknight.sample.world import BACKGROUNDS, FEET, HIDDEN, STYLES, THINGS, Group

import numpy as np


@dataclass(frozen=True)
class Placed:
    """One object in the picture: its centre `x` and its lower edge `y`, in picture widths."""

    group: Group
    x: float
    y: float
    side: float
    mirrored: bool


@dataclass(frozen=True)
class Scene:
    """A picture or, with a motion, a clip: its first group moves, and what is placed stands still."""

    id: str
    groups: tuple[Group, ...]
    relation: str | None  # of the first group to the second
    motion: str | None
    background: str
    style: str
    placed: tuple[Placed, ...]
    captions: tuple[str, ...] = field(repr=False)

    @property
    def key(self) -> tuple:
        return self.background, self.motion, tuple(sorted((g.name, str(g.colour)) for g in self.groups))


def draw_scenes(count: int, seed: int) -> list[Scene]:
    """`count` pictures with different keys, the same for the same seed."""
    return _all_different(_picture, "scene_{:04d}", count, np.random.default_rng([seed, 0]))


def draw_clips(count: int, seed: int) -> list[Scene]:
    return _all_different(_clip, "clip_{:02d}", count, np.random.default_rng([seed, 1]))


def _all_different(draw: Callable[..., Scene], name: str, count: int, rng: np.random.Generator) -> list[Scene]:
    scenes: dict[tuple, Scene] = {}
    while len(scenes) < count:
        scene = draw(rng, name.format(len(scenes) + 1))
        scenes.setdefault(scene.key, scene)
    return list(scenes.values())


def _picture(rng: np.random.Generator, scene_id: str) -> Scene:
    """Several of one thing, or two groups of different things beside or above each other."""
    style, background = pick(rng, list(STYLES)), pick(rng, list(BACKGROUNDS))
    relation = pick(rng, ("left of", "right of", "above")) if rng.random() < 0.5 else None
    spots = _spots(background)
    if relation == "above" and len(spots) == 2:
        wanted = [("air", pick(rng, (1, 1, 2, 3))), (spots[0], 1)]
    elif relation:
        relation = pick(rng, ("left of", "right of"))
        wanted = [(pick(rng, spots), pick(rng, (1, 1, 1, 2, 3)))]
        wanted += [(wanted[0][0], pick(rng, (1, 1, 2)))]
    else:
        wanted = [(pick(rng, spots), int(rng.choice(5, p=[0.54, 0.18, 0.12, 0.09, 0.07])) + 1)]
    size = pick(rng, ("small", "medium", "medium", "large")) if wanted[0][1] == len(wanted) == 1 else "medium"
    groups = []
    for spot, count in wanted:
        others = [name for name in THINGS if name not in {g.name for g in groups}]
        groups.append(_group(rng, background, style, spot, others, count, size))
    captions = describe(rng, groups, relation, background, style)
    return Scene(scene_id, tuple(groups), relation, None, background, style, _arrange(rng, groups, relation), captions)


def _clip(rng: np.random.Generator, clip_id: str) -> Scene:
    """One object that moves, at times past another."""
    style = pick(rng, [name for name, style in STYLES.items() if style.moving])
    background = pick(rng, list(BACKGROUNDS))
    spot, across = pick(rng, _spots(background)), ("left to right", "right to left")
    motion = pick(rng, (*across, "up", "down") if spot == "air" else (*across, *across, "bounce"))
    groups = [_group(rng, background, style, spot, [name for name in THINGS if THINGS[name].moves])]
    placed = ()
    if spot == "ground" and motion in across and rng.random() < 0.6:
        groups.append(_group(rng, background, style, spot, ("house", "tree")))
        placed = (Placed(groups[1], float(rng.uniform(0.35, 0.65)), FEET[spot][0], 0.46, False),)
    captions = describe_motion(rng, groups, motion, background, style)
    return Scene(clip_id, tuple(groups), None, motion, background, style, placed, captions)


def _spots(background: str) -> tuple[str, ...]:
    place = BACKGROUNDS[background]
    return (place.spot, "air") if place.over else (place.spot,)


def _group(rng, background: str, style: str, spot: str, names, count: int = 1, size: str = "medium") -> Group:
    """A group of one of `names` that belongs to the spot, in a colour that shows there."""
    name, hidden = pick(rng, [n for n in names if spot in THINGS[n].spots]), HIDDEN.get(background, ())
    colour = pick(rng, [c for c in THINGS[name].colours if c not in hidden])
    return Group(name, colour if STYLES[style].coloured else None, count, size, spot)


# Where things stand.

_SIDES = {"small": 0.24, "medium": 0.4, "large": 0.62}
_ROWS = {1: (1,), 2: (2,), 3: (1, 2), 4: (2, 2), 5: (2, 3)}  # from the rear


def _arrange(rng, groups, relation: str | None) -> tuple[Placed, ...]:
    if relation == "above":
        return (*_place(rng, groups[0], (0.1, 0.9), (0.36, 0.46)), *_place(rng, groups[1], (0.15, 0.85)))
    if relation:
        spans = [(0.03, 0.485), (0.515, 0.97)][:: 1 if relation == "left of" else -1]
        return tuple(p for group, x in zip(groups, spans, strict=True) for p in _place(rng, group, x))
    return tuple(_place(rng, groups[0], (0.04, 0.96)))


def _place(rng, group: Group, x: tuple[float, float], y: tuple[float, float] | None = None) -> list[Placed]:
    """The group's objects in rows within the span `x`, the nearest row's feet within `y`."""
    rows, step = _ROWS[group.count], 1.0 if group.floats else 0.62
    foot = rng.uniform(*(y or FEET[group.spot]))
    side = _SIDES[group.size] * THINGS[group.name].scale * (1 if group.count == 1 else 0.8)
    side = min(side, (x[1] - x[0]) / max(rows), 0.95 * foot / (1 + step * (len(rows) - 1)))
    placed = []
    for r, n in enumerate(rows):
        room = (x[1] - x[0]) / n
        for i in range(n):
            centre = x[0] + (i + 0.5) * room + rng.uniform(-0.45, 0.45) * (room - side)
            high = foot - side * (step * (len(rows) - 1 - r) + rng.uniform(0, 0.08))
            placed.append(Placed(group, centre, high, side * rng.uniform(0.93, 1), bool(rng.random() < 0.5)))
    return placed
