"""Where captions of a corpus come from: a dataset, COCO, a table, a text file; see `corpora` for how each is named."""

import importlib.util
import io
import json
import zipfile
from pathlib import Path

from clipknight.data.archives import is_archive
from clipknight.data.caption_table import is_caption_table, read_caption_table
from clipknight.data.datasets import read_dataset
from clipknight.data.settings import Columns
from clipknight.data.text_files import read_text
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.errors import install
from clipknight.paths import existing
from clipknight.waiting import waiting

import numpy as np
import pandas as pd

COCO = "coco"
COCO_CAPTIONS = "coco/annotations/captions_train2014.json"  # in pycocoevalcap's spice/spice-1.0.jar


def read_source(source: str, separator: str, columns: Columns, seed: int) -> tuple[str, pd.DataFrame]:
    """A name, and a frame of id and caption."""
    if source == COCO:
        return COCO, _coco()
    if not source:
        raise ValueError("a corpus has an empty name")
    path = existing(Path(source).expanduser())
    if path.is_dir():
        return path.resolve().name if not path.is_symlink() else path.name, _training_captions(path, columns, seed)
    if not path.is_file():
        raise FileNotFoundError(f"corpus {source!r}: neither a dataset's folder, nor a file, nor {COCO!r}")
    if path.suffix.lower() == ".json" or is_archive(path):
        return path.stem, _training_captions(path, columns, seed)
    if is_caption_table(path, columns):
        rows = read_caption_table(path, columns).rows
        return path.stem, pd.DataFrame({"id": rows["name"], "caption": rows["caption"]})
    return path.stem, _text_file(path, separator)


def _training_captions(path: Path, columns: Columns, seed: int) -> pd.DataFrame:
    """Id and caption of the training split, which is made where the images are there and no split is named.

    Text alone needs no images: without them, all captions are taken where no split is named.
    """
    try:
        dataset = read_dataset(path, columns)
    except FileNotFoundError:
        dataset = read_dataset(path, columns, text_alone=True)
    else:
        if not dataset.has_splits:
            dataset = CaptionedDataset.read(path, seed=seed, columns=columns).dataset
    split_of = dataset.images.set_index("id")["split"]
    captions = dataset.captions.assign(split=dataset.captions["id"].map(split_of))
    train = captions[captions["split"] == "train"]
    if path.is_file() and train.empty or (captions["split"] == "").all():
        train = captions  # as one annotation file of COCO, which is of one split
    if train.empty:
        raise ValueError(
            f"{path} has no training captions: {dataset.summary()}; to take all, name the file that has them"
        )
    return train[["id", "caption"]].reset_index(drop=True)


def _coco() -> pd.DataFrame:
    package = importlib.util.find_spec("pycocoevalcap")
    if package is None:
        raise FileNotFoundError(f"the corpus {COCO!r} comes inside pycocoevalcap: {install('pycocoevalcap')}")
    jar = Path(next(iter(package.submodule_search_locations))) / "spice" / "spice-1.0.jar"
    with waiting("reading COCO's 414,113 captions"), zipfile.ZipFile(jar) as archive:
        annotations = pd.DataFrame(json.loads(archive.read(COCO_CAPTIONS))["annotations"])
    annotations = annotations.sort_values(["image_id", "id"], ignore_index=True)
    return pd.DataFrame({"id": annotations["image_id"].astype("str"), "caption": annotations["caption"].astype("str")})


def _text_file(path: Path, separator: str) -> pd.DataFrame:
    # Not splitlines: it would also break a line at form feeds and other characters that are inside captions.
    lines = pd.Series([line.rstrip("\n") for line in io.StringIO(read_text(path), newline=None)], dtype="str")
    parts = lines.str.extract(r"^(?P<caption>.*)\t\s*(?P<id>\S.*)$")
    numbers = pd.Series(np.arange(1, len(lines) + 1), dtype="str")
    frame = pd.DataFrame({"id": parts["id"].str.strip().fillna(numbers), "caption": parts["caption"].fillna(lines)})
    if separator:
        captions = frame["caption"].str.split(separator, regex=False)
        frame = frame.assign(caption=captions).explode("caption", ignore_index=True)
    return frame.astype("str")
