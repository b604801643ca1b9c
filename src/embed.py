"""Encode a dataset's images and captions once; every later command finds them on disk.

The other scripts encode what they need by themselves. Run this first to encode everything in one go, or to see how
long it takes; a killed run goes on where it stopped.

    python src/embed.py --data input/flickr8k
"""

import time
from dataclasses import dataclass
from typing import Literal

from clipknight.devices import PRECISIONS, BackendSettings, WorkerSettings
from clipknight.embedding.settings import FEATURES, OFFLINE, KeptDataSettings, SkippingSettings
from clipknight.engines.settings import EngineSettings
from clipknight.errors import parse_early, user_errors
from clipknight.ranges import Name, PositiveFew
from clipknight.settings import parse


@dataclass(frozen=True, kw_only=True)
class Settings(EngineSettings, WorkerSettings, BackendSettings, SkippingSettings, KeptDataSettings):
    """Settings of embed.py"""

    encoder: Name = f"{OFFLINE}@224"
    """CLIP: lite2-minilm, architecture:tag, hf-hub:..., a folder, a run; NAME@224 sets the image size"""
    features: Literal[FEATURES] = "auto"
    """image embedding: auto (the encoder's own), or pooled (before its projection)"""
    batch_size: PositiveFew = 64
    """images at a time"""
    precision: Literal["auto", *PRECISIONS] = "auto"
    """of the CLIP: auto (bf16 where the hardware has it), fp32, bf16, fp16"""


if __name__ == "__main__":
    parse_early(Settings, __doc__)  # --help and typos, before the parts load

from clipknight.data.listing import SPLITS
from clipknight.embedding.cache import caption_embeddings, image_embeddings
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.clip import load_clip
from clipknight.preparation import prepare_process


@user_errors
def main(argv=None) -> None:
    s = parse(Settings, argv, __doc__)
    prepare_process(s.backend, s.where)
    encoder = load_clip(s.encoder, s.device, s.precision, s.features)
    start = time.perf_counter()
    data = CaptionedDataset.of(s)
    print(f"{data.dataset.summary()}\ntargets  {data.targets.vectors.shape}, {time.perf_counter() - start:.0f} s")
    for name in SPLITS:
        part = data.dataset.split(name)
        if not len(part):
            continue
        start = time.perf_counter()
        images = image_embeddings(encoder, part, batch_size=s.batch_size, workers=s.workers)
        print(f"{name}: images {images.vectors.shape}, {time.perf_counter() - start:.0f} s")
        if encoder.joint and not encoder.captions_are_targets and len(part.captions):
            start = time.perf_counter()
            keys = caption_embeddings(encoder, part)
            print(f"{name}: captions {keys.vectors.shape}, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
