"""Training a decoder on captions alone: what train_knight.py and train_maccap.py share."""

import json
import math
from collections.abc import Callable

from clipknight.captioning.caption_batches import TokenizedCaptions, caption_batches
from clipknight.captioning.decoders import decoder_folder, set_dropout
from clipknight.captioning.knight import Knight, load_mapper, save_knight
from clipknight.data.datasets import Dataset
from clipknight.devices import pick_precision
from clipknight.processes import wait_for_everyone
from clipknight.scoring.caption_metrics import caption_scores
from clipknight.training.state import TrainingState, mixed, new_layer_groups

import torch
from accelerate import Accelerator
from tqdm import tqdm

SCORED = ("Bleu", "METEOR", "ROUGE_L", "CIDEr")


def take_over_mapper(model: Knight, decoder: str) -> None:
    """Start `model` with the mapper of the run called `decoder`, if it is one; a mapper of another kind is left."""
    folder = decoder_folder(decoder)
    if folder is None or not (folder.parent / "mapper.safetensors").is_file():
        return
    if json.loads((folder.parent / "knight.json").read_text(encoding="utf-8")).get("queries") != model.mapper.sizes.get(
        "queries"
    ):
        print(f"{decoder}: its decoder is taken, its mapper is of another kind")
    else:
        load_mapper(model, folder.parent)


def train(
    run,
    model: Knight,
    tokenizer,
    captions: TokenizedCaptions,
    held_captions: TokenizedCaptions,
    description: dict,
    s,
    valid: Dataset | None = None,
    say: Callable[[Knight], dict[str, str]] | None = None,
) -> dict:
    """Train, keep the best epoch and what resumes the last; the scores of the best.

    An epoch is judged by the metrics of what a model `say`s of the images of `valid`, {image id: caption}; without
    images by its loss on the captions held out.
    """
    set_dropout(model.decoder, s.dropout)
    model.decoder.requires_grad_(not s.freeze_decoder)
    device = next(model.parameters()).device
    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision=mixed(pick_precision(s.precision, device)))
    batches, loader = caption_batches(captions, s.batch_size, s.seed)
    per_epoch = math.ceil(len(batches) / accelerator.num_processes)
    groups = new_layer_groups([model.mapper], s.lr_mapper, s.weight_decay)
    if not s.freeze_decoder:
        groups += new_layer_groups([model.decoder], s.lr_decoder, s.weight_decay)
    state = TrainingState(model, groups, per_epoch * s.epochs, s.warmup, s.ema)
    last = run.folder / "last" / "state.pt"
    if s.resume and last.is_file():
        state.load(last)
    run.forget_events_after(epoch=state.position[0] - 1)
    state.best = max((event["score"] for event in run.events()), default=state.best)
    wrapped, state.optimizer, loader = accelerator.prepare(model, state.optimizer, loader)

    for epoch in range(state.position[0], s.epochs):
        batches.set_position(epoch, state.position[1] * accelerator.num_processes)
        with tqdm(loader, total=len(batches), desc=f"epoch {epoch + 1}/{s.epochs}", unit="batch") as bar:
            for vectors, tokens, mask in bar:
                wrapped.train()
                torch.manual_seed(s.seed * 1_000_003 + state.steps_done)  # of noise and dropout
                with accelerator.autocast():
                    value = wrapped(vectors.to(device), tokens.to(device), mask.to(device))
                accelerator.backward(value)
                state.step(1.0, accelerator)
                state.epoch_loss += value.item()
                bar.set_postfix(loss=f"{value.item():.3f}", refresh=False)
                state.position = (epoch, state.position[1] + 1)
                if state.steps_done % s.save_every == 0 and accelerator.is_main_process:
                    state.save(last)
        epoch_loss, state.epoch_loss, state.position = state.epoch_loss / per_epoch, 0.0, (epoch + 1, 0)
        averaged = state.averaged.eval()
        scores = {"text_loss": text_loss(averaged, held_captions, s)}
        if say:
            scores |= caption_scores(say(averaged), valid.caption_lists(), SCORED)
        score = scores.get("CIDEr", -scores["text_loss"])
        run.log(epoch=epoch, loss=epoch_loss, score=score, **scores)
        print(f"epoch {epoch + 1}: " + "  ".join(f"{k} {v:.4f}" for k, v in scores.items() if isinstance(v, float)))
        if accelerator.is_main_process:
            if score > state.best:
                state.best = score
                save_knight(state.averaged, tokenizer, description, run.folder / "best", s.half)
            state.save(last)
    wait_for_everyone()
    best = max(run.events(), key=lambda event: event["score"])
    return {name: value for name, value in best.items() if name != "time"}


@torch.inference_mode()
def text_loss(model: Knight, captions: TokenizedCaptions, s) -> float:
    """Mean cross-entropy of the tokens of held-out captions, after their neighbours in the corpus."""
    device = next(model.parameters()).device
    precision = pick_precision(s.precision, device)
    total = 0.0
    for start in range(0, len(captions), s.batch_size):
        items = [captions[0, row] for row in range(start, min(start + s.batch_size, len(captions)))]
        vectors, tokens, mask = (part.to(device) for part in captions.collate(items))
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            total += model(vectors, tokens, mask).item() * mask.sum().item()
    return total / sum(map(len, captions.tokens))
