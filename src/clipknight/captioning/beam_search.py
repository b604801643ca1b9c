"""Beam search as transformers' `generate` has it by default, in which images that are done cost no more."""

from typing import Protocol

import torch
from torch import Tensor

NEVER = -1e9  # score of what is none


class Beams(Protocol):
    """What B images' beams may say next, `logits` (B, beams, V); at first the same for all beams."""

    logits: Tensor

    def go_on(self, parents: Tensor, tokens: Tensor) -> None: ...

    def keep(self, images: Tensor) -> None: ...


def beam_search(beams: Beams, steps: int, end: int) -> Tensor:
    """Token ids (B, beams, steps) of the likeliest ends that were found for an image, the best first.

    Captions compete by their mean log-likelihood a token. An image is done when as many as there are beams have ended,
    and the best that has not is no better than any of them. A single beam takes the likeliest token, and ends by it.
    """
    images, width, vocabulary = beams.logits.shape
    found = torch.full((images, width, steps), end, device=beams.logits.device)
    ended, running = found.clone(), found.clone()
    ended_scores = found.new_full((images, width), NEVER, dtype=torch.float32)
    scores = ended_scores.clone()
    scores[:, 0] = 0
    left = torch.arange(images, device=found.device)
    for step in range(steps):
        likely = beams.logits.float().log_softmax(-1) + scores[..., None]
        values, places = likely.flatten(1).topk(2 * width)
        parents, tokens = places // vocabulary, places % vocabulary
        tried = _rows(running, parents)
        tried[..., step] = tokens
        ends = (tokens == end) | (step == steps - 1)

        # The best of those that have ended; only the first `width` of what was tried may be among them.
        means = (values / (step + 1)).masked_fill(~ends, NEVER)
        means[:, width:] = NEVER
        ended_scores, best = torch.cat([ended_scores, means], 1).topk(width)
        ended = _rows(torch.cat([ended, tried], 1), best)
        found[left] = ended

        scores, best = (values + ends * NEVER).topk(width)
        parents, tokens, running = parents.gather(1, best), tokens.gather(1, best), _rows(tried, best)
        worst = ended_scores[:, -1]
        done = (worst > NEVER / 2) & ((width == 1) | (scores[:, 0] / (step + 1) <= worst))
        if step == steps - 1 or done.all():
            return found
        if done.any():
            keep = ~done
            beams.keep(keep)
            left, ended, ended_scores, running, scores = (x[keep] for x in (left, ended, ended_scores, running, scores))
            parents, tokens = parents[keep], tokens[keep]
        beams.go_on(parents, tokens)
    return found


def _rows(tokens: Tensor, places: Tensor) -> Tensor:
    """Of (B, n, T) those at `places` (B, k): (B, k, T)."""
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[2]))
