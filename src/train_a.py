"""Train Model A: a CLIP image tower with an FC/LayerNorm head that predicts one target text embedding for an image.

Two stages (LP-FT): the head alone on cached image embeddings, in seconds; then tower and head together, the tower at
a small learning rate. Predictions for valid and test are written into the run.

    python src/train_a.py --data input/flickr8k --run a
    python src/train_a.py --data input/flickr8k --run clip_linear --head linear       # the plain CLIP of Che's Table 1
"""

import copy
import math
from dataclasses import dataclass, field, replace

from clipknight.embedding.cache import encode_images, image_embeddings
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.clip import load_clip
from clipknight.embedding.corpora import read_corpus
from clipknight.embedding.embeddings import Embeddings
from clipknight.ensemble.heads import HEADS, head_description, make_head
from clipknight.ensemble.model_a import ModelA, apply_head, save_model_a
from clipknight.ensemble.predictors import save_split_predictions
from clipknight.ensemble.text_start import check_start, start_from_text
from clipknight.ensemble.training_images import BatchMixing, training_batches
from clipknight.ensemble.views import check_sizes
from clipknight.errors import user_errors
from clipknight.processes import in_main_process, wait_for_everyone
from clipknight.settings import parse
from clipknight.training.runs import Run
from clipknight.training.settings import FineTuningSettings
from clipknight.training.state import TrainingState, freeze_batch_norm, mixed, new_layer_groups, tower_groups

import numpy as np
import torch
from accelerate import Accelerator
from open_clip import ClipLoss
from torch import nn
from tqdm import tqdm


@dataclass(frozen=True, kw_only=True)
class Settings(FineTuningSettings):
    """Settings of train_a.py"""

    run: str = "a"
    """name of the run: outputs/<run>"""
    features: str = "auto"
    """image embedding the head reads: auto (the encoder's own), or pooled (before its projection)"""
    head: str = "che"
    """che (FC1, LN1, FC2, LN2, α mix), linear, or wide (a hidden layer of 2,048 with BatchNorm)"""
    alpha: float = 0.5
    """share of h1 in the head's mix: the start of a learnt value, or the value with --no_learn_alpha"""
    learn_alpha: bool = True
    """learn α"""
    layer_norm: bool = True
    """the head's LayerNorms"""
    dropout: float = 0.3
    """before each FC layer"""
    head_epochs: int = 20
    """epochs of the head alone on cached image embeddings"""
    init_head: list[str] = field(default_factory=list)
    """corpora (coco, a dataset, a file of captions) whose captions teach the head its start, in a joint space"""
    accumulate: int = 1
    """batches an optimizer step"""
    lr_fc: float = 1e-3
    """learning rate of the head (three times that while it trains alone)"""
    contrastive_weight: float = 0.0
    """weight of a contrastive loss between predictions and targets beside 1 - cos; 0 for none"""
    temperature: float = 0.05
    """of the contrastive loss"""
    mixup: float = 0.0
    """MixUp of a batch's images and targets: alpha of the Beta distribution of their shares; 0 for none"""
    cutmix: float = 0.0
    """CutMix likewise; with both each batch takes one of them by chance"""
    captions: str = "all"
    """all: the mean over an image's captions; one: a caption drawn anew each epoch"""
    augment_captions: int = 0
    """variants of each training caption, averaged or drawn with it: synonyms and shuffled words; 0 for none"""
    augment_synonyms: int = 2
    """words of a variant that are replaced by a synonym"""
    augment_shuffle: int = 2
    """places that a word of a variant may move by; 0 leaves the order"""
    flip_tta: bool = False
    """predict the mean of what is said of an image and of its mirror image; encodes twice as much"""
    tta_sizes: list[int] = field(default_factory=list)
    """image sizes at which predictions are made too, and averaged: often 1.3 to 1.5 times that of training helps"""


