"""GPT-2 for saying captions alone: what transformers' GPT2LMHeadModel computes, from weights of the same names.

Without transformers a caption comes seconds earlier, and a search by beams takes less than half the time: their prefix
is computed and kept once, and what they have said so far is never copied. Whoever trains a decoder, or looks into it,
has transformers'.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from clipknight.captioning.beam_search import beam_search

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class GPT2Sizes:
    """As config.json has them."""

    vocab_size: int
    n_positions: int
    n_embd: int
    n_layer: int
    n_head: int
    n_inner: int | None = None
    layer_norm_epsilon: float = 1e-5

    @property
    def max_position_embeddings(self) -> int:
        return self.n_positions


class GPT2(nn.Module):
    """A decoder for Knight, which never computes a gradient; all weights by chance."""

    def __init__(self, sizes: GPT2Sizes):
        super().__init__()
        self.config, width = sizes, sizes.n_embd
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(sizes.vocab_size, width),
                "wpe": nn.Embedding(sizes.n_positions, width),
                "h": nn.ModuleList(Block(sizes) for _ in range(sizes.n_layer)),
                "ln_f": nn.LayerNorm(width, eps=sizes.layer_norm_epsilon),
            }
        )

    def get_input_embeddings(self) -> nn.Embedding:
        return self.transformer["wte"]

    @torch.inference_mode()
    def generate(
        self, prefix: Tensor, num_beams: int, max_new_tokens: int, eos_token_id: int, num_return_sequences: int = 1
    ) -> Tensor:
        """Token ids (B·num_return_sequences, max_new_tokens) after `prefix` (B, p, width), as transformers has them."""
        search = Search(self, prefix, num_beams, max_new_tokens)
        return beam_search(search, max_new_tokens, eos_token_id)[:, :num_return_sequences].flatten(0, 1)

    def forward(self, embedded: Tensor, places: Sequence[int], caches: list[Tensor], start: int, **attended) -> Tensor:
        """(B, n, width) of tokens at those `places`, where `caches` hold `start` others already."""
        embedded = embedded + self.transformer["wpe"](torch.tensor(places, device=embedded.device))
        for block, cache in zip(self.transformer["h"], caches, strict=True):
            embedded = block(embedded, cache, start, **attended)
        return self.transformer["ln_f"](embedded)

    def logits(self, hidden: Tensor) -> Tensor:
        return functional.linear(hidden, self.transformer["wte"].weight)


class Block(nn.Module):
    def __init__(self, sizes: GPT2Sizes):
        super().__init__()
        width, inner = sizes.n_embd, sizes.n_inner or 4 * sizes.n_embd
        self.heads = sizes.n_head
        self.ln_1, self.ln_2 = (nn.LayerNorm(width, eps=sizes.layer_norm_epsilon) for _ in range(2))
        self.attn = nn.ModuleDict({"c_attn": Projection(width, 3 * width), "c_proj": Projection(width, width)})
        self.mlp = nn.ModuleDict({"c_fc": Projection(width, inner), "c_proj": Projection(inner, width)})

    def forward(self, rows: Tensor, cache: Tensor, start: int, **attended) -> Tensor:
        rows = rows + self.attention(self.ln_1(rows), cache, start, **attended)
        inner = functional.gelu(self.mlp["c_fc"](self.ln_2(rows)), approximate="tanh")
        return rows + self.mlp["c_proj"](inner)

    def attention(self, rows: Tensor, cache: Tensor, start: int, **attended) -> Tensor:
        """Among all that `cache` holds, keys and values (2, B, heads, room, d), after those of `rows` were added."""
        stop = start + rows.shape[1]
        queries, *new = self.attn["c_attn"](rows).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        cache[0, :, :, start:stop], cache[1, :, :, start:stop] = new
        found = functional.scaled_dot_product_attention(queries, *cache[..., :stop, :], **attended)
        return self.attn["c_proj"](found.transpose(1, 2).flatten(2))


class Projection(nn.Module):
    """A linear layer whose weights are the other way round, as GPT-2's are saved."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(inputs, outputs)), nn.Parameter(torch.empty(outputs))

    def forward(self, rows: Tensor) -> Tensor:
        return functional.linear(rows, self.weight.T, self.bias)


class Search:
    """Beams after the prefixes (B, p, width) of images: all that they have said so far, and what each may say next.

    The keys and values of an image's prefix and of its beams' tokens, step by step, stand in one row; a mask says
    which of them a beam stands on. So a beam that goes on from another copies that one's line of the mask, no keys.
    """

    def __init__(self, model: GPT2, prefix: Tensor, beams: int, steps: int):
        images, length, width = prefix.shape
        self.model, self.beams, self.place, self.filled = model, beams, length, length
        heads, device = model.config.n_head, prefix.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else prefix.dtype
        shape = 2, images, heads, length + beams * (steps - 1), width // heads
        self.caches = [prefix.new_empty(shape, dtype=dtype) for _ in model.transformer["h"]]
        self.seen = prefix.new_zeros(images, beams, shape[3], dtype=torch.bool)
        self.seen[:, :, :length] = True
        self.own = torch.eye(beams, dtype=torch.bool, device=prefix.device)
        hidden = model(prefix, range(length), self.caches, 0, is_causal=True)
        self.logits = model.logits(hidden[:, -1:]).expand(-1, beams, -1)

    def go_on(self, parents: Tensor, tokens: Tensor) -> None:
        """Each beam goes on from one of its image's `parents` (B, beams) by one of `tokens` (B, beams)."""
        start, self.filled = self.filled, self.filled + self.beams
        self.seen = self.seen.gather(1, parents[..., None].expand_as(self.seen))
        self.seen[:, :, start : self.filled] = self.own
        embedded, mask = self.model.get_input_embeddings()(tokens), self.seen[:, None, :, : self.filled]
        self.logits = self.model.logits(self.model(embedded, [self.place], self.caches, start, attn_mask=mask))
        self.place += 1

    def keep(self, images: Tensor) -> None:
        """Go on with those of a mask (B,) alone."""
        self.seen = self.seen[images]
        for number, cache in enumerate(self.caches):
            self.caches[number] = left = cache[:, : len(self.seen)]
            left[..., : self.filled, :] = cache[:, images, :, : self.filled]
