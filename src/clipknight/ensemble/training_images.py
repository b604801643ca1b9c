"""Training images: albumentations, each transform switched by a setting, repeatable by (seed, epoch, image)."""

from clipknight.data.datasets import Dataset
from clipknight.data.images import read_image
from clipknight.embedding.clip import ClipEncoder

import albumentations as A
import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision.transforms import v2

cv2.setNumThreads(0)  # loader processes are the parallelism


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

    def __init__(self, paths: list[str], transform: A.Compose, seed: int):
        self.paths, self.transform, self.seed = paths, transform, seed

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: tuple[int, int]) -> tuple[torch.Tensor, int]:
        epoch, row = position
        self.transform.set_random_seed(int(np.random.SeedSequence((self.seed, epoch, row)).generate_state(1)[0]))
        image = np.asarray(read_image(self.paths[row]))
        return torch.from_numpy(self.transform(image=image)["image"].transpose(2, 0, 1).copy()), row


class EpochBatches:
    """Batches of (epoch, row) in a shuffled order of their own for each epoch; whole batches only. For `batch_sampler`.

    accelerate shares batches out among processes by `batch_size` and `drop_last`. The epoch travels with the row:
    loader processes keep no state that the trainer could set.
    """

    drop_last = True

    def __init__(self, rows: int, batch_size: int, seed: int):
        if rows < batch_size:
            raise ValueError(f"a batch of {batch_size} does not fit {rows} training rows: lower --batch_size")
        self.rows, self.batch_size, self.seed, self.epoch, self.start = rows, batch_size, seed, 0, 0

    def __len__(self) -> int:
        return self.rows // self.batch_size - self.start

    def set_position(self, epoch: int, batch: int) -> None:
        """Go on at `batch` of `epoch`."""
        self.epoch, self.start = epoch, batch

    def order(self) -> np.ndarray:
        """The rows in this epoch's order."""
        return np.random.default_rng((self.seed, self.epoch)).permutation(self.rows)

    def __iter__(self):
        order = self.order()
        for i in range(self.start, self.rows // self.batch_size):
            yield [(self.epoch, int(row)) for row in order[i * self.batch_size : (i + 1) * self.batch_size]]


def training_batches(encoder: ClipEncoder, dataset: Dataset, s) -> tuple[EpochBatches, DataLoader]:
    """The order of the batches and the loader that follows it, by a script's settings."""
    transform = training_transform(encoder, s.rotation, s.flip, s.crop)
    images = TrainingImages(dataset.images["path"].tolist(), transform, s.seed)
    batches = EpochBatches(len(images), s.batch_size, s.seed)
    return batches, DataLoader(images, batch_sampler=batches, num_workers=s.workers)


class BatchMixing:
    """Images of a batch mixed in pairs, and their targets in the same shares.

    Each batch by MixUp (Zhang et al. 2018; all pixels) or CutMix (Yun et al. 2019; a rectangle), whichever have an
    alpha: their shares are drawn from Beta(alpha, alpha). Draws from torch's generator.
    """

    def __init__(self, mixup: float, cutmix: float, batch_size: int):
        if min(mixup, cutmix) < 0:
            raise ValueError(f"--mixup {mixup} --cutmix {cutmix}: give 0 for none, or more")
        kinds = ((v2.MixUp, mixup), (v2.CutMix, cutmix))
        self.transforms = [kind(alpha=float(alpha), num_classes=batch_size) for kind, alpha in kinds if alpha]

    def __call__(self, pixels: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixels (B, 3, H, W) and targets (B, D), mixed; as they are without any alpha."""
        if not self.transforms:
            return pixels, targets
        kind = self.transforms[int(torch.randint(len(self.transforms), ()))]
        # Each image is a class of its own: its mixed label is the shares (B, B) of all images in it.
        mixed, shares = kind(pixels, torch.arange(len(pixels), device=pixels.device))
        return mixed, shares.to(targets) @ targets
