"""Adapt a CLIP to a dataset by contrastive training, and measure retrieval on valid.

The text tower is locked by default (LiT: Zhai et al. 2022), so captions keep their meaning and the joint space of
`lite2-minilm` is the target space. First a projection is trained on cached image features, in seconds, where the
encoder has none; then the image tower is fine-tuned. Any later --encoder accepts the run:

    python src/train_clip.py --data input/flickr8k --run clip
    python src/train_b.py --data input/flickr8k --run b --encoder outputs/clip
"""

import math
from dataclasses import dataclass, replace

from clipknight.embedding.cache import caption_embeddings, encode_images, image_embeddings
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.clip import load_clip
from clipknight.embedding.metrics import retrieval_recall
from clipknight.ensemble.training_images import training_batches
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
    """Settings of train_clip.py"""

    run: str = "clip"
    """name of the run: outputs/<run>"""
    lock_text: bool = True
    """keep the text tower as it is; --no_lock_text trains both towers"""
    projection_epochs: int = 30
    """epochs of the projection alone on cached features, where the encoder has no trained one"""
    projection_dropout: float = 0.0
    """share of the features left out while the projection trains alone; .7 where the tower has seen these images"""
    lr_projection: float = 1e-3
    """learning rate of the projection"""
    lr_text: float = 1e-5
    """learning rate of the text tower, where it is trained"""


@user_errors
def main(argv=None) -> dict:
    s = parse(Settings, argv, __doc__)
    if not 0 <= s.projection_dropout < 1:
        raise ValueError(f"--projection_dropout {s.projection_dropout} is no share from 0 to below 1")
    Run.at(s.run).refuse_unless_free(s.resume, s.overwrite)
    encoder = load_clip(s.encoder, s.device, s.precision)
    data = CaptionedDataset.of(s)
    train, valid = data.split("train"), data.split("valid")
    keys = keys_of(encoder, train)
    if encoder.joint and not s.epochs:
        raise ValueError(f"encoder {s.encoder!r} has a trained projection: with --epochs 0 nothing is left to train")
    run = Run.start(s.run, s, "clip", resume=s.resume, overwrite=s.overwrite)

    if not encoder.joint:
        going_on = s.resume and (run.folder / "last" / "state.pt").is_file()
        if not going_on:
            run.forget_events_after(epoch=-2)  # of a first stage that was cut short
            train_projection(encoder, image_embeddings(encoder, train.dataset).vectors, train, keys, s)
        encoder = replace(encoder, joint=True, projected=True)
        if not going_on:
            score(run, encoder, valid, epoch=-1)
            if in_main_process():
                encoder.save(run.folder / "best")
    wait_for_everyone()  # scores of the first stage are on disk
    summary = fine_tune(run, encoder, train, valid, keys, s) if s.epochs else run.events()[-1]
    run.finish(**{name: value for name, value in summary.items() if "_r" in name})
    print(f"adapted encoder: --encoder {run.folder}")
    return summary


def keys_of(encoder, data):
    """(M, D) caption keys: the targets where the text tower is the target encoder; cached unless it learns."""
    if encoder.captions_are_targets:
        return data.targets.vectors
    if encoder.locked_text:
        return caption_embeddings(encoder, data.dataset).vectors
    captions = data.dataset.captions["caption"].tolist()
    return np.concatenate([encoder.encode_captions(captions[i : i + 256]) for i in range(0, len(captions), 256)])


