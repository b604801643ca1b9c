"""Training images: albumentations, each transform switched by a setting, repeatable by (seed, epoch, image)."""

import math

from clipknight.data.datasets import Dataset
from clipknight.data.images import middle_of_strip, read_image
from clipknight.embedding.clip_encoder import ClipEncoder
from clipknight.processes import process_count
from clipknight.training.batches import EpochBatches

import albumentations as A
import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset


def training_transform(encoder: ClipEncoder, rotation: float, flip: bool, crop: float) -> A.Compose:
    """Rotation by up to `rotation` degrees, horizontal `flip`, random crop of at least the share `crop` of the area.

    `crop=1` resizes only. Size, mean and deviation are the encoder's.
    """
    size, cfg = encoder.image_size, encoder.preprocess_cfg
    if crop < 1:
        resize = A.RandomResizedCrop(
            (size, size),
            scale=(crop, 1.0),
            ratio=(0.85, 1.18),
            interpolation=cv2.INTER_CUBIC,
            area_for_downscale="image",
        )
    else:
        resize = A.Compose(
            [
                A.SmallestMaxSize(size, interpolation=cv2.INTER_CUBIC, area_for_downscale="image"),
                A.CenterCrop(size, size),
            ]
        )
    rotate = [A.Rotate(rotation, border_mode=cv2.BORDER_REFLECT_101)] if rotation else []
    mirror = [A.HorizontalFlip()] if flip else []
    return A.Compose([*rotate, resize, *mirror, A.Normalize(cfg.mean, cfg.std)])


class TrainingImages(TorchDataset):
    """(pixels (3, H, W), row) of image `row`, augmented anew each epoch, the same for the same seed, epoch and row."""

    def __init__(self, paths: list[str], transform: A.Compose, seed: int, at_least: int = 0):
        self.paths, self.transform, self.seed, self.at_least = paths, transform, seed, at_least

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: tuple[int, int]) -> tuple[torch.Tensor, int]:
        epoch, row = position
        self.transform.set_random_seed(int(np.random.SeedSequence((self.seed, epoch, row)).generate_state(1)[0]))
        image = np.asarray(middle_of_strip(read_image(self.paths[row], self.at_least)))
        return torch.from_numpy(self.transform(image=image)["image"].transpose(2, 0, 1).copy()), row


def training_images(encoder: ClipEncoder, dataset: Dataset, s) -> DataLoader:
    """Batches of (pixels (B, 3, H, W), rows (B,)) by a script's settings, in the order of EpochBatches."""
    cv2.setNumThreads(0)  # loader processes, which inherit this, are the parallelism
    transform = training_transform(encoder, s.rotation, s.flip, s.crop)
    at_least = math.ceil(2 * encoder.image_size / s.crop**0.5)  # sides of which the smallest crop still is to be shrunk
    images = TrainingImages(dataset.images["path"].tolist(), transform, s.seed, at_least)
    batch_size = s.batch_size if s.epochs else 1  # where the tower is left as it is, any number of images will do
    batches = EpochBatches(len(images), batch_size, s.seed, process_count())
    return DataLoader(images, batch_sampler=batches, num_workers=s.workers)
