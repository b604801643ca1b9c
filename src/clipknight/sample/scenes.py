"""The scenes of the built-in sample: what each holds and where its objects stand, from a seeded generator.

Nothing here draws. A scene's `key` (background with its objects and their colours) identifies it: no two scenes of a
sample share one, so none of the test scenes was trained on.
"""

from dataclasses import dataclass, field

from clipknight.sample.captions import describe, pick, tell_motion
from clipknight.sample.world import BACKGROUNDS, CLIP_STYLES, STYLES, THINGS, Group, Spot

import numpy as np


@dataclass(frozen=True)
class Placed:
    """One object in the picture: x is its centre, y its foot or, if it floats, its centre; all in picture widths."""

    group: int
    x: float
    y: float
    side: float
    floats: bool
    mirrored: bool


@dataclass(frozen=True)
class Scene:
    id: str
    groups: tuple[Group, ...]
    relation: str | None  # of the first group to the second
    background: str
    style: str
    weather: str | None
    placed: tuple[Placed, ...]
    captions: tuple[str, ...] = field(repr=False)

    @property
    def key(self) -> tuple:
        return self.background, tuple(sorted((g.name, str(g.colour)) for g in self.groups))


@dataclass(frozen=True)
class Clip:
    """One object that moves, at times past another that stands still (the second group, placed)."""

    id: str
    groups: tuple[Group, ...]
    motion: str
    background: str
    style: str
    placed: tuple[Placed, ...]
    captions: tuple[str, ...] = field(repr=False)


# Where things stand.

_SIDES = {"small": 0.24, "medium": 0.4, "large": 0.62}
_ROWS = {1: (1,), 2: (2,), 3: (2, 1), 4: (2, 2), 5: (3, 2)}


def _place(rng, index: int, group: Group, spot: Spot, x: tuple[float, float], y: tuple[float, float]) -> list[Placed]:
    """The group's objects in rows, rear row first, within the span `x`; `y` spans their feet or, floating, centres."""
    rows = (3,) if group.count == 3 and x[1] - x[0] > 0.6 else _ROWS[group.count]
    wide = (x[1] - x[0]) / max(rows)
    tall = (y[1] - y[0]) / len(rows) if spot.floats else 0.62 / len(rows) ** 0.5
    side = min(_SIDES[group.size] * THINGS[group.name].scale * (1 if group.count == 1 else 0.8), wide, max(tall, 0.16))
    foot = rng.uniform(y[0] + 0.5 * (y[1] - y[0]), y[1])
    placed = []
    for r, n in enumerate(reversed(rows)):
        if spot.floats:
            room = max((y[1] - y[0]) / len(rows) - side, 0)
            base = y[0] + (r + 0.5) * (y[1] - y[0]) / len(rows) + rng.uniform(-0.5, 0.5) * room
        else:
            base = foot - 0.62 * side * (len(rows) - 1 - r)
        slack = max(x[1] - x[0] - n * side, 0) / n
        for i in range(n):
            centre = x[0] + (i + 0.5) * (x[1] - x[0]) / n + rng.uniform(-0.4, 0.4) * slack
            high = base + rng.uniform(-0.08, 0.08) * side
            placed.append(
                Placed(index, centre, high, side * rng.uniform(0.93, 1), spot.floats, bool(rng.random() < 0.5))
            )
    return placed


def _arrange(rng, groups, relation, background) -> tuple[Placed, ...]:
    spots = [BACKGROUNDS[background].spots[g.spot] for g in groups]
    if relation is None:
        half = _SIDES[groups[0].size] / 2 if groups[0].count == 1 else 0
        middle = rng.uniform(0.04 + half, 0.96 - half)
        x = (middle - half, middle + half) if half else (0.04, 0.96)
        return tuple(_place(rng, 0, groups[0], spots[0], x, spots[0].span))
    if relation in ("left of", "right of"):
        spans = [(0.03, 0.485), (0.515, 0.97)][:: 1 if relation == "left of" else -1]
        parts = [_place(rng, i, g, s, x, s.span) for i, (g, s, x) in enumerate(zip(groups, spots, spans))]
    elif relation == "above":
        x = (0.15, 0.85)
        low, high = spots[0].span
        above = (0.04, 0.42) if spots[0] is not spots[1] else (low, low + 0.45 * (high - low))
        below = spots[1].span if spots[0] is not spots[1] else (high - 0.45 * (high - low), high)
        parts = [_place(rng, 0, groups[0], spots[0], x, above), _place(rng, 1, groups[1], spots[1], x, below)]
    else:  # in front of: lower in the picture, overlapping the one behind
        low, high = spots[1].span
        shift, centre = rng.choice([-1, 1]) * rng.uniform(0.1, 0.17), rng.uniform(0.42, 0.58)
        foot, side = low + 0.3 * (high - low), 0.5 * THINGS[groups[1].name].scale ** 0.5
        rear = Placed(1, centre, foot, side, False, bool(rng.random() < 0.5))
        near = (centre + shift - 0.2, centre + shift + 0.2)
        parts = [[rear], _place(rng, 0, groups[0], spots[0], near, (high - 0.02, high))]
    return tuple(p for part in parts for p in part)


