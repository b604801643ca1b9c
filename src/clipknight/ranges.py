"""Types of settings: a value out of range is refused before any work, and --help says what is allowed.

They are jsonargparse's restricted types. Every range ends: neither inf nor a slip of many zeros is a setting.
"""

import operator
import types
from typing import Literal, Union, get_args, get_origin

from jsonargparse.typing import ClosedUnitInterval, OpenUnitInterval, restricted_number_type, restricted_string_type


def _whole(name: str, least: int, most: int) -> type:
    return restricted_number_type(name, int, [(">=", least), ("<=", most)])


def _real(name: str, above: str, least: float, below: str, most: float) -> type:
    return restricted_number_type(name, float, [(above, least), (below, most)])


Count = _whole("Count", 0, 1_000_000_000)
PositiveCount = _whole("PositiveCount", 1, 1_000_000_000)
Few = _whole("Few", 0, 100_000)  # of epochs, beams, pictures, words
PositiveFew = _whole("PositiveFew", 1, 100_000)
Processes = _whole("Processes", 0, 1_000)
Port = _whole("Port", 0, 65_535)
Seed = _whole("Seed", 0, 2**32 - 1)
Folds = _whole("Folds", 2, 1_000)
Share = ClosedUnitInterval
PositiveShare = _real("PositiveShare", ">", 0.0, "<=", 1.0)
ShareBelowOne = _real("ShareBelowOne", ">=", 0.0, "<", 1.0)
Rate = _real("Rate", ">=", 0.0, "<=", 100.0)
NonNegative = _real("NonNegative", ">=", 0.0, "<=", 1e9)
Positive = _real("Positive", ">", 0.0, "<=", 1e9)
InsideUnit = OpenUnitInterval
Cosine = _real("Cosine", ">=", -1.0, "<=", 1.0)
Degrees = _real("Degrees", ">=", 0.0, "<=", 180.0)

Name = restricted_string_type("Name", r"^(?=.*\S)[^\x00-\x1f]+$", docstring="a name, which is not empty")
Every = restricted_string_type(
    "Every",
    r"^(|scenes|(?=.*[1-9])\d{1,5}(\.\d{1,3})?s?)$",
    docstring="seconds, such as 5s, or scenes",
)
Device = restricted_string_type("Device", r"^(auto|cpu|mps|cuda(:\d+)?)$", docstring="auto, cpu, mps, cuda or cuda:N")

_BOUNDS = {operator.ge: "from", operator.gt: "above", operator.le: "to", operator.lt: "and below"}


def allowed(hint) -> str:
    """In words, what a setting of this type may be."""
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(repr_of_choice, get_args(hint)))}"
    if get_origin(hint) is list:
        return f"words, each {allowed(get_args(hint)[0])}"
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(allowed(part) for part in get_args(hint))
    if hasattr(hint, "_restrictions"):
        bounds = " ".join(f"{_BOUNDS[compare]} {bound:,.10g}" for compare, bound in hint._restrictions)
        return f"a {'whole ' if hint._type is int else ''}number {bounds}"
    if hasattr(hint, "_regex"):
        return hint.__doc__
    names = {bool: "true or false", int: "a whole number", float: "a number", type(None): "null"}
    return names.get(hint, "text")


def repr_of_choice(choice) -> str:
    """A choice as it is typed; the empty word needs its quotes."""
    return str(choice) or "''"


def plain(value):
    """`value` without the types above, which YAML does not know."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return getattr(type(value), "_type", lambda same: same)(value) if hasattr(type(value), "_validation_fn") else value
