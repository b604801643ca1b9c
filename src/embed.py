"""Encode a dataset's images and captions once; every later command finds them on disk.

The other scripts encode what they need by themselves. Run this first to encode everything in one go, or to see how
long it takes; a killed run goes on where it stopped. Pictures without captions, in a folder, in archives or at a URL,
are encoded part by part into a folder of parts (docs/scale.md).

    python src/embed.py --data input/flickr8k
    python src/embed.py --images s3://bucket/tars --out outputs/rows --engine ray --address auto
"""

import time
from dataclasses import dataclass
from pathlib import Path
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

    data: str = ""
    """dataset folder (or table), in the layout you have it: see input/README.md"""
    images: str = ""
    """without --data, pictures to encode: a folder, archives (tar, zip, Parquet), or a URL of either; with it, the
    folder of its images, where it does not say"""
    out: str = ""
    """without --data: folder for the embeddings, in parts"""
    overwrite: bool = False
    """replace embeddings that are finished in --out; a killed run goes on without"""
    encoder: Name = f"{OFFLINE}@224"
    """CLIP: lite2-minilm, architecture:tag, hf-hub:..., a folder, a run; NAME@224 sets the image size"""
    features: Literal[FEATURES] = "auto"
    """image embedding: auto (the encoder's own), or pooled (before its projection)"""
    batch_size: PositiveFew = 64
    """images at a time"""
    precision: Literal["auto", *PRECISIONS] = "auto"
    """of the CLIP: auto (bf16 where the hardware has it), fp32, bf16, fp16"""


def check(s: Settings) -> None:
    """ValueError for settings that say nothing, or contradict each other."""
    if bool(s.data) == bool(s.out) or (s.out and not s.images):
        raise ValueError("say what to encode: --data DATASET, or --images FOLDER --out FOLDER")


if __name__ == "__main__":
    parse_early(Settings, __doc__, check=check)  # --help and typos, before the parts load

from clipknight.data.listing import SPLITS
from clipknight.embedding.cache import caption_embeddings, image_embeddings
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.clip import load_clip, load_image_encoder
from clipknight.embedding.rows_in_parts import OpenEncoder, PictureRows, summary, write_rows_of_pictures
from clipknight.embedding.shard_writer import make_way
from clipknight.output_names import check_output
from clipknight.preparation import prepare_process


@user_errors
def main(argv=None) -> None:
    s = parse(Settings, argv, __doc__)
    prepare_process(s.backend, s.where)
    check(s)
    if s.out:
        encode_pictures(s)
        return
    encoder, start = load_clip(s.encoder, s.device, s.precision, s.features), time.perf_counter()
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


def encode_pictures(s: Settings) -> None:
    """Of pictures without captions, into a folder of parts."""
    check_output("--out", s.out, (), s.images)
    encoder = load_image_encoder(s.encoder, s.device, s.precision, s.features)
    out, start = Path(s.out), time.perf_counter()
    make_way(out, s.overwrite)
    work = PictureRows(OpenEncoder(encoder), s.batch_size, s.skip_unreadable)
    made_by = {"encoder": encoder.name, "fingerprint": encoder.fingerprint("visual")}
    rows = write_rows_of_pictures(s.images, work, out, made_by, s.workers)
    print(f"{summary(rows)}, {time.perf_counter() - start:.0f} s -> {out}")


if __name__ == "__main__":
    main()