@user_errors
def main(argv=None) -> float:
    s = parse(Settings, argv, __doc__)
    for flag, choices in (("head", tuple(HEADS)), ("captions", ("all", "one"))):
        if getattr(s, flag) not in choices:
            raise ValueError(f"--{flag} {getattr(s, flag)!r} is none of {', '.join(choices)}")
    check_sizes(s.tta_sizes)
    BatchMixing(s.mixup, s.cutmix, s.batch_size)  # refuses before any work
    Run.at(s.run).refuse_unless_free(s.resume, s.overwrite)
    encoder = load_clip(s.encoder, s.device, s.precision, s.features)
    if s.init_head:
        check_start(encoder, HEADS[s.head])
        corpus = read_corpus(s.init_head, seed=s.seed)
    data = CaptionedDataset.of(s)
    train, valid = data.split("train"), data.split("valid")
    how = {"replaced": s.augment_synonyms, "shuffle": s.augment_shuffle}
    train = train.augmented(s.augment_captions, s.seed, s.device, **how)
    targets = torch.from_numpy(train.mean_targets())

    features = image_embeddings(encoder, train.dataset, workers=s.workers).vectors
    run = Run.start(s.run, s, "model_a", resume=s.resume, overwrite=s.overwrite)
    description = head_description(s.head, features.shape[1], targets.shape[1], vars(s))
    torch.manual_seed(s.seed)
    head = make_head(description).to(encoder.device)
    if not (s.resume and (run.folder / "last" / "state.pt").is_file()):
        run.forget_events_after(epoch=-2)  # of a first stage that was cut short
        if s.init_head:
            start_from_text(head, encoder, features, corpus, s.target_encoder)
            print(f"head started from {len(corpus):,} captions")
        train_head(head, torch.from_numpy(np.array(features)), targets, s)
        frozen = image_embeddings(encoder, valid.dataset, workers=s.workers)
        score = valid.avg_cos(Embeddings(frozen.ids, apply_head(head, frozen.vectors)))
        run.log(epoch=-1, stage="head", avg_cos=score)
        print(f"head on the frozen tower: valid Avg-Cos {score:.4f}")
        if in_main_process():
            save_model_a(replace(encoder, joint=False), head, description, run.folder / "best")
    if s.epochs:
        fine_tune(run, encoder, head, description, train, valid, targets, s)

    wait_for_everyone()  # the best model is on disk
    save_split_predictions(run, data.dataset, s)
    score = valid.avg_cos(run.predictions("valid"))
    counts = {"valid_images": len(valid.dataset), "valid_pairs": len(valid.targets)}
    counts |= {"train_images": len(train.dataset), "train_captions": len(train.targets)}
    run.finish(avg_cos=score, **counts)
    print(
        f"Model A: valid Avg-Cos {score:.4f}, {len(valid.dataset)} images, {len(valid.targets)} pairs -> {run.folder}"
    )
    return score


