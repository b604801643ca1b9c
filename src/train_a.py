"""Train Model A: a CLIP image tower with an FC/LayerNorm head that predicts one target text embedding for an image.

Two stages (LP-FT): the head alone on cached image embeddings, in seconds; then tower and head together, the tower at
a small learning rate. Predictions for valid and test are written into the run.

    python src/train_a.py --data input/flickr8k --run a
    python src/train_a.py --data input/flickr8k --run clip_linear --head linear       # the plain CLIP of Che's Table 1
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from clipknight.embedding.settings import FEATURES
from clipknight.ensemble.settings import HEADS
from clipknight.errors import parse_early, user_errors
from clipknight.ranges import Few, Name, NonNegative, Positive, PositiveFew, Rate, Share, ShareBelowOne
from clipknight.settings import parse
from clipknight.training.settings import FineTuningSettings


@dataclass(frozen=True, kw_only=True)
class Settings(FineTuningSettings):
    """Settings of train_a.py"""

    run: Name = "a"
    """name of the run: outputs/<run>"""
    features: Literal[FEATURES] = "auto"
    """image embedding the head reads: auto (the encoder's own), or pooled (before its projection)"""
    head: Literal[tuple(HEADS)] = "che"
    """che (FC1, LN1, FC2, LN2, α mix), linear, or wide (a hidden layer of 2,048 with BatchNorm)"""
    alpha: Share = 0.5
    """share of h1 in the head's mix: the start of a learnt value, or the value with --no_learn_alpha"""
    learn_alpha: bool = True
    """learn α"""
    layer_norm: bool = True
    """the head's LayerNorms"""
    dropout: ShareBelowOne = 0.3
    """before each FC layer"""
    head_epochs: Few = 20
    """epochs of the head alone on cached image embeddings"""
    init_head: list[str] = field(default_factory=list)
    """corpora (coco, a dataset, a file of captions) whose captions teach the head its start, in a joint space"""
    accumulate: PositiveFew = 1
    """batches an optimizer step"""
    lr_fc: Rate = 1e-3
    """learning rate of the head (three times that while it trains alone)"""
    contrastive_weight: NonNegative = 0.0
    """weight of a contrastive loss between predictions and targets beside 1 - cos; 0 for none"""
    temperature: Positive = 0.05
    """of the contrastive loss"""
    captions: Literal["all", "one"] = "all"
    """all: the mean over an image's captions; one: a caption drawn anew each epoch"""
    augment_captions: Few = 0
    """variants of each training caption, averaged or drawn with it: synonyms and shuffled words; 0 for none"""
    augment_synonyms: Few = 2
    """words of a variant that are replaced by a synonym"""
    augment_shuffle: Few = 2
    """places that a word of a variant may move by; 0 leaves the order"""
    flip_tta: bool = False
    """predict the mean of what is said of an image and of its mirror image; encodes twice as much"""
    tta_sizes: list[PositiveFew] = field(default_factory=list)
    """image sizes at which predictions are made too, and averaged: often 1.3 to 1.5 times that of training helps"""


if __name__ == "__main__":
    parse_early(Settings, __doc__)  # --help and typos, before the parts load

from clipknight.embedding.cache import image_embeddings
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.clip import load_clip
from clipknight.embedding.contrastive import contrastive_loss
from clipknight.embedding.corpora import read_corpus
from clipknight.embedding.embeddings import Embeddings
from clipknight.embedding.image_encoding import encode_images
from clipknight.ensemble.head_training import PredictionLoss, train_head
from clipknight.ensemble.heads import head_class, head_description, make_head
from clipknight.ensemble.model_a import ModelA, apply_head, save_model_a
from clipknight.ensemble.predictors import save_split_predictions
from clipknight.ensemble.text_start import check_start, start_from_text
from clipknight.ensemble.training_images import training_images
from clipknight.ensemble.views import check_sizes
from clipknight.preparation import prepare_process
from clipknight.processes import wait_for_everyone
from clipknight.training.learning_rates import new_layer_groups, tower_groups, tower_rates
from clipknight.training.runs import Run
from clipknight.training.state import START, TrainingState

import numpy as np
import torch


@user_errors
def main(argv=None) -> float:
    s = parse(Settings, argv, __doc__)
    prepare_process()
    check_sizes(s.tta_sizes)
    if not (s.epochs or s.head_epochs or s.init_head):
        raise ValueError("--epochs 0 and --head_epochs 0 leave nothing to train: give one of them, or --init_head")
    Run.at(s.run).refuse_unless_free(s.resume, s.overwrite)
    encoder = load_clip(s.encoder, s.device, s.precision, s.features)
    if s.init_head:
        check_start(encoder, head_class(s.head))
        corpus = read_corpus(s.init_head, seed=s.seed)
    data = CaptionedDataset.of(s)
    train, valid = data.split("train"), data.split("valid")
    how = {"replaced": s.augment_synonyms, "shuffle": s.augment_shuffle}
    train = train.augmented(s.augment_captions, s.seed, s.device, **how)
    targets = torch.from_numpy(train.mean_targets())

    loader = training_images(encoder, train.dataset, s)
    s = replace(s, **tower_rates(encoder, s.lr_vision, s.layer_decay))
    features = image_embeddings(encoder, train.dataset, workers=s.workers).vectors
    run = Run.start(s.run, s, "model_a", resume=s.resume, overwrite=s.overwrite)

    description = head_description(s.head, features.shape[1], targets.shape[1], vars(s))
    torch.manual_seed(s.seed)
    head = make_head(description).to(encoder.device)
    if not run.goes_on(s):
        if s.init_head:
            start_from_text(head, encoder, features, corpus, s.target_encoder)
            print(f"head started from {len(corpus):,} captions")
        train_head(head, torch.from_numpy(np.array(features)), targets, s)
    fine_tune(run, ModelA(encoder, head), encoder, description, loader, train, valid, targets, s)

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


def fine_tune(run, model, encoder, description, loader, train, valid, targets, s) -> None:
    """Train tower and head together; keep the best epoch by valid Avg-Cos, the head on the tower as it was included."""
    groups = tower_groups(encoder.visual, s.lr_vision, s.layer_decay, s.freeze_below, s.weight_decay)
    groups += new_layer_groups(model.new_layers, s.lr_fc, s.weight_decay)
    state = TrainingState(run, model, groups, loader, s, encoder.precision, "avg_cos")
    loss = PredictionLoss(s.contrastive_weight, s.temperature, contrastive_loss())
    paths = valid.dataset.images["path"].tolist()

    for epoch in state.epochs():
        if s.captions == "one" and epoch != START:
            targets = torch.from_numpy(train.drawn_targets(np.random.default_rng((s.seed, epoch))))
        for pixels, rows in state.batches():
            predictions = state.forward(pixels.contiguous(memory_format=encoder.memory_format))
            state.learn(loss(predictions, targets[rows.cpu()].to(predictions.device)))

        tuned = state.averaged.as_encoder(encoder)
        if epoch == START:
            vectors = image_embeddings(encoder, valid.dataset, workers=s.workers).vectors
        else:
            vectors = encode_images(tuned, paths, workers=s.workers)
        score = valid.avg_cos(Embeddings(valid.dataset.ids, apply_head(state.averaged.head, vectors)))
        title = "head on the frozen tower" if epoch == START else f"epoch {epoch + 1}"
        print(f"{title}: valid Avg-Cos {score:.4f}")
        if state.log(stage="head" if epoch == START else "fine-tune", avg_cos=score):
            save_model_a(tuned, state.averaged.head, description, run.folder / "best")


if __name__ == "__main__":
    main()