def train_projection(encoder, features, train, keys, s) -> None:
    """Train the image projection on cached unit features (N, D), the towers as they are."""
    torch.manual_seed(s.seed)
    projection, scale = encoder.visual.head, encoder.model.logit_scale
    features, keys = torch.from_numpy(np.array(features)), torch.from_numpy(np.array(keys))
    # The tower gives raw pooled features, the cache unit ones; a linear layer cannot tell, up to its output's length.
    batch, steps = min(1024, len(features)), s.projection_epochs * max(1, len(features) // 1024)
    optimizer = torch.optim.AdamW(
        [*projection.parameters(), scale], lr=s.lr_projection * 3, weight_decay=s.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, s.lr_projection * 3, total_steps=max(2, steps))
    draw, loss = np.random.default_rng(s.seed), ClipLoss()
    device = encoder.device
    for step in tqdm(range(steps), desc="projection", unit="step"):
        if step % max(1, len(features) // 1024) == 0:
            order, chosen = draw.permutation(len(features)), train.drawn_captions(draw)
        rows = order[(start := step * batch % (len(features) - batch + 1)) : start + batch]
        seen = nn.functional.dropout(features[rows].to(device), s.projection_dropout)
        images = nn.functional.normalize(projection(seen), dim=-1)
        loss(images, keys[chosen[rows]].to(device), scale.exp()).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()


def fine_tune(run, encoder, train, valid, keys, s) -> dict:
    accelerator = Accelerator(cpu=encoder.device.type == "cpu", mixed_precision=mixed(encoder.precision))
    model, loss = encoder.model, ClipLoss(rank=accelerator.process_index, world_size=accelerator.num_processes)
    encoder.locked_text = encoder.locked_text and s.lock_text
    for name, parameter in model.named_parameters():
        if not name.startswith(("visual.", "logit_scale")):
            parameter.requires_grad_(not s.lock_text)
    batches, loader = training_batches(encoder, train.dataset, s)
    per_epoch = math.ceil(len(batches) / accelerator.num_processes)
    steps = per_epoch * s.epochs
    state = TrainingState(model, groups_of(encoder, s), steps, s.warmup, s.ema)
    state.best = max((event["mean_recall"] for event in run.events()), default=state.best)
    last = run.folder / "last" / "state.pt"
    if s.resume and last.is_file():
        state.load(last)
        run.forget_events_after(epoch=state.position[0] - 1)
    wrapped, state.optimizer, loader = accelerator.prepare(model, state.optimizer, loader)
    keys, captions = torch.from_numpy(np.array(keys)), train.dataset.captions["caption"].to_numpy()

    for epoch in range(state.position[0], s.epochs):
        chosen = train.drawn_captions(np.random.default_rng((s.seed, epoch)))
        batches.set_position(epoch, state.position[1] * accelerator.num_processes)
        for pixels, rows in tqdm(loader, total=len(batches), desc=f"epoch {epoch + 1}/{s.epochs}", unit="batch"):
            wrapped.train()
            freeze_batch_norm(wrapped)
            torch.manual_seed(s.seed * 1_000_003 + state.steps_done)
            rows = rows.cpu().numpy()
            tokens = None if s.lock_text else encoder.tokens(captions[chosen[rows]].tolist()).to(encoder.device)
            with accelerator.autocast():
                image, text, scale = wrapped(pixels.to(encoder.device, memory_format=torch.channels_last), tokens)[:3]
            text = keys[chosen[rows]].to(encoder.device) if s.lock_text else text.float()
            value = loss(image.float(), text, scale)
            accelerator.backward(value)
            state.epoch_loss += value.item()
            state.step(1.0, accelerator)
            with torch.no_grad():
                model.logit_scale.clamp_(0, math.log(100))  # as in CLIP: beyond, training becomes unstable
            state.position = (epoch, state.position[1] + 1)
            if state.steps_done % s.save_every == 0 and accelerator.is_main_process:
                state.save(last)
        epoch_loss, state.epoch_loss, state.position = state.epoch_loss / per_epoch, 0.0, (epoch + 1, 0)
        averaged = replace(encoder, model=state.averaged)
        recalls = score(run, averaged, valid, epoch, loss=epoch_loss)
        if accelerator.is_main_process:
            if recalls["mean_recall"] > state.best:
                state.best = recalls["mean_recall"]
                averaged.save(run.folder / "best")
            state.save(last)
    return max(run.events(), key=lambda event: event["mean_recall"])


def groups_of(encoder, s) -> list[dict]:
    groups = tower_groups(encoder.visual, s.lr_vision, s.layer_decay, s.freeze_below, s.weight_decay)
    if hasattr(encoder.visual, "head"):
        groups += new_layer_groups([encoder.visual.head], s.lr_projection, s.weight_decay)
    if not s.lock_text:
        tower = {id(p) for p in encoder.visual.parameters()}
        text = [p for p in encoder.model.parameters() if id(p) not in tower and p is not encoder.model.logit_scale]
        groups += [{"params": text, "lr": s.lr_text, "weight_decay": s.weight_decay}]
    return groups + [{"params": [encoder.model.logit_scale], "lr": s.lr_projection, "weight_decay": 0.0}]


def score(run, encoder, valid, epoch: int, **more) -> dict:
    """Log and print retrieval both ways on valid."""
    images = encode_images(encoder, valid.dataset.images["path"].tolist())
    recalls = retrieval_recall(images, np.asarray(keys_of(encoder, valid)), valid.image_of_caption)
    recalls["mean_recall"] = float(np.mean(list(recalls.values())))
    run.log(epoch=epoch, **recalls, **more)
    print(
        f"valid, {len(images)} images: "
        + "  ".join(
            f"{way} R@1/5/10 " + "/".join(f"{recalls[f'{way}_r{k}']:.3f}" for k in (1, 5, 10))
            for way in ("image_to_text", "text_to_image")
        )
    )
    return recalls


if __name__ == "__main__":
    main()
