"""Recognisers: what says which concepts an image shows, and how sure it is.

A recogniser is the last layer of a classifier: ImageNet's 1,000 classes on the features of `lite2-minilm` (or lite0,
lite1), whose package holds that layer, or any of timm's. Of a CLIP with a joint space it is the embeddings of the words
of a vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipknight.data.text_files import read_text
from clipknight.embedding.embeddings import unit
from clipknight.embedding.image_encoder import ImageEncoder
from clipknight.embedding.packaged_clip import PACKAGED, packaged_classifier

import numpy as np

if TYPE_CHECKING:
    from clipknight.embedding.clip_encoder import ClipEncoder

CHUNK_ROWS = 4096  # images whose probabilities are held at a time


@dataclass(frozen=True, eq=False)
class Recogniser:
    """`weight` (C, D) and `bias` (C,) give the logits of C `concepts` from an encoder's features (N, D).

    `of_unit`: the features are taken at length 1, as a CLIP's are compared.
    """

    concepts: Sequence[str]
    weight: np.ndarray
    bias: np.ndarray
    of_unit: bool

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """(N, C), each row of sum 1."""
        return self.recognised(features)[0]

    def recognised(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (N, C), and how familiar each picture looks (N,), whatever it shows.

        That is minus the free energy, log Σ exp of its logits (Liu et al. 2020, eq. 4): a texture or an X-ray, unlike
        all that a classifier was trained on, gives low ones, however probable its first concept is made by their sum.
        """
        logits = (unit(features) if self.of_unit else features) @ self.weight.T + self.bias
        highest = logits.max(axis=1, keepdims=True)
        powers = np.exp(logits - highest)
        total = powers.sum(axis=1, keepdims=True)
        return powers / total, (highest + np.log(total))[:, 0]


def classifier(encoder: ImageEncoder, labels: Sequence[str] = ()) -> Recogniser:
    """The classifier of a packaged tower or of timm's, its classes by their own names or by `labels` in order.

    ValueError for any other encoder, which knows no class, and where names and classes are not as many.
    """
    if hasattr(encoder, "classifier"):
        own, weight, bias = encoder.classifier()
    elif encoder.root.partition("@")[0] in PACKAGED and not encoder.projected:
        own, weight, bias = packaged_classifier(encoder.root.partition("@")[0])
    else:
        raise ValueError(
            f"encoder {encoder.name!r} has no classifier: name {', '.join(PACKAGED)}, one of timm's as "
            "timm:resnet50.a1_in1k, or give --vocabulary WORDS.txt to an encoder with a joint space"
        )
    names = labels or own
    if len(names) != len(weight):
        told = f"{len(names):,} names are given" if names else "names for none of them are known"
        raise ValueError(
            f"encoder {encoder.name!r} tells {len(weight):,} classes apart, and {told}: give them in the order of its "
            "classes, one a line, by --vocabulary LABELS.txt"
        )
    return Recogniser(names, weight, bias, of_unit=False)


def zero_shot(encoder: "ClipEncoder", concepts: Sequence[str], prompt: str) -> Recogniser:
    """A CLIP as the classifier of `concepts` (Radford et al. 2021, section 3.1). ValueError without a joint space."""
    if not encoder.joint:
        raise ValueError(f"encoder {encoder.name!r} has no joint space to recognise words in: use train_clip.py first")
    texts = [prompt.format(concept) for concept in concepts]
    words = np.concatenate([encoder.encode_captions(texts[i : i + 256]) for i in range(0, len(texts), 256)])
    scale = encoder.model.logit_scale.detach().exp().item()
    return Recogniser(concepts, scale * words, np.zeros(len(words), np.float32), of_unit=True)


def read_vocabulary(path: str | Path) -> list[str]:
    """The words of a text file, one a line, each once. ValueError for fewer than two."""
    words = list(dict.fromkeys(filter(None, (" ".join(line.split()) for line in read_text(path).split("\n")))))
    if len(words) < 2:
        raise ValueError(f"{path} has {len(words)} words: a vocabulary is a text file of two or more, one a line")
    return words
