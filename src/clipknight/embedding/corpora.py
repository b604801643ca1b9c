"""A corpus: the captions that Knight learns from and retrieves from, and what each of them describes.

`input/flickr8k`         a dataset: its training captions
`coco`                   COCO's 414,113 training captions (CC BY 4.0), which come inside the package pycocoevalcap
`captions.csv`           a table of image,caption (CSV, TSV, Parquet, or a text file with such a header)
`lines.txt`              one caption a line; after a tab, where there is one, the id of what it describes
`coco@0.05`              the captions of a twentieth of its images, drawn by the seed; of any source
"""

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from clipknight.data.datasets import Dataset
from clipknight.data.settings import Columns
from clipknight.embedding.cache import caption_embeddings, target_embeddings
from clipknight.embedding.clip import load_clip
from clipknight.embedding.corpus_sources import read_source
from clipknight.embedding.embeddings import Embeddings, concatenate
from clipknight.embedding.settings import MINILM
from clipknight.embedding.target_encoder import load_target_encoder
from clipknight.paths import existing

import numpy as np
import pandas as pd


@dataclass(frozen=True, eq=False)
class Corpus:
    """`captions`: source, id (of the image or video that a caption describes), caption; caption_id, unique."""

    name: str
    captions: pd.DataFrame

    def __len__(self) -> int:
        return len(self.captions)

    @property
    def texts(self) -> np.ndarray:
        """(M,) str."""
        return self.captions["caption"].to_numpy(dtype=object)

    @property
    def caption_ids(self) -> np.ndarray:
        """(M,) str."""
        return self.captions["caption_id"].to_numpy(dtype=object)

    @property
    def described(self) -> np.ndarray:
        """(M,) int: captions of one image, or video, share a number."""
        return pd.factorize(self.captions["source"] + "/" + self.captions["id"])[0]

    def parts(self) -> "list[Corpus]":
        """One corpus for each source, in order."""
        groups = self.captions.groupby("source", sort=False)
        return [Corpus(source, frame.reset_index(drop=True)) for source, frame in groups]

    @classmethod
    def of(cls, dataset: Dataset) -> "Corpus":
        """All captions of a dataset."""
        captions = dataset.captions.assign(source=dataset.name, caption=_on_one_line(dataset.captions["caption"]))
        return cls(dataset.name, captions)

    def held_out(self, part: float, seed: int = 0) -> "tuple[Corpus, Corpus]":
        """(the rest, a seeded draw of `part` of the images), captions of one image together."""
        drawn = self.share(part, seed)
        if len(drawn) == len(self):
            raise ValueError(f"{self.name} describes one image or video alone: nothing is left once it is held out")
        rest = self.captions[~self.captions["caption_id"].isin(drawn.captions["caption_id"])]
        return Corpus(self.name, rest.reset_index(drop=True)), drawn

    def share(self, part: float, seed: int = 0) -> "Corpus":
        """All captions of a seeded draw of the images: `part` of them, at least one."""
        if not 0 < part <= 1:
            raise ValueError(f"a share of a corpus is above 0 and at most 1, not {part}")
        if part == 1:
            return self
        described = self.described
        images = described.max() + 1
        drawn = np.random.default_rng(seed).permutation(images)[: max(1, round(part * images))]
        return Corpus(self.name, self.captions[np.isin(described, drawn)].reset_index(drop=True))


def read_corpus(sources: Sequence[str], separator: str = "", columns: Columns = Columns(), seed: int = 0) -> Corpus:
    """One corpus of all `sources` (see the module's head), in their order; blank captions are left out, and counted.

    `separator` parts several captions on one line of a text file. FileNotFoundError, ValueError.
    """
    if not sources:
        raise ValueError("a corpus needs a source: a dataset, coco, or a file of captions")
    parts = [_read_share(str(source), separator, columns, seed) for source in sources]
    names = [name for name, _ in parts]
    if len(set(names)) < len(names):
        raise ValueError(f"two sources of the corpus are called the same, rename one: {', '.join(names)}")
    captions = pd.concat([frame.assign(source=name) for name, frame in parts], ignore_index=True)
    captions["caption"] = _on_one_line(captions["caption"])
    if blank := int((captions["caption"] == "").sum()):
        print(f"{'+'.join(names)}: {blank:,} blank captions left out")
        captions = captions[captions["caption"] != ""].reset_index(drop=True)
    if not len(captions):
        raise ValueError(f"{', '.join(map(str, sources))}: no caption")
    number = captions.groupby(["source", "id"]).cumcount().astype("str")
    captions["caption_id"] = captions["source"] + "/" + captions["id"] + "#" + number
    return Corpus("+".join(names), captions[["source", "id", "caption", "caption_id"]])


def corpus_embeddings(corpus: Corpus, space: str, target_encoder: str = MINILM, device: str = "auto") -> Embeddings:
    """Unit rows (M, D) of a corpus by caption id; each source is cached by itself.

    In the `target` space by the target encoder, in the precision that is fast here; else by the CLIP named `space`.
    """
    if space == "target":
        encoder = load_target_encoder(target_encoder, device)
        parts = [target_embeddings(encoder, p, name=target_encoder, precision="auto") for p in corpus.parts()]
    else:
        encoder = load_clip(space, device)
        parts = [caption_embeddings(encoder, part) for part in corpus.parts()]
    return parts[0] if len(parts) == 1 else concatenate(parts)


def caption_encoder(
    space: str, target_encoder: str = MINILM, device: str = "auto"
) -> Callable[[list[str]], np.ndarray]:
    """What gives the vectors (N, D) of any captions in the space of a corpus; its model is loaded at the first call."""

    @functools.cache
    def model():
        return load_target_encoder(target_encoder, device) if space == "target" else load_clip(space, device)

    def encode(captions: list[str]) -> np.ndarray:
        if space == "target":
            return model().encode(captions, batch_size=128, show_progress_bar=False)
        return np.concatenate([model().encode_captions(captions[i : i + 256]) for i in range(0, len(captions), 256)])

    return encode


def _read_share(source: str, separator: str, columns: Columns, seed: int) -> tuple[str, pd.DataFrame]:
    """A source's name and captions, of a share of its images where it ends so. ValueError for a share that is none."""
    whole, at, share = source.rpartition("@")
    if not at or not re.fullmatch(r"[01]?\.?\d+", share) or existing(Path(source).expanduser()).exists():
        return read_source(source, separator, columns, seed)
    name, captions = read_source(whole, separator, columns, seed)
    return name, Corpus(name, captions.assign(source=name)).share(float(share), seed).captions


def _on_one_line(captions: pd.Series) -> pd.Series:
    return pd.Series([" ".join(caption.split()) for caption in captions], captions.index, captions.dtype)
