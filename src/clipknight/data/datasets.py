"""A dataset: its images (or videos), their captions and splits, read from the folder users already have.

>>> data = read_dataset("input/flickr8k")                                                          # doctest: +SKIP
>>> train = data.split("train")                                                                    # doctest: +SKIP
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from clipknight.data.folders import VIDEO_SUFFIXES, print_once, suffix_of, walk
from clipknight.data.images import IMAGE_SUFFIXES
from clipknight.data.layouts import read_listing
from clipknight.data.listing import (
    NO_CAPTIONS,
    NO_SPLITS,
    SPLITS,
    Listing,
    among,
    checked_tables,
    require_captions_to_learn,
)
from clipknight.data.media import Media
from clipknight.data.names import positions
from clipknight.data.settings import Columns
from clipknight.data.sources import present, source_of
from clipknight.data.table_layouts import SAMPLE, submission_ids
from clipknight.errors import public_errors
from clipknight.messages import a_few, advice

import numpy as np
import pandas as pd


@dataclass(frozen=True, eq=False)
class Dataset:
    """`images`: id, path, split ("" for none), sorted by id. `captions`: id, caption, caption_id, in the images' order.

    An id is the path relative to the image folder without its suffix; `captions` keeps file order within an image.
    """

    name: str
    root: Path
    layout: str
    images: pd.DataFrame
    captions: pd.DataFrame
    sample_submission: Path | None = None
    media: str = "image"  # or "video": then `images` holds video files

    def __len__(self) -> int:
        return len(self.images)

    @property
    def ids(self) -> np.ndarray:
        """(N,) str."""
        return self.images["id"].to_numpy(dtype=object)

    @property
    def has_splits(self) -> bool:
        """Whether any image is in train or valid. Test alone may only mean that it has no captions."""
        return bool(self.images["split"].isin(["train", "valid"]).any())

    def split(self, name: str) -> "Dataset":
        """Only the images of one split, and their captions."""
        if name not in SPLITS:
            raise ValueError(f"no split {name!r}; {', '.join(map(repr, SPLITS))}")
        return self._of(self.images[self.images["split"] == name])

    def to_predict(self) -> "Dataset":
        """The test split, and what a sample_submission asks for: the competition's own seven images have prompts."""
        if self.sample_submission is None:
            return self.split("test")
        asked = positions(submission_ids(self.sample_submission)["name"], self.images["id"])
        return self._of(self.images[(self.images["split"] == "test") | self.images.index.isin(asked)])

    def without(self, ids: np.ndarray) -> "Dataset":
        """Only the other images, and their captions."""
        return self._of(self.images[~self.images["id"].isin(ids)])

    def first(self, count: int) -> "Dataset":
        """The first `count` images, and their captions."""
        return self._of(self.images.head(count))

    def _of(self, images: pd.DataFrame) -> "Dataset":
        captions = self.captions[among(self.captions["id"], images["id"])].reset_index(drop=True)
        return replace(self, images=images.reset_index(drop=True), captions=captions)

    def require_images(self) -> "Dataset":
        """Itself. ValueError for a dataset of videos."""
        if self.media != "image":
            raise ValueError(
                f"{self.name} holds {self.media}s, and this needs images: a folder of videos is captioned by "
                "src/caption.py FOLDER, and their captions alone teach src/train_knight.py --data DATASET"
            )
        return self

    def require_captions(self, name: str) -> "Dataset":
        """`split(name)`, with ValueError if it is empty or any of its images has no caption."""
        part = self.split(name)
        if not len(part):
            raise ValueError(f"{self.name} has no image in {name or 'no split'!r}: {self.summary()}")
        bare = part.images["id"][~among(part.images["id"], part.captions["id"])]
        if len(bare):
            raise ValueError(
                f"{len(bare):,} of {len(part):,} {name} images of {self.name} have no caption: {a_few(bare)}"
            )
        return part

    def with_split(self, split: "pd.Series | Mapping[str, str]") -> "Dataset":
        """A copy with the splits of `split` (by id); images it doesn't name keep theirs.

        KeyError for unknown ids; ValueError for unknown splits, and for train or valid images without captions.
        """
        new = pd.Series(split, dtype="str")
        at = pd.Index(self.images["id"]).get_indexer(new.index)
        if (at < 0).any():
            raise KeyError(f"{(at < 0).sum():,} ids are not in {self.name}: {a_few(new.index[at < 0])}")
        if not new.isin(SPLITS).all():
            raise ValueError(f"no split {a_few(new[~new.isin(SPLITS)].unique())}; {', '.join(map(repr, SPLITS))}")
        images = self.images.copy()
        images.iloc[at, images.columns.get_loc("split")] = new.array
        require_captions_to_learn(images, self.captions)
        return replace(self, images=images)

    def caption_lists(self) -> dict[str, list[str]]:
        """Captions by image id; images without any are absent."""
        texts = self.captions["caption"].tolist()
        counts = self.captions["id"].value_counts(sort=False)  # in order of appearance
        ends = counts.cumsum()
        return {id: texts[end - count : end] for id, count, end in zip(counts.index, counts, ends, strict=True)}

    def summary(self) -> str:
        """One line: "flickr8k (flickr): 8,091 images (train 6,000, …), 35,455 captions"."""
        counts = self.images["split"].value_counts()
        parts = ", ".join(f"{name or 'in no split'} {counts[name]:,}" for name in SPLITS if name in counts)
        return f"{self.name} ({self.layout}): {len(self):,} {self.media}s ({parts}), {len(self.captions):,} captions"


