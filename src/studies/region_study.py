"""What sub-regions are worth on a dataset: is a caption nearer to a part of its picture than to all of it (MacCap)?

The best of ten vectors is nearer to any caption, a stranger's too. So each cosine to the picture's own captions stands
beside that to all other captions, and the retrieval that only their difference can help.

    python src/studies/region_study.py --data input/flickr8k --encoder outputs/clip --split valid --out outputs/regions
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # src/, for when nothing is installed

import json
from dataclasses import dataclass, field
from typing import Literal

from clipknight.devices import PrecisionSettings, WorkerSettings
from clipknight.embedding.settings import DataSettings, SkippingSettings
from clipknight.errors import parse_early, user_errors
from clipknight.paths import outputs
from clipknight.ranges import Few, Name, PositiveCount, PositiveFew
from clipknight.settings import load_settings, parse

BLOCK = 64  # images whose regions meet all captions at a time
AT = (1, 5, 10)

STUDY = {"settings.yaml", "scores.json", "gap.png"}  # what is always written


@dataclass(frozen=True, kw_only=True)
class Settings(WorkerSettings, PrecisionSettings, SkippingSettings, DataSettings):
    """Settings of region_study.py"""

    encoder: Name = "outputs/clip"
    """CLIP with a trained joint space: a run of train_clip.py, architecture:tag, hf-hub:..., a folder"""
    split: Literal["train", "valid", "test"] = "valid"
    """train, valid or test"""
    out: Name = field(default_factory=lambda: str(outputs() / "regions"))
    """folder for scores.json, gap.png and the pictures; files of an earlier study there are replaced"""
    limit: PositiveCount = 1000
    """images at most, the first of the split"""
    regions: PositiveFew = 10
    """sub-regions of an image"""
    pictures: Few = 6
    """photographs to draw the regions on, spread over the images"""
    batch_size: PositiveFew = 32
    """images at a time"""


if __name__ == "__main__":
    parse_early(Settings, __doc__)  # --help and typos, before the parts load

from clipknight.embedding.cache import caption_embeddings
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.clip import load_clip
from clipknight.embedding.clip_encoder import ClipEncoder
from clipknight.embedding.embeddings import unit
from clipknight.embedding.subregions import SubRegions, encode_subregions
from clipknight.files import atomic_file
from clipknight.messages import a_few
from clipknight.output_names import check_output
from clipknight.preparation import prepare_process
from clipknight.settings import save_settings

import numpy as np
import pandas as pd


@user_errors
def main(argv=None) -> dict:
    from clipknight.plots.subregion_plots import MACCAP_NOISE, gap_figure, gap_statistics, overlay  # needs an extra

    s = parse(Settings, argv, __doc__)
    check_output("--out", Path(s.out) / "settings.yaml", (), s.data, s.encoder)
    refuse_other_files(Path(s.out))
    prepare_process()
    encoder = load_clip(s.encoder, s.device, s.precision)
    if not encoder.joint:
        raise ValueError(f"encoder {s.encoder!r} has no trained joint space: adapt it with src/train_clip.py first")
    data = first_images(CaptionedDataset.of(s).split(s.split), s.limit)
    captions = caption_vectors(encoder, data)
    paths = data.dataset.images["path"].tolist()
    found = encode_subregions(encoder, paths, s.regions, s.batch_size, s.workers)

    ways = vectors_by_way(found)
    image_of = data.image_of_caption
    scores = {name: pair_scores(best_cosines(vectors, captions), image_of) for name, vectors in ways.items()}
    first = captions[np.unique(image_of, return_index=True)[1]]  # one an image: pairs that share none are independent
    gaps = {name: gap_statistics(vectors[:, 0], first) for name, vectors in ways.items() if vectors.shape[1] == 1}

    out = Path(s.out)
    save_settings(s, out / "settings.yaml")  # first, so that a study that is broken off is known for one
    for row in np.unique(np.linspace(0, len(paths) - 1, s.pictures).astype(int)):
        caption = data.dataset.captions["caption"].iloc[int(np.argmax(image_of == row))]
        figure = overlay(paths[row], encoder, s.regions, caption)
        write_figure(figure, out / f"regions-{data.dataset.ids[row].replace('/', '-')}.png")
    write_figure(gap_figure(found.whole, first), out / "gap.png")
    result = {"images": len(paths), "captions": len(captions), "scores": scores, "gap": gaps}
    with atomic_file(out / "scores.json") as temporary:
        temporary.write_text(json.dumps(result, indent=1), encoding="utf-8")
    print(f"{s.encoder}, {s.split}: {len(paths):,} images, {len(captions):,} captions, {s.regions} regions an image")
    print(pd.DataFrame.from_dict(scores, orient="index").to_string(float_format="{:.3f}".format))
    print(f"\nthe gap to a caption, one of each image (MacCap bridges it with noise of variance {MACCAP_NOISE})")
    print(pd.DataFrame.from_dict(gaps, orient="index").T.to_string(float_format="{:.4g}".format))
    print(f"-> {out}")
    return result


def refuse_other_files(folder: Path) -> None:
    """FileExistsError for a folder that has files of the names that are written, but no earlier study."""
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    own = "settings.yaml" in there and "pictures" in load_settings(folder / "settings.yaml")
    if there & STUDY and not own:
        raise FileExistsError(f"{folder} holds {a_few(sorted(there & STUDY))} of something else: choose another --out")


def first_images(data: CaptionedDataset, limit: int) -> CaptionedDataset:
    """The first `limit` images, and their captions."""
    if limit < 1:
        raise ValueError(f"--limit {limit}: take at least one image")
    dataset = data.dataset.first(limit)
    return CaptionedDataset(dataset, data.targets.aligned_to(dataset.captions["caption_id"]), data.target_name)


def caption_vectors(encoder: ClipEncoder, data: CaptionedDataset) -> np.ndarray:
    """(M, D) unit embeddings of the captions by the encoder's text tower."""
    rows = data.targets if encoder.captions_are_targets else caption_embeddings(encoder, data.dataset)
    return np.asarray(rows.vectors, dtype=np.float32)


