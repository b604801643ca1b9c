"""Evolving pseudo-tokens: a prefix learnt for each video while its sentence is text again and again (ETP).

Tewel et al. 2022, "Zero-Shot Video Captioning with Evolving Pseudo-Tokens", with the numbers of the authors' code.
"""

import itertools
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from clipknight.captioning.captioner import CaptionOptions
from clipknight.methods.guided_search import GuidedSearch

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

LAST_RATE = 1e-4  # learning rate at the end of the cosine


@dataclass(frozen=True, eq=False)
class PseudoTokens(GuidedSearch):
    """What stands before the text, `pseudo_tokens` keys and values in each layer, is learnt; the language model is not.

    A sentence is text after them `iterations` times, each token drawn from the `top_k` likeliest. After each sentence
    one step of AdamW lowers the loss summed over its tokens: clip_scale · cross-entropy between the next token's
    distribution and, mean over the frames, the softmax by `temperature` of a frame's cosines to the text with each of
    the `top_tokens` likeliest tokens; plus ce_scale · cross-entropy with the distribution without pseudo-tokens. The
    caption is the sentence with the largest mean cosine to the frames; reranking compares the best sentences.

    Where this differs: published are GPT-2 medium and CLIP, here a blind run's language model of captions and any
    run's space. A pseudo-token begins as the constant prefix does and stands at its position, for the decoder has
    never met text at later ones. All videos share the draws, so that a batch says what single videos do. Frames are
    those given (the authors drop like ones). Their rules for GPT-2's web text are left out: repetition, entities,
    length, forbidden tokens, prompts, and the beam search that they report beside. num_beams is not used. An image is
    a video of one frame. A caption costs up to iterations · 20 · top_tokens texts of the text encoder: fewer of
    any are cheaper.
    """

    options: ClassVar[CaptionOptions] = CaptionOptions(max_new_tokens=20)

    _: KW_ONLY
    iterations: int = 30
    pseudo_tokens: int = 5
    learning_rate: float = 0.006
    weight_decay: float = 0.0018
    clip_scale: float = 1.0
    ce_scale: float = 0.8
    top_tokens: int = 512
    temperature: float = 0.01
    top_k: int = 3
    seed: int = 0

    def __post_init__(self):
        self.check_positive("iterations", "pseudo_tokens", "top_tokens", "temperature", "top_k")
        self.check_not_negative("learning_rate", "weight_decay", "clip_scale", "ce_scale")

    @torch.no_grad()
    def found(self, frames: np.ndarray, count: int, num_beams: int, max_new_tokens: int) -> list[str]:
        if count > self.iterations:
            raise ValueError(f"PseudoTokens: {count} candidates of {self.iterations} iterations: raise iterations")
        self.model.check_room(1, max_new_tokens)
        start = self.start()
        offsets = [part.new_zeros(len(frames), *part.shape[1:]) for part in start]
        optimizer = torch.optim.AdamW(offsets, self.learning_rate, weight_decay=self.weight_decay)
        last = min(LAST_RATE, self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.iterations, last)
        draws = torch.rand(self.iterations, max_new_tokens, generator=torch.Generator().manual_seed(self.seed))
        sentences = []
        for iteration, draw in enumerate(draws.tolist()):
            sentences.append(self.sentence(start, offsets, draw))
            if iteration + 1 < self.iterations:
                gradients = self.gradients(start, offsets, sentences[-1], frames)
                for offset, gradient in zip(offsets, gradients, strict=True):
                    offset.grad = gradient
                optimizer.step()
                schedule.step()
        return self.best(frames, torch.stack(sentences, dim=1), count)

    def start(self) -> list[Tensor]:
        """Keys and values, in turn, of each layer (1, heads, pseudo_tokens, width of a head): the constant prefix'."""
        cache = DynamicCache()
        self.decode(cache, inputs_embeds=self.constant_prefix(1))
        return [part.expand(-1, -1, self.pseudo_tokens, -1) for layer in cache for part in layer[:2]]

    def after(self, start: list[Tensor], offsets: list[Tensor]) -> DynamicCache:
        """The pseudo-tokens, for text to go on from."""
        parts = [part + offset for part, offset in zip(start, offsets, strict=True)]
        return DynamicCache(list(zip(parts[::2], parts[1::2], strict=True)))

    def sentence(self, start: list[Tensor], offsets: list[Tensor], draw: list[float]) -> Tensor:
        """Token ids (N, T) drawn one by one; after the end token, end tokens. `draw` (T) is uniform in [0, 1)."""
        cache, count = self.after(start, offsets), len(offsets[0])
        text = torch.full((count, len(draw)), self.end, device=self.device)
        going = torch.ones(count, dtype=torch.bool, device=self.device)
        given = {"inputs_embeds": self.constant_prefix(count)}
        for step, uniform in enumerate(draw):
            _, logits = self.decode(cache, position_ids=self.positions(step, step + 1), **given)
            values, tokens = logits[:, -1].topk(min(self.top_k, logits.shape[-1]))
            place = (values.softmax(dim=-1).cumsum(dim=-1)[:, :-1] <= uniform).sum(dim=-1, keepdim=True)
            text[:, step] = tokens.gather(1, place)[:, 0].masked_fill(~going, self.end)
            going &= text[:, step] != self.end
            if not going.any():
                break
            given = {"input_ids": text[:, step : step + 1]}
        return text

    @torch.enable_grad()
    def gradients(self, start: list[Tensor], offsets: list[Tensor], text: Tensor, frames: np.ndarray) -> list[Tensor]:
        """Of the loss, for each of `offsets`; a video's are its own."""
        leaves = [offset.detach().requires_grad_() for offset in offsets]
        ended = (text == self.end).cumsum(dim=1)
        counted = (ended == 0) | ((ended == 1) & (text == self.end))  # (N, T) the end token counts too
        text, counted = text[:, : counted.sum(dim=1).max()], counted[:, : counted.sum(dim=1).max()]
        words = self.model.decoder.get_input_embeddings()(text[:, :-1]).detach()
        given = {"inputs_embeds": torch.cat([self.constant_prefix(len(text)).detach(), words], dim=1)}
        positions = self.positions(0, text.shape[1])
        log_p = self.decode(self.after(start, leaves), position_ids=positions, **given)[1].log_softmax(dim=-1)
        with torch.no_grad():
            unguided = self.decode(None, **given)[1].softmax(dim=-1)
        loss = -self.ce_scale * (unguided * log_p).sum(dim=-1)[counted].sum()
        for step in range(text.shape[1]):
            rows = counted[:, step]
            now = log_p[rows, step]
            tokens = now.detach().topk(min(self.top_tokens, now.shape[1])).indices
            target = self.suitability(frames[rows.cpu().numpy()], text[rows, :step], tokens, self.temperature)
            loss = loss - self.clip_scale * (target * now.gather(1, tokens)).sum()
        return list(torch.autograd.grad(loss, leaves))

    def best(self, frames: np.ndarray, sentences: Tensor, count: int) -> list[str]:
        """(N·count) texts of `sentences` (N, I, T): the likest to the frames first, again from the first if too few."""
        order = self.likeness(frames, sentences).mean(dim=1).argsort(dim=1, descending=True, stable=True)
        texts = []
        for video, places in zip(sentences, order, strict=True):
            different = dict.fromkeys(self.texts(video[places]))
            texts += itertools.islice(itertools.cycle(different), count)
        return texts

    def positions(self, first: int, end: int) -> Tensor:
        """(1, end - first) the decoder's positions: those of training, as if no pseudo-token stood before."""
        return torch.arange(first, end, device=self.device)[None]