@public_errors
def read_dataset(
    folder: str | Path,
    columns: Columns = Columns(),
    images: str | Path | None = None,
    skip_missing: bool = False,
    text_alone: bool = False,
) -> Dataset:
    """Read a dataset in any of `clipknight.data.layouts.LAYOUTS`, by its folder, the file that describes it or a URL.

    `images` is the image folder, where it can't be found from the file names. No image is opened. FileNotFoundError for
    what is missing on disk, unless it is to be skipped (see `checked_tables`), or unless `text_alone` is needed: then a
    dataset without its images is one of its captioned names. ValueError for whatever else is wrong, with file and line.
    """
    if not str(folder):
        raise ValueError("no dataset is named" + advice(": --data FOLDER"))
    name, path = source_of(folder, columns)
    images = None if images is None else present(images)
    if images is not None and not images.is_dir():
        raise NotADirectoryError(f"{images} is a file; images is a folder")
    try:
        listing = read_listing(path, columns, Media(images))
        tables = checked_tables(listing, skip_missing)
    except FileNotFoundError:
        if not text_alone:
            raise
        listing = _of_captioned_names(read_listing(path, columns, Media(wanted=False)))
        tables = checked_tables(listing)
        print_once(f"{name}: not all of its {listing.media}s are there, and none is needed: its captions are read")
    root = path if path.is_dir() else path.parent
    sample = root / SAMPLE if (root / SAMPLE).is_file() else None
    return Dataset(name, root, listing.layout, *tables, sample_submission=sample, media=listing.media)


def _of_captioned_names(listing: Listing) -> Listing:
    """As if there were a file of each captioned name, and of no other."""
    names = listing.captions["name"].drop_duplicates()
    has_suffix = names.map(suffix_of).isin(IMAGE_SUFFIXES | VIDEO_SUFFIXES)  # Mr.Jones has none
    files = names.where(has_suffix, names + (".mp4" if listing.media == "video" else ".jpg"))
    named = positions(listing.splits["name"], files.reset_index(drop=True)) >= 0
    return replace(listing, files=files.tolist(), splits=listing.splits[named])


def image_folder(folder: str | Path) -> Dataset:
    """Every image below a folder, all in "test", without captions: for prediction."""
    root = present(folder)
    files = walk(root, IMAGE_SUFFIXES)
    if not files:
        raise FileNotFoundError(f"no image in {root} ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return Dataset(root.name, root, "images", *checked_tables(Listing("images", root, files, NO_CAPTIONS, NO_SPLITS)))


def listed_images(paths: Mapping[str, str]) -> Dataset:
    """The image files `paths` by id, in their order, all in "test", without captions."""
    images = pd.DataFrame({"id": list(paths), "path": list(paths.values()), "split": "test"}, dtype="str")
    return Dataset("files", Path.cwd(), "files", images, NO_CAPTIONS)
