"""Captions said otherwise (Che et al. 2023, 3.5.1): words replaced by synonyms, and words shuffled.

TextBlob's tagger tells the parts of speech, WordNet the synonyms, LemmInflect the forms. All three are offline.
"""

import hashlib
import re
from functools import cache

from clipknight.data.wordnet import synonyms

import numpy as np
import pandas as pd

WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
# Content words, by their Penn Treebank tag. Adverbs are left alone: "not", "down" and "very" are among them.
PARTS = {"NN": "NOUN", "NNS": "NOUN", "JJ": "ADJ"} | dict.fromkeys(["VB", "VBD", "VBG", "VBN", "VBP", "VBZ"], "VERB")


def with_variants(captions: pd.DataFrame, variants: int, seed: int, **how) -> pd.DataFrame:
    """Each row of `captions` (caption, caption_id, …) followed by its variants, called `<caption_id>~<number>`.

    `how`: options of `augmented_caption`.
    """
    rows = captions.loc[captions.index.repeat(variants + 1)].reset_index(drop=True)
    numbers = np.tile(np.arange(variants + 1), len(captions))  # 0 is the caption itself
    texts = zip(rows["caption"], numbers.tolist(), strict=True)
    rows["caption"] = [augmented_caption(text, number, seed, **how) if number else text for text, number in texts]
    rows["caption_id"] = rows["caption_id"].where(numbers == 0, rows["caption_id"] + "~" + numbers.astype(str))
    return rows


def augmented_caption(
    caption: str, variant: int, seed: int, replaced: int = 2, shuffle: int = 2, senses: int = 1
) -> str:
    """One variant of a caption: synonyms, then shuffled words. The same for the same caption, number and seed."""
    digest = int.from_bytes(hashlib.sha256(caption.encode()).digest()[:8])
    draw = np.random.default_rng((seed, variant, digest))
    return with_shuffled_words(with_synonyms(caption, replaced, draw, senses), shuffle, draw)


def with_synonyms(caption: str, count: int, draw: np.random.Generator, senses: int = 1) -> str:
    """`count` nouns, verbs and adjectives (fewer where fewer have synonyms) replaced by a synonym in the same form.

    Synonyms are those of a word's `senses` commonest senses.
    """
    known = [(word, names) for word, tag in _tagged(caption) if (names := inflected_synonyms(word[0], tag, senses))]
    chosen = draw.permutation(len(known))[:count]
    for at in sorted(chosen, reverse=True):  # from the end, so that places before it stay
        word, names = known[at]
        name = names[draw.integers(len(names))]
        name = name[0].upper() + name[1:] if word[0][0].isupper() else name
        caption = caption[: word.start()] + name + caption[word.end() :]
    return caption


def with_shuffled_words(caption: str, places: int, draw: np.random.Generator) -> str:
    """Words in another order, each at most `places` from where it stood; what is between them stays where it is."""
    words = WORD.findall(caption)
    order = iter(np.argsort(np.arange(len(words)) + draw.uniform(0, places + 1, len(words)), kind="stable"))
    return WORD.sub(lambda _: words[next(order)], caption)


@cache
def inflected_synonyms(word: str, tag: str, senses: int = 1) -> tuple[str, ...]:
    """Synonyms of one or two words, in the form that the Penn Treebank `tag` asks for; empty for function words."""
    from lemminflect import getLemma

    if tag not in PARTS:
        return ()
    names = [name.split(" ") for name in synonyms(getLemma(word.lower(), PARTS[tag])[0], PARTS[tag], senses)]
    found = dict.fromkeys(" ".join(_inflected(name, tag)) for name in names if len(name) <= 2)
    return tuple(name for name in found if name != word.lower())


def _inflected(name: list[str], tag: str) -> list[str]:
    """A verb's form shows in its first word (sits down), a noun's in its last (domestic dogs)."""
    from lemminflect import getInflection

    at = 0 if PARTS[tag] == "VERB" else -1
    forms = getInflection(name[at], tag)
    name = list(name)
    name[at] = forms[0] if forms else name[at]
    return name


def _tagged(caption: str) -> list[tuple[re.Match, str]]:
    """The words of a caption and their Penn Treebank tags. The first is tagged as if inside: "Brown" is no name."""
    from textblob.en import tag

    words = list(WORD.finditer(caption))
    if not words:
        return []
    texts = [words[0][0].lower(), *(word[0] for word in words[1:])]
    return list(zip(words, (name for _, name in tag(" ".join(texts), tokenize=False)), strict=True))