# Scenes.


def _group(rng, background: str, style: str, spot: str, count: int = 1, size: str = "medium", names=THINGS) -> Group:
    """A group of one of `names` that fits the spot, in a colour that shows there."""
    hidden = {*BACKGROUNDS[background].hides, *STYLES[style].hides}
    fits = [n for n in names if spot in (*THINGS[n].spots, "studio") and not hidden.issuperset(THINGS[n].colours)]
    name = pick(rng, fits)
    colour = pick(rng, [c for c in THINGS[name].colours if c not in hidden])
    return Group(name, colour if STYLES[style].coloured else None, count, size, spot)


def _pair(rng, background: str, style: str) -> tuple[tuple[Group, Group], str]:
    """Two groups of different objects and the relation of the first to the second."""
    spots = BACKGROUNDS[background].spots
    homes = list(spots)
    low = next((s for s in homes if not spots[s].floats), homes[0])
    relations = ["left of", "right of"] + ["above", "above"] * spots[homes[-1]].floats
    relation = pick(rng, relations + ["in front of"] * (not spots[low].floats))
    if relation == "above":
        where, counts = (homes[-1], low), (rng.choice([1, 1, 2, 3]), 1)
    elif relation == "in front of":
        where, counts = (low, low), (rng.choice([1, 1, 2]), 1)
    else:
        same = pick(rng, homes)
        where, counts = (same, same), (rng.choice([1, 1, 1, 2, 3]), rng.choice([1, 1, 2]))
    while True:
        groups = tuple(_group(rng, background, style, s, int(n)) for s, n in zip(where, counts))
        if groups[0].name != groups[1].name:
            return groups, relation


def draw_scene(rng: np.random.Generator, scene_id: str) -> Scene:
    style = pick(rng, [name for name, s in STYLES.items() for _ in range(s.share)])
    background = pick(rng, list(BACKGROUNDS))
    coloured = STYLES[style].coloured
    if rng.random() < 0.5:
        groups, relation = _pair(rng, background, style)
    else:
        spot = pick(rng, list(BACKGROUNDS[background].spots))
        count = int(rng.choice([1, 2, 3, 4, 5], p=[0.54, 0.18, 0.12, 0.09, 0.07]))
        size = pick(rng, ("small", "medium", "medium", "large")) if count == 1 else "medium"
        groups, relation = (_group(rng, background, style, spot, count, size),), None
    weathers = [w for w in BACKGROUNDS[background].weather if coloured or w != "golden light"]
    weather = pick(rng, weathers) if weathers and rng.random() < 0.25 else None
    placed = _arrange(rng, groups, relation, background)
    captions = describe(rng, groups, relation, background, style, weather)
    return Scene(scene_id, groups, relation, background, style, weather, placed, captions)


def draw_scenes(count: int, seed: int) -> list[Scene]:
    """`count` scenes with different keys, the same for the same seed."""
    scenes: dict[tuple, Scene] = {}
    rng = np.random.default_rng([seed, 0])
    while len(scenes) < count:
        scene = draw_scene(rng, f"scene_{len(scenes) + 1:04d}")
        scenes.setdefault(scene.key, scene)
    return list(scenes.values())


# Clips.


def draw_clip(rng: np.random.Generator, clip_id: str) -> Clip:
    background = pick(rng, [b for b in BACKGROUNDS if b not in ("table", "studio")])
    spots = BACKGROUNDS[background].spots
    spot = pick(rng, list(spots))
    movers = [n for n, t in THINGS.items() if spot in t.spots and t.moves]
    if spots[spot].floats:
        motion = pick(rng, ("left to right", "right to left", "up", "down", "closer"))
    else:
        motion = pick(rng, ("left to right", "right to left", "left to right", "right to left", "bounce", "closer"))
    if motion == "bounce":
        movers = [n for n in movers if n in ("cat", "dog", "rabbit", "sheep", "ball", "penguin")] or movers
    style = pick(rng, ["illustration", *CLIP_STYLES])
    mover = _group(rng, background, style, spot, names=movers)
    groups, placed = (mover,), ()
    if motion.startswith(("left", "right")) and not spots[spot].floats and spot == "ground" and rng.random() < 0.6:
        still = [n for n in ("house", "castle", "lighthouse", "windmill", "tent", "tree", "cactus") if n != mover.name]
        other = _group(rng, background, style, spot, names=still)
        groups, foot = (mover, other), spots[spot].span[0]
        placed = (Placed(1, float(rng.uniform(0.35, 0.65)), foot, 0.46, False, False),)
    return Clip(clip_id, groups, motion, background, style, placed, tell_motion(rng, groups, motion, background, style))


def draw_clips(count: int, seed: int) -> list[Clip]:
    """`count` clips that differ in object, motion or background."""
    clips: dict[tuple, Clip] = {}
    rng = np.random.default_rng([seed, 1])
    while len(clips) < count:
        clip = draw_clip(rng, f"clip_{len(clips) + 1:02d}")
        clips.setdefault((clip.groups[0].name, clip.motion, clip.background), clip)
    return list(clips.values())
