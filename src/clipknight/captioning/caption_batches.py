"""Batches of captions for a decoder: token ids beside the vectors of their neighbours, like lengths together."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clipknight.processes import process_count
from clipknight.training.batches import EpochBatches

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

POOL = 64  # batches among which captions are sorted by length


class TokenizedCaptions(Dataset):
    """(vectors (k, D), token ids) of a caption; its vectors are rows of `vectors` (M, D), by `neighbours` (N, k)."""

    def __init__(
        self,
        captions: Sequence[str],
        vectors: np.ndarray,
        neighbours: np.ndarray,
        tokenizer: "PreTrainedTokenizerBase",
        max_tokens: int,
    ):
        end = tokenizer.eos_token_id
        ids = tokenizer(list(captions), add_special_tokens=False, truncation=True, max_length=max_tokens - 1).input_ids
        self.tokens = [np.array([*caption, end], dtype=np.int32) for caption in ids]
        self.vectors, self.neighbours, self.end = vectors, neighbours, end

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, position: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        _, row = position
        return self.vectors[self.neighbours[row]], self.tokens[row]

    def collate(self, items: list[tuple[np.ndarray, np.ndarray]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """vectors (B, k, D), tokens (B, T) padded on the right, mask (B, T) int64: 1 for a caption's own tokens."""
        lengths = np.array([len(tokens) for _, tokens in items])
        mask = np.arange(lengths.max()) < lengths[:, None]
        padded = np.full(mask.shape, self.end, dtype=np.int64)
        padded[mask] = np.concatenate([tokens for _, tokens in items])
        vectors = torch.from_numpy(np.stack([vectors for vectors, _ in items]))
        return vectors, torch.from_numpy(padded), torch.from_numpy(mask.astype(np.int64))


class CaptionBatches(EpochBatches):
    """Shuffled batches of captions of like length, so that little is padded."""

    def __init__(self, captions: TokenizedCaptions, batch_size: int, seed: int, processes: int = 1):
        super().__init__(len(captions), batch_size, seed, processes)
        self.lengths = np.array([len(tokens) for tokens in captions.tokens])

    def order(self) -> np.ndarray:
        whole = self.steps * self.step_rows
        shuffled = super().order()[:whole]  # before sorting, or the longest would be left out in every epoch
        pool = POOL * self.step_rows
        by_length = [
            part[np.argsort(self.lengths[part], kind="stable")]
            for part in (shuffled[i : i + pool] for i in range(0, whole, pool))
        ]
        steps = np.concatenate(by_length).reshape(-1, self.step_rows)
        mixed = np.random.default_rng((self.seed, self.epoch, 1)).permutation(len(steps))
        return steps[mixed].ravel()


def caption_batches(captions: TokenizedCaptions, batch_size: int, seed: int) -> DataLoader:
    """Batches of (vectors, tokens, mask) in the order of CaptionBatches."""
    batches = CaptionBatches(captions, batch_size, seed, process_count())
    return DataLoader(captions, batch_sampler=batches, collate_fn=captions.collate)
