"""A language model that follows instructions, in batches: what it says after a prompt, how likely it finds answers.

A prompt is text; where the text has IMAGE, vectors of the model's own width may stand in its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from clipknight.captioning.decoders import load_decoder
from clipknight.devices import pick_device, pick_precision
from clipknight.waiting import SHOWN_AFTER, progress_bar

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, PreTrainedTokenizerBase

IMAGE = "\N{OBJECT REPLACEMENT CHARACTER}"  # in a prompt: here the image's vectors stand
ROWS = 256  # answers whose likelihood is found at a time


@dataclass
class InstructionModel:
    """`chat`: say prompts in the form the model was taught to be instructed in, where its tokenizer has one."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    chat: bool = True
    precision: torch.dtype = torch.float32
    batch_size: int = 32

    @classmethod
    def load(
        cls, name: str, chat: bool = True, device: str = "auto", precision: str = "auto", batch_size: int = 32
    ) -> "InstructionModel":
        """The one called `name`, as `load_decoder` has them: smollm2, a name on the hub, a folder."""
        model, tokenizer = load_decoder(name)
        device = pick_device(device)
        return cls(model.to(device), tokenizer, chat, pick_precision(precision, device), batch_size)

    @torch.inference_mode()
    def say(
        self, prompts: Sequence[str], max_new_tokens: int = 10, vectors: Tensor | None = None, **options
    ) -> list[str]:
        """What follows each of N prompts, N·num_return_sequences texts; `options` are generate's.

        `vectors` (N, p, width) stand where the prompts have IMAGE. ValueError for prompts that are too long.
        """
        end = self.tokenizer.eos_token_id
        each = options.get("num_return_sequences", 1)
        said: list[list[str]] = [[]] * len(prompts)
        for rows, embedded, mask in self._batches(prompts, vectors, max_new_tokens, self.batch_size):
            tokens = self.model.generate(
                inputs_embeds=embedded,
                attention_mask=mask,
                max_new_tokens=max_new_tokens,
                **{"do_sample": False, "eos_token_id": end, "pad_token_id": end, **options},
            )
            texts = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
            for place, row in enumerate(rows):
                said[row] = texts[each * place : each * (place + 1)]
        return [text for texts in said for text in texts]

    @torch.inference_mode()
    def log_likelihoods(
        self, prompts: Sequence[str], answers: Sequence[str], vectors: Tensor | None = None
    ) -> np.ndarray:
        """(N, A) log-probability of each answer, all its tokens, after each prompt."""
        if not answers or not all(map(str.strip, answers)):
            raise ValueError("a likelihood is that of an answer, and one is empty")
        tokens = [torch.tensor(ids) for ids in self._ids(answers)]
        lengths = torch.tensor([len(ids) for ids in tokens])
        padded = pad_sequence(tokens, batch_first=True).to(self.model.device)
        real = (torch.arange(padded.shape[1]) < lengths[:, None]).to(self.model.device)
        found = np.empty((len(prompts), len(answers)))
        at_once = max(1, min(self.batch_size, ROWS // len(answers)))
        for rows, embedded, mask in self._batches(prompts, vectors, padded.shape[1], at_once):
            found[rows] = self._of_answers(embedded, mask, padded, real).cpu().numpy()
        return found

    def _of_answers(self, embedded: Tensor, mask: Tensor, answers: Tensor, real: Tensor) -> Tensor:
        """(B, A) of `answers` (A, T), `real` where no padding: a prompt is read once, whatever follows it."""
        prompts, count = len(embedded), len(answers)
        places = (mask.cumsum(dim=1) - 1).clamp(min=0)
        read = self.model(
            inputs_embeds=embedded, attention_mask=mask, position_ids=places, use_cache=True, logits_to_keep=1
        )
        logits = read.logits.expand(-1, count, -1).flatten(0, 1)[:, None]
        if answers.shape[1] > 1:
            read.past_key_values.batch_repeat_interleave(count)
            after = places[:, -1:] + 1 + torch.arange(answers.shape[1] - 1, device=mask.device)
            own = real[:, :-1].to(mask.dtype).repeat(prompts, 1)
            further = self.model(
                input_ids=answers[:, :-1].repeat(prompts, 1),
                attention_mask=torch.cat([mask.repeat_interleave(count, dim=0), own], dim=1),
                position_ids=after.repeat_interleave(count, dim=0),
                past_key_values=read.past_key_values,
            ).logits
            logits = torch.cat([logits, further], dim=1)
        found = logits.float().log_softmax(dim=-1).gather(-1, answers.repeat(prompts, 1)[..., None])[..., 0]
        return found.masked_fill(~real.repeat(prompts, 1), 0).sum(dim=1).unflatten(0, (prompts, count))

    def _batches(self, prompts: Sequence[str], vectors: Tensor | None, room: int, size: int):
        """(rows, embedded (B, L, width), mask (B, L)), padded on the left: prompts of like length together."""
        self.model.eval()
        embed = self.model.get_input_embeddings()
        parts = [self._parts(prompt) for prompt in prompts]
        lengths = np.array([len(before) + len(after) for before, after in parts], dtype=int)
        lengths += 0 if vectors is None else vectors.shape[1]
        self._check_room(lengths.max(initial=0) + room)
        order = np.argsort(lengths, kind="stable")
        with progress_bar(total=len(order), desc="prompts", unit="prompt", delay=SHOWN_AFTER) as bar:
            for start in range(0, len(order), size):
                rows, whole = order[start : start + size], []
                for row in rows:
                    before, after = (embed(torch.tensor(ids, device=self.model.device).long()) for ids in parts[row])
                    between = before[:0] if vectors is None else vectors[row].to(before)
                    whole.append(torch.cat([before, between, after]))
                ones = [vector.new_ones(len(vector), dtype=torch.long) for vector in whole]
                embedded, mask = (pad_sequence(of, batch_first=True, padding_side="left") for of in (whole, ones))
                with torch.autocast(embedded.device.type, self.precision, enabled=self.precision != torch.float32):
                    yield rows, embedded, mask
                bar.update(len(rows))

    def _parts(self, prompt: str) -> tuple[list[int], list[int]]:
        """Token ids before the image's place and after it."""
        if self.chat and self.tokenizer.chat_template:
            turns = [{"role": "user", "content": prompt}]
            prompt, start = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True), []
        else:
            start = self.tokenizer("").input_ids  # some models have a token that begins every text
        before, _, after = prompt.partition(IMAGE)
        before, after = self.tokenizer([before, after], add_special_tokens=False).input_ids
        return [*start, *before], after

    def _ids(self, answers: Sequence[str]) -> list[list[int]]:
        """Tokens of answers as they follow a prompt: in a chat they begin a turn, else a word."""
        first = "" if self.chat and self.tokenizer.chat_template else " "
        return self.tokenizer([first + answer.strip() for answer in answers], add_special_tokens=False).input_ids

    def _check_room(self, tokens: int) -> None:
        room = getattr(self.model.config, "max_position_embeddings", None)
        if room is not None and tokens > room:
            raise ValueError(
                f"a prompt of {tokens} tokens with its answer exceeds the language model's {room} positions: "
                "put fewer captions into it, or name another language model"
            )