def train_head(head: nn.Module, features: torch.Tensor, targets: torch.Tensor, s: Settings) -> None:
    """Train the head alone on cached image embeddings (N, D)."""
    device = next(head.parameters()).device
    batch = min(256, len(features))
    steps = s.head_epochs * (len(features) // batch)
    state = TrainingState(head, new_layer_groups([head], 3 * s.lr_fc, s.weight_decay), steps, s.warmup, ema_decay=0)
    head.train()
    with tqdm(total=steps, desc="head", unit="step") as bar:
        for epoch in range(s.head_epochs):
            order = np.random.default_rng((s.seed, epoch)).permutation(len(features))
            for start in range(0, len(order) - batch + 1, batch):
                rows = torch.from_numpy(order[start : start + batch])
                loss(head(features[rows].to(device)), targets[rows].to(device), s).backward()
                state.step(1.0)
                bar.update()


def loss(predictions: torch.Tensor, targets: torch.Tensor, s: Settings, contrast=ClipLoss()) -> torch.Tensor:
    """1 − cos to the captions' targets, averaged, plus the weighted contrastive term. (B, D) both."""
    predictions = nn.functional.normalize(predictions.float(), dim=-1)
    # The dot product with the mean of unit targets is the mean of the cosines with each of them.
    value = 1 - (predictions * targets).sum(-1).mean()
    if s.contrastive_weight:
        unit_targets = nn.functional.normalize(targets, dim=-1)
        value = value + s.contrastive_weight * contrast(predictions, unit_targets, 1 / s.temperature)
    return value


def fine_tune(run, encoder, head, description, train, valid, targets, s) -> None:
    """Train tower and head; keep the best epoch by valid Avg-Cos."""
    accelerator = Accelerator(
        cpu=encoder.device.type == "cpu",
        mixed_precision=mixed(encoder.precision),
        gradient_accumulation_steps=s.accumulate,
    )
    contrast = ClipLoss(rank=accelerator.process_index, world_size=accelerator.num_processes)
    model = ModelA(encoder, head)
    groups = tower_groups(encoder.visual, s.lr_vision, s.layer_decay, s.freeze_below, s.weight_decay)
    new_layers = [head, encoder.visual.head] if encoder.projected and hasattr(encoder.visual, "head") else [head]
    groups += new_layer_groups(new_layers, s.lr_fc, s.weight_decay)
    batches, loader = training_batches(encoder, train.dataset, s)
    mix = BatchMixing(s.mixup, s.cutmix, s.batch_size)
    per_epoch = len(batches)
    steps = math.ceil(per_epoch / s.accumulate / accelerator.num_processes) * s.epochs
    state = TrainingState(model, groups, steps, s.warmup, s.ema)
    state.best = max((event["avg_cos"] for event in run.events()), default=state.best)
    last = run.folder / "last" / "state.pt"
    if s.resume and last.is_file():
        state.load(last)
        run.forget_events_after(epoch=state.position[0] - 1)
    wrapped, state.optimizer, loader = accelerator.prepare(model, state.optimizer, loader)

    for epoch in range(state.position[0], s.epochs):
        batches.set_position(epoch, state.position[1] * accelerator.num_processes)
        drawn = (
            torch.from_numpy(train.drawn_targets(np.random.default_rng((s.seed, epoch))))
            if s.captions == "one"
            else targets
        )
        with tqdm(loader, total=len(batches), desc=f"epoch {epoch + 1}/{s.epochs}", unit="batch") as bar:
            for pixels, rows in bar:
                wrapped.train()
                freeze_batch_norm(wrapped)
                torch.manual_seed(s.seed * 1_000_003 + epoch * per_epoch + state.position[1])
                pixels, wanted = mix(pixels.to(encoder.device), drawn[rows.cpu()].to(encoder.device))
                with accelerator.accumulate(wrapped):
                    with accelerator.autocast():
                        predictions = wrapped(pixels.contiguous(memory_format=torch.channels_last))
                    value = loss(predictions, wanted, s, contrast)
                    accelerator.backward(value)
                    if accelerator.sync_gradients:
                        state.step(1.0, accelerator)
                state.epoch_loss += value.item()
                bar.set_postfix(loss=f"{value.item():.4f}")
                state.position = (epoch, state.position[1] + 1)
                if accelerator.sync_gradients and state.steps_done % s.save_every == 0 and accelerator.is_main_process:
                    state.save(last)
        epoch_loss, state.epoch_loss, state.position = state.epoch_loss / per_epoch, 0.0, (epoch + 1, 0)
        averaged = state.averaged
        tuned = replace(encoder, model=with_visual(encoder.model, averaged.visual), joint=False)
        embeddings = encode_images(tuned, valid.dataset.images["path"].tolist(), workers=s.workers)
        score = valid.avg_cos(Embeddings(valid.dataset.ids, apply_head(averaged.head, embeddings)))
        run.log(epoch=epoch, stage="fine-tune", avg_cos=score, loss=epoch_loss)
        print(f"epoch {epoch + 1}: valid Avg-Cos {score:.4f}")
        if accelerator.is_main_process:
            if score > state.best:
                state.best = score
                save_model_a(tuned, averaged.head, description, run.folder / "best")
            state.save(last)


def with_visual(model: nn.Module, visual: nn.Module) -> nn.Module:
    """A CLIP that shares everything with `model` but its image tower."""
    other = copy.copy(model)
    other._modules = {**model._modules, "visual": visual}
    return other


if __name__ == "__main__":
    main()
