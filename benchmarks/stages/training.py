"""Fine-tuning Model A: the steps alone, and an epoch in which pictures are read beside them."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path

import train_a
from clipknight.data.datasets import image_folder
from clipknight.devices import CORES
from clipknight.embedding.clip import load_clip
from clipknight.embedding.contrastive import contrastive_loss
from clipknight.ensemble.head_training import PredictionLoss
from clipknight.ensemble.heads import head_description, make_head
from clipknight.ensemble.model_a import ModelA
from clipknight.ensemble.training_images import training_images
from clipknight.training.learning_rates import new_layer_groups, tower_groups, tower_rates
from clipknight.training.runs import Run
from clipknight.training.state import TrainingState
from stages.base import Stage, draw_pictures
from stages.traffic import operations_and_traffic

import torch
from machine_limits import Limits, timed

BATCH, SMALL_BATCH, TARGET = 64, 16, 384


class FineTuning(Stage):
    name, unit = "fine-tuning Model A on lite2, batches of 64 in memory", "images"
    written = "AdamW on the whole model in fp32, as torch lays it out"
    bound_by = "multiplying, or memory"
    is_long = True

    def __init__(self, folder: Path, quick: bool):
        self.folder, self.items = folder, BATCH
        draw = torch.Generator().manual_seed(0)
        self.pixels = torch.randn(BATCH, 3, 224, 224, generator=draw)
        self.targets = torch.nn.functional.normalize(torch.randn(BATCH, TARGET, generator=draw), dim=-1)

    @cached_property
    def plain_model(self):
        model = model_of(load_clip(settings().encoder, "cpu", "fp32"))
        return model.to(memory_format=torch.contiguous_format).train()

    @cached_property
    def plain_optimizer(self):
        return torch.optim.AdamW(self.plain_model.parameters(), 1e-4)

    @cached_property
    def training(self) -> "Training":
        return Training(self.folder, draw_pictures(self.folder, BATCH), 0, BATCH)

    def plain(self) -> None:
        predictions = torch.nn.functional.normalize(self.plain_model(self.pixels), dim=-1)
        (1 - (predictions * self.targets).sum(-1).mean()).backward()
        self.plain_optimizer.step()
        self.plain_optimizer.zero_grad()

    def ours(self) -> None:
        self.training.step(self.pixels, self.targets)

    def least_seconds(self, limits: Limits) -> float:
        operations, traffic = operations_and_traffic(self.training.state.model, self.pixels[:2])
        return self.items * limits.seconds(operations, traffic, self.training.encoder.precision)


class Epoch(Stage):
    name, unit = "an epoch of that in batches of 16, pictures of 500 × 375 read beside it", "images"
    written = "one after the other: a `DataLoader` without workers"
    bound_by = "the steps, and reading on all cores"
    is_long = True

    def __init__(self, folder: Path, quick: bool):
        self.items = (4 if quick else 12) * SMALL_BATCH
        self.folder, self.paths = folder, draw_pictures(folder, self.items)

    def plain(self) -> None:
        self._one_after_the_other.epoch()

    def ours(self) -> None:
        self._beside.epoch()

    @cached_property
    def _one_after_the_other(self) -> "Training":
        return Training(self.folder, self.paths, 0, SMALL_BATCH)

    @cached_property
    def _beside(self) -> "Training":
        return Training(self.folder, self.paths, CORES, SMALL_BATCH)

    def least_seconds(self, limits: Limits) -> float:
        training = Training(self.folder, self.paths, 0, SMALL_BATCH)
        batches = []
        reading = timed(lambda: batches.extend(training.loader))
        steps = sum(timed(lambda pixels=p, rows=r: training.step(pixels, training.targets[rows])) for p, r in batches)
        return steps + reading / CORES


class Training:
    """train_a.py's second stage with its own settings, on pictures with targets of chance."""

    def __init__(self, folder: Path, paths: list[str], workers: int, batch_size: int):
        s = settings(
            run=str(folder / f"run{workers}"), workers=workers, batch_size=batch_size, track="none", overwrite=True
        )
        self.encoder = load_clip(s.encoder, "cpu")
        s = replace(s, **tower_rates(self.encoder, s.lr_vision, s.layer_decay))
        model = model_of(self.encoder)
        groups = tower_groups(self.encoder.visual, s.lr_vision, s.layer_decay, s.freeze_below, s.weight_decay)
        groups += new_layer_groups(model.new_layers, s.lr_fc, s.weight_decay)
        self.loader = training_images(self.encoder, image_folder(str(Path(paths[0]).parent)), s)
        run = Run.start(s.run, s, "model_a", overwrite=True)
        arguments = run, model, groups, self.loader, s, self.encoder.precision, "avg_cos"
        self.state = TrainingState(*arguments, score_start=False)
        self.loss = PredictionLoss(s.contrastive_weight, s.temperature, contrastive_loss())
        targets = torch.randn(len(paths), TARGET, generator=torch.Generator().manual_seed(0))
        self.targets = torch.nn.functional.normalize(targets, dim=-1)

    def step(self, pixels: torch.Tensor, targets: torch.Tensor) -> None:
        predictions = self.state.forward(pixels.contiguous(memory_format=self.encoder.memory_format))
        self.state.learn(self.loss(predictions, targets))

    def epoch(self) -> None:
        self.state.position = (0, 0)
        for pixels, rows in self.state.batches():
            self.step(pixels, self.targets[rows])


def settings(**given) -> train_a.Settings:
    """train_a.py's own, but for those given; what it would read its pictures from is not used."""
    return train_a.Settings(data="drawn", **given)


def model_of(encoder) -> ModelA:
    s = settings()
    return ModelA(encoder, make_head(head_description(s.head, 1280, TARGET, vars(s))))
