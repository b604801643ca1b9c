"""ZeroCap: a language model's memory of its text is bent towards the image before each token (Tewel et al. 2022).

"ZeroCap: Zero-Shot Image-to-Text Generation for Visual-Semantic Arithmetic", with the numbers of the authors' code.
"""

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from clipknight.captioning.captioner import CaptionOptions
from clipknight.methods.guided_search import GuidedSearch, mean_frame

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

ROUNDING = 1e-5  # a gradient shorter than this is mostly rounding, and not to be lengthened
Context = list[tuple[Tensor, Tensor]]  # keys and values (R, heads, t, width of a head) of each layer


@dataclass(frozen=True, eq=False)
class ZeroCap(GuidedSearch):
    """Before each token, `steps` gradient steps change the context: the cached keys and values of what stands before.

    The loss is clip_scale · cross-entropy between the softmax, by `temperature`, of the image's cosines to the text
    with each of the `top_tokens` likeliest tokens and the next token's distribution, plus ce_scale · KL divergence of
    that from the unchanged one. A step is `step_size` · gradient / its length to the power `grad_norm`, for the keys
    and for the values of each layer. The next token comes from the geometric mean of the changed distribution, by
    `fusion`, and the unchanged one; the change is then forgotten. Captions are num_beams beams (published: 5), by mean
    log probability, and reranking compares beams. A video is its mean frame.

    Where this differs: published are GPT-2 medium and CLIP; here a blind run's language model of captions goes on
    from its constant prefix, not from "Image of a", and the context of the first token is a second such prefix; the
    space is any run's. A caption ends with the end token: the authors' factors on the full stop, and their list of
    forbidden tokens, are for GPT-2's web text and left out. Beams and images go in one batch. A caption costs up to
    num_beams · 15 · top_tokens texts of the text encoder: fewer of any are cheaper.
    """

    options: ClassVar[CaptionOptions] = CaptionOptions(max_new_tokens=15)

    _: KW_ONLY
    steps: int = 5
    step_size: float = 0.3
    clip_scale: float = 1.0
    ce_scale: float = 0.2
    top_tokens: int = 512
    temperature: float = 0.01
    fusion: float = 0.99
    grad_norm: float = 0.9

    def __post_init__(self):
        self.check_positive("top_tokens", "temperature")
        self.check_not_negative("steps", "step_size", "clip_scale", "ce_scale", "grad_norm")
        if not 0 <= self.fusion <= 1:
            raise ValueError(f"ZeroCap: fusion {self.fusion} is not between 0 and 1")

    @torch.no_grad()
    def found(self, frames: np.ndarray, count: int, num_beams: int, max_new_tokens: int) -> list[str]:
        images, beams, length = len(frames), max(num_beams, count), max_new_tokens
        self.model.check_room(1, length)
        shown = np.repeat(mean_frame(frames), beams, axis=0)
        text = torch.full((images * beams, length), self.end, device=self.device)
        total = torch.full((images, beams), -torch.inf, device=self.device)
        total[:, 0] = 0  # all beams are alike until the first token
        lengths = torch.zeros_like(total)
        going = torch.ones(images * beams, dtype=torch.bool, device=self.device)
        cache = DynamicCache()
        _, logits = self.decode(cache, inputs_embeds=self.constant_prefix(images * beams))
        for step in range(length):
            unguided = logits[:, -1].log_softmax(dim=-1)
            gain = torch.full_like(unguided, -torch.inf)
            gain[:, self.end] = 0  # a text that has ended stays as it is
            lengths += going.view_as(lengths)
            before = max(step, 1)  # all but the last token; the first token has a second prefix before its prefix
            context = [(keys[going, :, :before], values[going, :, :before]) for keys, values, *_ in cache]
            gain[going] = self.guided(context, text[going, :step], shown[going.cpu().numpy()], unguided[going])
            means = (total[..., None] + gain.view(images, beams, -1)) / lengths[..., None]
            mean, chosen = means.flatten(1).topk(beams)
            source, token = chosen // gain.shape[1], (chosen % gain.shape[1]).flatten()
            lengths = lengths.gather(1, source)
            total = mean * lengths
            rows = (source + beams * torch.arange(images, device=self.device)[:, None]).flatten()
            text, going = text[rows], going[rows] & (token != self.end)
            text[:, step] = token
            if not going.any() or step + 1 == length:
                break
            cache.batch_select_indices(rows)
            _, logits = self.decode(cache, input_ids=token[:, None])
        return self.texts(text.view(images, beams, -1)[:, :count].flatten(0, 1))

    def guided(self, context: Context, text: Tensor, shown: np.ndarray, unguided: Tensor) -> Tensor:
        """(R, V) log probabilities of the token after `text` (R, t), the last of which is not in the context."""
        bent = self.bent(context, text, shown, unguided)
        mixed = self.fusion * self.after(bent, text) + (1 - self.fusion) * unguided
        return mixed.log_softmax(dim=-1)

    @torch.enable_grad()
    def bent(self, context: Context, text: Tensor, shown: np.ndarray, unguided: Tensor) -> Context:
        """The context after the gradient steps; each row's are its own."""
        parts = [part.detach() for layer in context for part in layer]
        for _ in range(self.steps):
            parts = [part.detach().requires_grad_() for part in parts]
            log_p = self.after(list(zip(parts[::2], parts[1::2])), text)
            tokens = log_p.detach().topk(min(self.top_tokens, log_p.shape[1])).indices
            target = self.suitability(shown, text, tokens, self.temperature)
            clip_loss = -(target * log_p.gather(1, tokens)).sum()
            divergence = (log_p.exp() * (log_p - unguided)).sum()
            gradients = torch.autograd.grad(self.clip_scale * clip_loss + self.ce_scale * divergence, parts)
            parts = [part - self.step_size * self.scaled(g) for part, g in zip(parts, gradients, strict=True)]
        parts = [part.detach() for part in parts]
        return list(zip(parts[::2], parts[1::2]))

    def after(self, context: Context, text: Tensor) -> Tensor:
        """(R, V) log probabilities of what follows the last token of `text` (R, t), or the prefix, after `context`."""
        if text.shape[1]:
            given = {"input_ids": text[:, -1:]}
        else:  # at the prefix' own position, where attending to its like changes nothing
            position = torch.zeros(1, 1, dtype=torch.long, device=self.device)
            given = {"inputs_embeds": self.constant_prefix(len(text)), "position_ids": position}
        _, logits = self.decode(DynamicCache(context), **given)
        return logits[:, -1].log_softmax(dim=-1)

    def scaled(self, gradient: Tensor) -> Tensor:
        """Each row's gradient (R, heads, t, width) divided by its length to the power `grad_norm`."""
        length = gradient.flatten(1).norm(dim=1).clamp(min=ROUNDING)
        return gradient / length[:, None, None, None] ** self.grad_norm
