"""What the caption metrics know of languages: English words, between spaces."""

import re
from collections.abc import Iterable

# Scripts without spaces between words: Chinese and Japanese, Thai, Lao, Tibetan, Burmese, Khmer.
UNSPACED = (
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
    "\u0e00-\u0eff\u0f00-\u109f\u1780-\u17ff]"
)
RUN, LONG_RUN = re.compile(f"{UNSPACED}{{3}}"), re.compile(f"{UNSPACED}{{9}}")
LAST_LATIN = "\u024f"
ENOUGH = 0.05  # of the captions


def warning_for(captions: Iterable[str]) -> str | None:
    """What to know of scores of captions in no language that the metrics can part into words; None for others."""
    captions = list(captions)
    unspaced, foreign = sum(map(_is_unspaced, captions)), sum(map(_is_foreign, captions))
    if unspaced > ENOUGH * len(captions):
        return (
            f"warning: {unspaced:,} of {len(captions):,} captions have no spaces between words, and what stands "
            "between spaces counts as one word; rare letters and marks are left out. For BLEU, ROUGE-L and CIDEr by "
            "character put a space after each character of both files; METEOR and SPICE know English alone"
        )
    if foreign > ENOUGH * len(captions):
        return (
            f"warning: {foreign:,} of {len(captions):,} captions are not in Latin letters: words are parted by English "
            "rules, at spaces and punctuation, and METEOR and SPICE know English alone"
        )
    return None


def _is_unspaced(text: str) -> bool:
    return bool(LONG_RUN.search(text) or (len(text.split()) == 1 and RUN.search(text)))


def _is_foreign(text: str) -> bool:
    letters = [character for character in text if character.isalpha()]
    return 2 * sum(character > LAST_LATIN for character in letters) > len(letters)