def vectors_by_way(found: SubRegions) -> dict[str, np.ndarray]:
    """(N, m, D) unit rows by the name of each way to stand for an image: m is 1, or 10 of which the best counts."""
    mean = unit(found.regions.mean(axis=1))
    return {
        "image": found.whole[:, None],
        "mean region": mean[:, None],
        "image + mean region": unit(found.whole + mean)[:, None],
        "best region": found.regions,
        "image + best region": found.joined(1.0),
    }


def best_cosines(vectors: np.ndarray, captions: np.ndarray) -> np.ndarray:
    """(N, M) cosine of each caption (M, D) with the nearest of an image's unit rows `vectors` (N, m, D)."""
    images, count, dim = vectors.shape
    cosines = np.empty((images, len(captions)), dtype=np.float32)
    for start in range(0, images, BLOCK):
        block = vectors[start : start + BLOCK]
        cosines[start : start + BLOCK] = (block.reshape(-1, dim) @ captions.T).reshape(len(block), count, -1).max(1)
    return cosines


def pair_scores(cosines: np.ndarray, image_of: np.ndarray) -> dict[str, float]:
    """Mean cosine (N, M) of paired and of all other rows and columns, and recall@k both ways; ties count against.

    `separation`: paired less mismatched, in deviations of the mismatched.
    """
    mine = np.arange(len(cosines))[:, None] == image_of
    own, others = cosines[image_of, np.arange(len(image_of))], cosines[~mine].astype(np.float64)
    paired, mismatched = float(own.mean(dtype=np.float64)), float(others.mean())
    scores = {"paired": paired, "mismatched": mismatched, "separation": (paired - mismatched) / float(others.std())}
    best_own = np.where(mine, cosines, -np.inf).max(axis=1)
    caption_rank = ((cosines >= best_own[:, None]) & ~mine).sum(axis=1)
    image_rank = (cosines >= own).sum(axis=0) - 1
    scores |= {f"i2t_r{k}": float((caption_rank < k).mean()) for k in AT}
    return scores | {f"t2i_r{k}": float((image_rank < k).mean()) for k in AT}


def write_figure(figure, path: Path) -> None:
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110)


if __name__ == "__main__":
    main()
