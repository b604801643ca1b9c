"""What a decoder learns from a batch of captions: to say each word of them, or to say what others said of the image.

The second is self-critical training (Rennie et al. 2017, here with each sample's siblings as its baseline, Luo 2020).
Its input is text alone: after the neighbours of one caption the decoder's own samples are rewarded by their CIDEr
against the image's other captions. A caption agrees with the others about as well as a predicted embedding does.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from clipknight.captioning.caption_batches import TokenizedCaptions, caption_batches
from clipknight.captioning.cider_reward import CiderReward
from clipknight.captioning.knight import Knight
from clipknight.embedding.corpora import Corpus
from clipknight.processes import process_count
from clipknight.training.batches import EpochBatches
from clipknight.training.state import TrainingState

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedTokenizerBase


class Objective(Protocol):
    """Its batches, and a step of `state` by one of them."""

    def batches(self, batch_size: int, seed: int) -> DataLoader: ...

    def learn(self, state: TrainingState, *batch: Tensor) -> None: ...


@dataclass(frozen=True, eq=False)
class WordByWord:
    """The cross-entropy of `captions`."""

    captions: TokenizedCaptions

    def batches(self, batch_size: int, seed: int) -> DataLoader:
        return caption_batches(self.captions, batch_size, seed)

    def learn(self, state: TrainingState, vectors: Tensor, tokens: Tensor, mask: Tensor) -> None:
        loss = state.forward(vectors, tokens, mask)
        state.learn(loss * state.share(mask.sum()))  # a mean over tokens, of which each process has other numbers


@dataclass(frozen=True, eq=False)
class SelfCritical:
    """`samples` captions after each of `captions`, which are those of `corpus`, rewarded by their CIDEr."""

    captions: TokenizedCaptions
    corpus: Corpus
    tokenizer: PreTrainedTokenizerBase
    samples: int
    max_tokens: int

    def batches(self, batch_size: int, seed: int) -> DataLoader:
        """Batches of (vectors (B, k, D), rows of the corpus (B,)), of captions whose image has others."""
        learnt = _WithRows(self.captions, np.flatnonzero(np.bincount(self._images)[self._images] > 1))
        if not len(learnt):
            raise ValueError(f"no image of {self.corpus.name} has two captions, one to reward the other by")
        return DataLoader(learnt, batch_sampler=EpochBatches(len(learnt), batch_size, seed, process_count()))

    def learn(self, state: TrainingState, vectors: Tensor, rows: Tensor) -> None:
        tokens, mask = self._sampled(state.model, vectors)
        rewards = self._rewards(tokens, rows)
        others = (rewards.sum(1, keepdim=True) - rewards) / (self.samples - 1)
        advantage = (rewards - others).flatten().to(vectors.device)
        loss = state.forward(vectors.repeat_interleave(self.samples, dim=0), tokens, mask, advantage)
        state.learn(loss * state.share(mask.sum()))

    @torch.no_grad()
    def _sampled(self, model: Knight, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Token ids (B·samples, T), each to its end token, and their mask; drawn without dropout."""
        end = self.tokenizer.eos_token_id
        model.eval()
        tokens = model.generate(
            vectors,
            end,
            num_beams=1,
            max_new_tokens=self.max_tokens,
            do_sample=True,
            top_k=0,
            num_return_sequences=self.samples,
        ).clone()  # what inference made cannot be learnt from
        model.train()
        ended = (tokens == end).cumsum(1)
        return tokens, ((ended == 0) | ((ended == 1) & (tokens == end))).long()

    def _rewards(self, tokens: Tensor, rows: Tensor) -> Tensor:
        """(B, samples) CIDEr of the samples after each of `rows` against the other captions of its image."""
        texts = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        rewards = torch.empty(len(rows), self.samples)
        for place, row in enumerate(rows.tolist()):
            others = [other for other in self._described_as[self._images[row]] if other != row]
            references = [self._reward.weighted(self._texts[other]) for other in others]
            sampled = texts[place * self.samples : (place + 1) * self.samples]
            rewards[place] = torch.tensor([self._reward.score(text, references) for text in sampled])
        return rewards

    @cached_property
    def _texts(self) -> np.ndarray:
        return self.corpus.texts

    @cached_property
    def _images(self) -> np.ndarray:
        return self.corpus.described

    @cached_property
    def _described_as(self) -> dict[int, list[int]]:
        rows = defaultdict(list)
        for row, image in enumerate(self._images):
            rows[image].append(row)
        return rows

    @cached_property
    def _reward(self) -> CiderReward:
        return CiderReward(self._texts, self._images)


class _WithRows(Dataset):
    """(vectors (k, D), row) of those of `captions` that are `learnt`."""

    def __init__(self, captions: TokenizedCaptions, learnt: np.ndarray):
        self.captions, self.learnt = captions, learnt

    def __len__(self) -> int:
        return len(self.learnt)

    def __getitem__(self, position: tuple[int, int]) -> tuple[np.ndarray, int]:
        epoch, place = position
        row = int(self.learnt[place])
        return self.captions[epoch, row][0], row
