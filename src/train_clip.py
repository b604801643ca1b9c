"""Adapt a CLIP to a dataset by contrastive training, and measure retrieval on valid.

The text tower is locked by default (LiT: Zhai et al. 2022), so captions keep their meaning and the joint space of
`lite2-minilm` is the target space. First a projection is trained on cached image features, in seconds, where the
encoder has none; then the image tower is fine-tuned. Any later --encoder accepts the run:

    python src/train_clip.py --data input/flickr8k --run clip
    python src/train_b.py --data input/flickr8k --run b --encoder outputs/clip
"""

import math
from dataclasses import dataclass, replace

from clipknight.errors import parse_early, user_errors
from clipknight.ranges import Name, PositiveFew, Rate, ShareBelowOne
from clipknight.settings import parse
from clipknight.training.settings import FineTuningSettings

LARGEST_SCALE = math.log(100)  # as in CLIP: beyond, training becomes unstable


@dataclass(frozen=True, kw_only=True)
class Settings(FineTuningSettings):
    """Settings of train_clip.py"""

    run: Name = "clip"
    """name of the run: outputs/<run>"""
    lock_text: bool = True
    """keep the text tower as it is; --no_lock_text trains both towers"""
    projection_epochs: PositiveFew = 30
    """epochs of the projection alone on cached features, where the encoder has no trained one"""
    projection_dropout: ShareBelowOne = 0.0
    """share of the features left out while the projection trains alone; .7 where the tower has seen these images"""
    lr_projection: Rate = 1e-3
    """learning rate of the projection"""
    lr_text: Rate = 1e-5
    """learning rate of the text tower, where it is trained"""


if __name__ == "__main__":
    parse_early(Settings, __doc__)  # --help and typos, before the parts load

from clipknight.embedding.cache import image_embeddings
from clipknight.embedding.captioned_dataset import CaptionedDataset, refuse_unreadable
from clipknight.embedding.clip import load_clip
from clipknight.embedding.contrastive import caption_keys, compared, contrastive_loss, train_projection
from clipknight.embedding.image_encoding import encode_images
from clipknight.embedding.metrics import retrieval_recall
from clipknight.ensemble.training_images import training_images
from clipknight.preparation import prepare_process
from clipknight.processes import wait_for_everyone
from clipknight.training.learning_rates import new_layer_groups, tower_groups, tower_rates
from clipknight.training.runs import Run
from clipknight.training.state import START, TrainingState

import numpy as np
import torch


@user_errors
def main(argv=None) -> dict:
    s = parse(Settings, argv, __doc__)
    prepare_process()
    Run.at(s.run).refuse_unless_free(s.resume, s.overwrite)
    encoder = load_clip(s.encoder, s.device, s.precision)
    data = CaptionedDataset.of(s)
    train, valid = data.split("train"), data.split("valid")
    if encoder.joint and not s.epochs:
        raise ValueError(f"encoder {s.encoder!r} has a trained projection: with --epochs 0 nothing is left to train")
    if encoder.joint:  # one that is not has its images embedded, and thereby read, below
        refuse_unreadable(train.dataset)
    loader = training_images(encoder, train.dataset, s)
    s = replace(s, **tower_rates(encoder, s.lr_vision, s.layer_decay))
    keys = torch.from_numpy(np.array(caption_keys(encoder, train)))
    run = Run.start(s.run, s, "clip", resume=s.resume, overwrite=s.overwrite)

    if not encoder.joint:
        if not run.goes_on(s):
            train_projection(encoder, image_embeddings(encoder, train.dataset).vectors, train, keys, s)
        encoder = replace(encoder, joint=True, projected=True)
    fine_tune(run, encoder, loader, train, valid, keys, s)

    wait_for_everyone()  # all scores are on disk
    best = max(run.events(), key=lambda event: event["mean_recall"])
    run.finish(**{name: value for name, value in best.items() if "_r" in name})
    print(f"adapted encoder: --encoder {run.folder}")
    return best


def fine_tune(run, encoder, loader, train, valid, keys, s) -> None:
    """Train the image tower, and the text tower if wanted; keep the best epoch by recall, the start included."""
    model, loss = encoder.model, contrastive_loss()
    for name, parameter in model.named_parameters():
        if not name.startswith(("visual.", "logit_scale")):
            parameter.requires_grad_(not s.lock_text)
    encoder.locked_text = encoder.locked_text and s.lock_text
    state = TrainingState(run, model, groups_of(encoder, s), loader, s, encoder.precision, "mean_recall")
    captions = train.dataset.captions["caption"].to_numpy()

    for epoch in state.epochs():
        if epoch != START:
            chosen = train.drawn_captions(np.random.default_rng((s.seed, epoch)))
        for pixels, rows in state.batches():
            shown = chosen[rows.cpu().numpy()]
            tokens = None if s.lock_text else encoder.tokens(captions[shown].tolist()).to(pixels.device)
            outputs = state.forward(pixels.contiguous(memory_format=encoder.memory_format), tokens)
            image, text, scale = compared(outputs, model.logit_scale)
            state.learn(loss(image, keys[shown].to(image.device) if s.lock_text else text, scale))
            with torch.no_grad():
                model.logit_scale.clamp_(0, LARGEST_SCALE)

        averaged = replace(encoder, model=state.averaged)
        recalls = recalls_of(averaged, valid, s)
        title = "start" if epoch == START else f"epoch {epoch + 1}"
        print(f"{title}: valid, {len(valid.dataset)} images: {line_of(recalls)}")
        if state.log(**recalls):
            averaged.save(run.folder / "best")


def groups_of(encoder, s) -> list[dict]:
    """What learns at which rate: tower, projection and scale, and the text tower where it is trained."""
    groups = tower_groups(encoder.visual, s.lr_vision, s.layer_decay, s.freeze_below, s.weight_decay)
    if hasattr(encoder.visual, "head"):
        groups += new_layer_groups([encoder.visual.head], s.lr_projection, s.weight_decay)
    if not s.lock_text:
        tower = {id(p) for p in encoder.visual.parameters()}
        text = [p for p in encoder.model.parameters() if id(p) not in tower and p is not encoder.model.logit_scale]
        groups += [{"params": text, "lr": s.lr_text, "weight_decay": s.weight_decay}]
    return groups + [{"params": [encoder.model.logit_scale], "lr": s.lr_projection, "weight_decay": 0.0}]


def recalls_of(encoder, valid, s) -> dict[str, float]:
    """Retrieval both ways on valid, and the mean that the best epoch has most of."""
    images = encode_images(encoder, valid.dataset.images["path"].tolist(), workers=s.workers)
    recalls = retrieval_recall(images, np.asarray(caption_keys(encoder, valid)), valid.image_of_caption)
    return {**recalls, "mean_recall": float(np.mean(list(recalls.values())))}


def line_of(recalls: dict[str, float]) -> str:
    return "  ".join(
        f"{direction} R@1/5/10 " + "/".join(f"{recalls[f'{direction}_r{k}']:.3f}" for k in (1, 5, 10))
        for direction in ("image_to_text", "text_to_image")
    )


if __name__ == "__main__":
    main()
