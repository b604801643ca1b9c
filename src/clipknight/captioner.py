"""From an embedding to a caption: its nearest captions in the corpus, and the decoder after them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from clipknight.caption_index import CaptionIndex
from clipknight.caption_table import Columns
from clipknight.consensus import Consensus
from clipknight.corpora import Corpus, caption_encoder, corpus_embeddings, read_corpus
from clipknight.dataset_targets import images_of_split
from clipknight.embeddings import unit
from clipknight.encoders import pick_device, pick_precision
from clipknight.knight import Knight, load_knight
from clipknight.runs import Run

import numpy as np
import torch
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

VOTERS = 200  # nearest captions that a consensus is of


@dataclass(frozen=True)
class Captions:
    """`texts` (N,), and why: `neighbours` (N, k) rows of the corpus and their `similarities` (N, k), cosines."""

    texts: list[str]
    neighbours: np.ndarray
    similarities: np.ndarray


@dataclass
class Captioner:
    """Knight with what it retrieves from. `n_neighbors` 0 gives the decoder the embedding itself: no retrieval.

    `encode` gives the vectors of captions in the corpus' space; reranking by embedding needs it.
    """

    model: Knight
    tokenizer: PreTrainedTokenizerBase
    corpus: Corpus
    index: CaptionIndex
    n_neighbors: int
    precision: torch.dtype = torch.float32
    batch_size: int = 64
    encode: Callable[[list[str]], np.ndarray] | None = None

    def caption(
        self,
        embeddings: np.ndarray,
        num_beams: int = 5,
        max_new_tokens: int = 40,
        rerank: int = 1,
        rerank_by: str = "consensus",
        **options,
    ) -> Captions:
        """Captions of N images (N, D), or of N videos (N, m, D), m frames each in order; `options` are generate's.

        A video's prefix is, for each frame, the mean of the frame's neighbours (Knight, eq. 8); its neighbours in the
        result are those of its mean frame. With `rerank`, as many beams of a search are compared, and said is the one
        most like the image's VOTERS nearest captions ("consensus"), or the one whose own embedding is nearest to the
        image's ("embedding", MacCap's way).
        """
        ways = {"consensus": self._by_consensus, "embedding": self._by_embedding}
        if rerank_by not in ways:
            raise ValueError(f"rerank by {rerank_by!r} is none of {', '.join(ways)}")
        shown = max(self.n_neighbors, 1)
        whole = embeddings.mean(axis=1) if embeddings.ndim == 3 else np.asarray(embeddings)
        similarities, rows = self.index.search(whole, shown)
        if embeddings.ndim == 3:
            prefix = self._frame_vectors(embeddings)
        else:
            prefix = self.index.vectors[rows] if self.n_neighbors else whole[:, None]
        if rerank > 1:
            options |= {"num_return_sequences": rerank}
        texts = self._decoded(prefix, max(num_beams, rerank), max_new_tokens, options)
        if rerank > 1:
            best = ways[rerank_by](texts, whole).argmax(axis=1)
            texts = [texts[i * rerank + chosen] for i, chosen in enumerate(best)]
        return Captions(texts, rows, similarities)

    def nearest(self, embeddings: np.ndarray) -> Captions:
        """The nearest caption of each image (N, D) as it stands: CLIPRe, with no decoder."""
        embeddings = embeddings.mean(axis=1) if embeddings.ndim == 3 else embeddings
        similarities, rows = self.index.search(embeddings, max(self.n_neighbors, 1))
        return Captions(list(self.corpus.texts[rows[:, 0]]), rows, similarities)

    def _by_embedding(self, texts: list[str], embeddings: np.ndarray) -> np.ndarray:
        said = unit(self.encode(texts)).reshape(len(embeddings), -1, embeddings.shape[1])
        return np.einsum("nrd,nd->nr", said, unit(embeddings))

    def _by_consensus(self, texts: list[str], embeddings: np.ndarray) -> np.ndarray:
        _, rows = self.index.search(embeddings, min(VOTERS, len(self.corpus)))
        return self._consensus.scores(texts, rows)

    @cached_property
    def _consensus(self) -> Consensus:
        return Consensus(self.corpus.texts)

    def _frame_vectors(self, embeddings: np.ndarray) -> np.ndarray:
        if not self.n_neighbors:
            return embeddings
        videos, frames, dim = embeddings.shape
        _, rows = self.index.search(embeddings.reshape(-1, dim), self.n_neighbors)
        return self.index.vectors[rows].mean(axis=1).reshape(videos, frames, dim)

    def _decoded(self, prefix: np.ndarray, num_beams: int, max_new_tokens: int, options: dict) -> list[str]:
        device = next(self.model.parameters()).device
        texts: list[str] = []
        self.model.eval()
        with tqdm(total=len(prefix), desc="captions", unit="caption", disable=len(prefix) <= self.batch_size) as bar:
            for start in range(0, len(prefix), self.batch_size):
                vectors = torch.from_numpy(np.array(prefix[start : start + self.batch_size], dtype=np.float32)).to(
                    device
                )
                with torch.autocast(device.type, self.precision, enabled=self.precision != torch.float32):
                    tokens = self.model.generate(
                        vectors, self.tokenizer.eos_token_id, num_beams, max_new_tokens, **options
                    )
                texts += map(sentence, self.tokenizer.batch_decode(tokens, skip_special_tokens=True))
                bar.update(len(vectors))
        return texts


def open_captioner(
    run: Run,
    corpus: Sequence[str] = (),
    corpus_share: float = 0.0,
    index: str = "exact",
    device: str = "auto",
    precision: str = "auto",
    batch_size: int = 64,
) -> Captioner:
    """A run of train_knight.py as a captioner, retrieving from its own corpus unless `corpus` names another."""
    model, tokenizer, description = load_knight(run.folder / "best")
    s = run.settings
    columns = Columns(s["image_column"], s["caption_column"], s["split_column"])
    if sources := list(corpus) or s["corpus"]:
        captions = read_corpus(sources, s["corpus_separator"], columns, s["seed"])
    else:
        captions = Corpus.of(images_of_split(run, "train", device=device))
    captions = captions.share(corpus_share or (1.0 if corpus else s["corpus_share"]), s["seed"])
    rows = corpus_embeddings(captions, s["space"], s["target_encoder"], device)
    encode = caption_encoder(s["space"], s["target_encoder"], device)
    device = pick_device(device)
    return Captioner(
        model.to(device),
        tokenizer,
        captions,
        CaptionIndex(rows.vectors, index),
        description["n_neighbors"],
        pick_precision(precision, device),
        batch_size,
        encode,
    )


def sentence(text: str) -> str:
    """One line that starts with a capital."""
    text = " ".join(text.split())
    return text[:1].upper() + text[1:]
