"""MAGIC: a search among a language model's likeliest words for those that suit the image (Su et al. 2022).

"Language Models Can See: Plugging Visual Controls in Text Generation", eq. 3-5.
"""

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from clipknight.captioning.captioner import CaptionOptions
from clipknight.methods.guided_search import GuidedSearch, mean_frame

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache


@dataclass(frozen=True, eq=False)
class MAGIC(GuidedSearch):
    """Each token is that of `k` with most (1 - alpha) · confidence - alpha · degeneration + beta · magic.

    Confidence is the language model's probability; degeneration the largest cosine of the candidate's hidden state to
    those before it; magic the softmax over the k of the cosines, by `temperature`, of the image's embedding and that
    of the text with the candidate. Published for captions: k 45, alpha .1, beta 2, 16 tokens, and CLIP's temperature,
    .01. A text is done with its end token, one caption an image; a video is its mean frame.

    Where this differs: the embeddings may be any run's predictions and their space MiniLM's, where cosines spread
    wider than CLIP's. The language model is a blind run, trained without SimCTG's contrastive loss, and the end token
    adds no words to the text that is judged. The text encoder reads N·k texts a step and the decoder holds as many
    caches: a smaller k, or batch_size, is cheaper.
    """

    options: ClassVar[CaptionOptions] = CaptionOptions(max_new_tokens=16)

    _: KW_ONLY
    k: int = 45
    alpha: float = 0.1
    beta: float = 2.0
    temperature: float = 0.01

    def __post_init__(self):
        self.check_positive("k", "temperature")
        self.check_not_negative("beta")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"MAGIC: alpha {self.alpha} is not between 0 and 1")

    @torch.no_grad()
    def found(self, frames: np.ndarray, count: int, num_beams: int, max_new_tokens: int) -> list[str]:
        if count > 1:
            raise ValueError("MAGIC finds one caption an image: there are none to rerank")
        images, length = mean_frame(frames), max_new_tokens
        self.model.check_room(1, length)
        text = torch.full((len(images), length), self.end, device=self.device)
        going = torch.arange(len(images), device=self.device)  # images whose text has not ended
        cache = DynamicCache()
        hidden, logits = self.decode(cache, inputs_embeds=self.constant_prefix(len(images)))
        for step in range(length):
            confidence, tokens = logits[:, -1].softmax(dim=-1).topk(min(self.k, logits.shape[-1]))
            magic = torch.zeros_like(confidence)
            if self.beta:
                magic = self.suitability(images[going.cpu().numpy()], text[going, :step], tokens, self.temperature)
            cache.batch_repeat_interleave(tokens.shape[1])
            states, logits = self.decode(cache, input_ids=tokens.reshape(-1, 1))
            states = states.view(*tokens.shape, -1)
            score = (1 - self.alpha) * confidence - self.alpha * degeneration(states, hidden) + self.beta * magic
            best = score.argmax(dim=1)
            row = torch.arange(len(best), device=self.device)
            text[going, step] = tokens[row, best]
            on = tokens[row, best] != self.end
            going, row, best = going[on], row[on], best[on]
            if not len(going):
                break
            hidden = torch.cat([hidden[row], states[row, best][:, None]], dim=1)
            chosen = row * tokens.shape[1] + best
            logits = logits[chosen]
            cache.batch_select_indices(chosen)
        return self.texts(text)


def degeneration(states: Tensor, before: Tensor) -> Tensor:
    """(N, k) largest cosine of each of `states` (N, k, W) to those `before` (N, t, W)."""
    states, before = (nn.functional.normalize(part, dim=-1) for part in (states, before))
    return (states @ before.mT).amax(dim=-1)
