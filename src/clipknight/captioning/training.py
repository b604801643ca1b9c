"""Training a decoder on captions alone: what train_knight.py and train_maccap.py share."""

from collections.abc import Callable
from pathlib import Path

from clipknight.captioning.caption_batches import TokenizedCaptions
from clipknight.captioning.decoders import decoder_folder, set_dropout
from clipknight.captioning.knight import Knight, knight_description, load_mapper, save_knight
from clipknight.captioning.objectives import Objective
from clipknight.data.datasets import Dataset
from clipknight.devices import pick_precision
from clipknight.processes import wait_for_everyone
from clipknight.scoring.caption_metrics import caption_scores
from clipknight.training.learning_rates import new_layer_groups
from clipknight.training.state import START, TrainingState

import torch

SCORED = ("Bleu", "METEOR", "ROUGE_L", "CIDEr")


def run_of(decoder: str) -> Path | None:
    """The folder of the run's best weights that `decoder` names, if it names a run."""
    folder = decoder_folder(decoder)
    return folder.parent if folder and (folder.parent / "mapper.safetensors").is_file() else None


def take_over_mapper(model: Knight, decoder: str) -> None:
    """Start `model` with the mapper of the run called `decoder`, if it is one; a mapper of another kind is left."""
    best = run_of(decoder)
    if best is None:
        return
    if knight_description(best).get("queries") != model.mapper.sizes.get("queries"):
        print(f"{decoder}: its decoder is taken, its mapper is of another kind")
    else:
        load_mapper(model, best)


def train(
    run,
    model: Knight,
    tokenizer,
    objective: Objective,
    held_captions: TokenizedCaptions,
    description: dict,
    s,
    valid: Dataset | None = None,
    captions_of_valid: Callable[[Knight], dict[str, str]] | None = None,
) -> dict:
    """Train, keep the best epoch and what resumes the last; the scores of the best.

    An epoch is judged by the metrics of `captions_of_valid` by the model, {image id: caption}; without
    images by its loss on the captions held out. So is the start, where it is another run's decoder.
    """
    set_dropout(model.decoder, s.dropout)
    model.decoder.requires_grad_(not s.freeze_decoder)
    groups = new_layer_groups([model.mapper], s.lr_mapper, s.weight_decay)
    if not s.freeze_decoder:
        groups += new_layer_groups([model.decoder], s.lr_decoder, s.weight_decay)
    loader = objective.batches(s.batch_size, s.seed)
    precision = pick_precision(s.precision, next(model.parameters()).device)
    learnt = run_of(s.decoder) is not None
    state = TrainingState(run, model, groups, loader, s, precision, "score", score_start=learnt)

    for epoch in state.epochs():
        for batch in state.batches():
            objective.learn(state, *batch)

        averaged = state.averaged.eval()
        scores = {"text_loss": text_loss(averaged, held_captions, s)}
        if captions_of_valid:
            written = captions_of_valid(averaged)
            scores |= caption_scores(written, valid.caption_lists(), SCORED)
            state.tracking.show(dict(zip(valid.images["path"], valid.images["id"].map(written))), state.steps_done)
        numbers = "  ".join(f"{k} {v:.4f}" for k, v in scores.items() if isinstance(v, float))
        print(f"{'start' if epoch == START else f'epoch {epoch + 1}'}: {numbers}")
        if state.log(score=scores.get("CIDEr", -scores["text_loss"]), **scores):
            save_knight(averaged, tokenizer, description, run.folder / "best", s.half)
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
