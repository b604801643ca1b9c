"""Which layout a dataset's folder is in."""

import fnmatch
import os
import posixpath
from collections.abc import Callable
from pathlib import Path

from clipknight.data.folder_layouts import diffusiondb, image_folders, texts_beside
from clipknight.data.json_layouts import caption_lists, coco, karpathy, msrvtt, reports
from clipknight.data.listing import Listing
from clipknight.data.media import Media
from clipknight.data.settings import Columns
from clipknight.data.table_layouts import competition, flickr, one_table
from clipknight.messages import a_few

Reader = Callable[[Path, list[Path], Columns, Media], Listing | None]
# The first that fits is read: files looked for ([] in any folder), what they are, the reader (None: something else).
LAYOUTS: list[tuple[list[str], str, Reader]] = [
    (["dataset_*.json", "dataset.json"], "Karpathy's splits", karpathy),
    (["annotations/captions_*.json"], "COCO, with train2014/ and the like", coco),
    (["*videodatainfo*.json", "MSRVTT_data.json"], "MSR-VTT, with its videos", msrvtt),
    (["annotation.json"], "radiographs and reports as R2Gen has them: IU X-Ray, MIMIC-CXR, with images/", reports),
    (["captions.json"], "MSVD clips: file names and lists of captions", caption_lists),
    (["captions.txt", "captions.csv", "results.csv"], "Flickr8k or Flickr30k, with Images/", flickr),
    (["*.token.txt", "*.token"], "Flickr8k or Flickr30k as released, with its folder of images", flickr),
    (["AllVideoDescriptions.txt"], "MSVD's captions, with its clips", flickr),
    (["prompts.csv", "sample_submission.csv"], "Image to Prompts, with images/", competition),
    (
        ["metadata.jsonl", "metadata.csv", "*/metadata.jsonl", "*/metadata.csv"],
        "an imagefolder",
        image_folders,
    ),
    (["part-*/part-*.json", "part-*.json", "metadata*.parquet"], "DiffusionDB's parts", diffusiondb),
    ([], "a text beside each picture: img2dataset, webdataset, LoRA folders", texts_beside),
    (["*.csv", "*.tsv", "*.parquet"], "one table of image,caption and perhaps split", one_table),
]
TABLE_SUFFIXES = (".csv", ".txt", ".tsv", ".parquet")


def read_listing(path: Path, columns: Columns, media: Media) -> Listing:
    """The listing of a dataset's folder, or of one of its files. ValueError when it is in no known layout."""
    for patterns, _, read in LAYOUTS:
        if path.is_dir():
            found = [match for pattern in patterns for match in sorted(path.glob(pattern)) if match.is_file()]
        elif path.suffix.lower() in TABLE_SUFFIXES and not fnmatch.fnmatch(path.name, "*.token.txt"):
            found = [path] if read is one_table else []
        else:
            found = [path] if any(fnmatch.fnmatch(path.name, posixpath.basename(p)) for p in patterns) else []
        tried = found or (not patterns and path.is_dir())
        listing = read(path if path.is_dir() else path.parent, found, columns, media) if tried else None
        if listing is not None:
            return listing
    inside = f" Found: {a_few(sorted(os.listdir(path))) or 'nothing'}." if path.is_dir() else ""
    looked = ", ".join(patterns[0] if patterns else "a .txt beside each picture" for patterns, _, _ in LAYOUTS)
    raise ValueError(f"{path} is in no known layout.{inside} Looked for {looked} or another table: see input/README.md")
