"""Captions against references: BLEU, METEOR, ROUGE-L, CIDEr and SPICE as COCO's evaluation defines them."""

import importlib
import sys
from collections.abc import Iterable, Mapping, Sequence

from clipknight.messages import a_few
from clipknight.scoring.java import JavaFailed, java_path
from clipknight.scoring.languages import warning_for
from clipknight.scoring.settings import METRICS
from clipknight.waiting import waiting


def refuse_without_packages() -> None:
    """Raise before any work what `caption_scores` would raise after it: packages and Java are extras."""
    importlib.import_module("pycocoevalcap")
    java_path()


def caption_scores(
    candidates: Mapping[str, str], references: Mapping[str, Sequence[str]], metrics: Iterable[str] = METRICS
) -> dict[str, float | int | str | None]:
    """Scores of one caption an image against one or more references each, both by image id.

    Keys: Bleu_1 to Bleu_4, METEOR, ROUGE_L, CIDEr, SPICE (None, and why under SPICE_missing, where it cannot be run)
    and images. An empty candidate scores 0. CIDEr weighs words by how few of these images have them: its value depends
    on the set, and one image alone scores 0. ValueError lists ids that are not in both and images without references.
    """
    # pycocoevalcap is an extra.
    from clipknight.scoring.java_metrics import meteor

    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    metrics = set(metrics)
    _check(candidates, references, metrics)
    if warning := warning_for([*candidates.values(), *(text for texts in references.values() for text in texts)]):
        print(warning, file=sys.stderr)
    tested, wanted = _words(candidates, references)
    lists = {i: [text] for i, text in tested.items()}  # as pycocoevalcap wants them

    scores: dict[str, float | int | str | None] = {}
    if "Bleu" in metrics:
        values, _ = Bleu(4).compute_score(wanted, lists, verbose=0)
        scores |= {f"Bleu_{n}": float(value) for n, value in enumerate(values, 1)}
    if "METEOR" in metrics:
        with waiting("METEOR, some seconds in Java"):
            scores["METEOR"] = meteor(tested, wanted)
    if "ROUGE_L" in metrics:
        scores["ROUGE_L"] = float(Rouge().compute_score(wanted, lists)[0])
    if "CIDEr" in metrics:
        scores["CIDEr"] = float(Cider().compute_score(wanted, lists)[0])
    if "SPICE" in metrics:
        scores |= _spice_or_why_not(tested, wanted)
    return {**scores, "images": len(tested)}


def cider_by_image(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """CIDEr of each image's caption, words weighed by how few of all these images have them. Errors: as above."""
    from pycocoevalcap.cider.cider import Cider

    _check(candidates, references, {"CIDEr"})
    tested, wanted = _words(candidates, references)
    _, values = Cider().compute_score(wanted, {i: [text] for i, text in tested.items()})
    return dict(zip(wanted, map(float, values), strict=True))


def _words(
    candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Both by image id, split into words as COCO's evaluation does. ValueError for references without any."""
    from clipknight.scoring.java_metrics import ptb_tokens

    ids = list(candidates)
    ends = [len(references[i]) for i in ids]
    with waiting("splitting the captions into words"):
        tokens = iter(ptb_tokens([*(candidates[i] for i in ids), *(text for i in ids for text in references[i])]))
    tested = {i: next(tokens) for i in ids}
    wanted = {i: [next(tokens) for _ in range(count)] for i, count in zip(ids, ends, strict=True)}
    if not any(text for texts in wanted.values() for text in texts):
        raise ValueError("no reference has a word: punctuation does not count")
    return tested, wanted


def _spice_or_why_not(tested: Mapping[str, str], wanted: Mapping[str, Sequence[str]]) -> dict[str, float | str | None]:
    from clipknight.scoring.java_metrics import spice, spice_missing

    if reason := spice_missing():
        return {"SPICE": None, "SPICE_missing": reason}
    try:
        with waiting("SPICE, minutes for a thousand captions"):
            return {"SPICE": spice(tested, wanted)}
    except JavaFailed as error:  # the other metrics stand without it
        return {"SPICE": None, "SPICE_missing": str(error)}


def _check(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]], metrics: set[str]) -> None:
    if unknown := metrics - set(METRICS):
        raise ValueError(f"no metric {a_few(sorted(unknown))}; choose from {', '.join(METRICS)}")
    if not candidates:
        raise ValueError("no captions to score")
    if bare := [i for i in candidates if i not in references]:
        raise ValueError(f"{len(bare):,} candidates have no references: {a_few(bare)}")
    if missing := [i for i in references if i not in candidates]:
        raise ValueError(f"{len(missing):,} images with references have no candidate: {a_few(missing)}")
    if bare := [i for i, texts in references.items() if isinstance(texts, str) or not len(texts)]:
        raise ValueError(f"a list of one or more references is needed for {a_few(bare)}")
    texts = {i: (candidates[i], *references[i]) for i in candidates}
    if wrong := [i for i, group in texts.items() if not all(isinstance(text, str) for text in group)]:
        raise ValueError(f"captions that are not text: {a_few(wrong)}")
