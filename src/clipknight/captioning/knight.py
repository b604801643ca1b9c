"""Knight: a mapper turns vectors into a prefix, after which a language model says the caption (Knight, eq. 3-8).

Trained on text alone: the vectors are a caption's nearest other captions. At inference they are the captions nearest
to an image's embedding, or for a video one mean of such neighbours a frame, so the decoder never meets an image.
"""

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING

from clipknight.captioning.gpt2 import GPT2
from clipknight.captioning.mappers import Mapper, QueryMapper
from clipknight.captioning.plain_decoder import CaptionTokenizer, load_plain_decoder
from clipknight.embedding.scaling import root_scaled
from clipknight.files import atomic_folder
from clipknight.messages import a_few, shortened
from clipknight.saved_files import load_weights, read_description, read_tensors
from clipknight.waiting import waiting

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

IGNORED = -100  # label of a position that is not learnt
AGAIN = "train the run again, with --overwrite"
TYPES = {
    "dim": (int,),
    "queries": (int,),
    "n_neighbors": (int,),
    "method": (str,),
    "options": (dict,),
}  # in knight.json


class Knight(nn.Module):
    """`decoder`, any causal language model that takes inputs_embeds, after a prefix by `mapper`.

    Rows are scaled to length √D, so that a number's own deviation is 1. In training, `noise` is the deviation of
    Gaussian noise on each number of the first `noisy` rows, of all by default; they are then scaled to length √D again,
    for at inference nothing is longer. The authors' code takes .5; variance v on unit rows is √(v·D) here.
    With `queries`, the mapper is MacCap's and the prefix as long as they are many.
    """

    def __init__(
        self,
        decoder: "PreTrainedModel | GPT2",
        dim: int,
        noise: float = 0.0,
        noisy: int | None = None,
        queries: int = 0,
    ):
        super().__init__()
        width = decoder.get_input_embeddings().embedding_dim
        self.decoder, self.noise, self.noisy = decoder, noise, noisy
        self.mapper = QueryMapper(dim, width, queries) if queries else Mapper(dim, width)

    def prefix(self, vectors: Tensor) -> Tensor:
        """(B, k, D) -> (B, k or queries, width)."""
        scaled = root_scaled(vectors)
        if self.training and self.noise:
            noisy = scaled[:, : self.noisy]
            noisy, exact = root_scaled(noisy + self.noise * torch.randn_like(noisy)), scaled[:, noisy.shape[1] :]
            scaled = torch.cat([noisy, exact], dim=1)
        return self.mapper(scaled)

    def check_room(self, vectors: int, tokens: int) -> None:
        """ValueError when so many do not fit the decoder's positions."""
        room = getattr(self.decoder.config, "max_position_embeddings", None)
        if room is not None and vectors + tokens > room:
            raise ValueError(
                f"a prefix of {vectors} vectors and {tokens} tokens exceed the decoder's {room} positions: "
                "lower --max_tokens, or the neighbours, frames or queries in the prefix"
            )

    def forward(self, vectors: Tensor, tokens: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
        """Mean cross-entropy over caption tokens: `tokens` (B, T) end in the end token, `mask` (B, T) is 1 up to it.

        With `weights` (B,) each caption's tokens count so many times, where 1 is once.
        """
        prefix = self.prefix(vectors)
        embedded = torch.cat([prefix, self.decoder.get_input_embeddings()(tokens).to(prefix.dtype)], dim=1)
        attended = torch.cat([mask.new_ones(prefix.shape[:2]), mask], dim=1)
        # The last place of the prefix tells the first token, the last token tells none.
        logits = self.decoder(
            inputs_embeds=embedded, attention_mask=attended, logits_to_keep=tokens.shape[1] + 1
        ).logits
        labels = tokens.masked_fill(mask == 0, IGNORED)
        flat = logits[:, :-1].flatten(0, 1).float()
        if weights is None:
            return nn.functional.cross_entropy(flat, labels.flatten(), ignore_index=IGNORED)
        each = nn.functional.cross_entropy(flat, labels.flatten(), ignore_index=IGNORED, reduction="none")
        return (each.view_as(labels) * weights[:, None]).sum() / mask.sum()

    @torch.inference_mode()
    def generate(self, vectors: Tensor, end: int, num_beams: int = 5, max_new_tokens: int = 40, **options) -> Tensor:
        """Token ids (B, up to max_new_tokens) after the prefix of `vectors` (B, k, D); `options` are transformers'."""
        prefix = self.prefix(vectors)
        self.check_room(prefix.shape[1], max_new_tokens)
        search = {"num_beams": num_beams, "max_new_tokens": max_new_tokens, "eos_token_id": end, **options}
        if isinstance(self.decoder, GPT2):
            return self.decoder.generate(prefix, **search)
        return self.decoder.generate(
            inputs_embeds=prefix,
            attention_mask=prefix.new_ones(prefix.shape[:2], dtype=torch.long),
            pad_token_id=end,
            **{"do_sample": False, **search},
        )


def save_knight(
    model: Knight, tokenizer: "PreTrainedTokenizerBase", description: dict, folder: Path, half: bool = False
) -> None:
    """Write mapper, decoder and tokenizer into `folder`, which appears whole; `half` stores numbers in 16 bits."""
    dtype = torch.float16 if half else torch.float32
    with atomic_folder(folder) as temporary:
        weights = {
            name: tensor.detach().cpu().to(dtype).contiguous() for name, tensor in model.mapper.state_dict().items()
        }
        save_file(weights, temporary / "mapper.safetensors")
        decoder = copy.deepcopy(model.decoder).half() if half else model.decoder  # as a whole: tied weights stay tied
        decoder.save_pretrained(temporary / "decoder")
        tokenizer.save_pretrained(temporary / "decoder")
        (temporary / "knight.json").write_text(
            json.dumps({**model.mapper.sizes, **description}, indent=1), encoding="utf-8"
        )


def load_knight(
    folder: Path, by_transformers: bool = True
) -> "tuple[Knight, PreTrainedTokenizerBase | CaptionTokenizer, dict]":
    """(model in evaluation mode, tokenizer, description) of a folder that `save_knight` wrote.

    What is to say captions alone needs a decoder `by_transformers` only where that is no GPT-2.
    """
    description = knight_description(folder)
    with waiting("loading the decoder"):
        plain = None if by_transformers else load_plain_decoder(folder / "decoder")
        decoder, tokenizer = plain or _load_decoder(folder / "decoder")
    model = Knight(decoder, description["dim"], queries=description.get("queries", 0))
    load_mapper(model, folder)
    return model.eval(), tokenizer, description


def knight_description(folder: Path) -> dict:
    """What was saved with a decoder: its sizes, `space`, `n_neighbors`, and the `method` that it was trained for."""
    if not (folder / "knight.json").is_file():
        raise FileNotFoundError(f"{folder} holds no Knight: the run has not finished its first epoch")
    description = read_description(folder / "knight.json", AGAIN, **TYPES)
    if "method" not in description and "n_neighbors" in description:  # of an early run
        description["method"] = "knight" if description["n_neighbors"] else "direct"
    return description


def load_mapper(model: Knight, folder: Path) -> None:
    """Give `model` the mapper of another run, in `folder`. ValueError when it does not fit."""
    saved, own = knight_description(folder), model.mapper.sizes
    if saved["dim"] != own["dim"]:
        raise ValueError(f"{folder} maps vectors of {saved['dim']} numbers, the corpus has vectors of {own['dim']}")
    if saved.get("queries", 0) != own.get("queries", 0):
        raise ValueError(f"{folder} has a mapper of {saved.get('queries', 0)} queries, not of {own.get('queries', 0)}")
    file = folder / "mapper.safetensors"
    weights = {name: tensor.float() for name, tensor in read_tensors(file, AGAIN).items()}
    load_weights(model.mapper, weights, file, AGAIN)


def _load_decoder(folder: Path) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """ValueError for weights that are cut, lacking, not finite or of other shapes, and for a broken tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = {"trust_remote_code": False, "local_files_only": True}
    try:
        decoder, loaded = AutoModelForCausalLM.from_pretrained(
            folder, dtype="float32", output_loading_info=True, **options
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    except Exception as error:  # transformers, safetensors and tokenizers each raise their own
        raise ValueError(f"{folder} holds no whole decoder ({shortened(error, 160)}): {AGAIN}") from error
    if lacking := loaded["missing_keys"]:  # transformers would draw them at random
        raise ValueError(f"{folder} lacks weights of its decoder, {a_few(sorted(lacking), 3)}: {AGAIN}")
    if odd := [name for name, tensor in decoder.named_parameters() if not tensor.isfinite().all()]:
        raise ValueError(f"{folder} holds NaN or infinity in {odd[0]}: {AGAIN}")
    return decoder, tokenizer
