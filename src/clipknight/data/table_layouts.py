"""Datasets described by a table: Flickr's, the prompts competition's, and any CSV or Parquet table."""

from dataclasses import replace
from pathlib import Path

from clipknight.data.caption_table import CaptionTable, read_caption_table
from clipknight.data.delimited import read_delimited
from clipknight.data.folders import VIDEO_SUFFIXES, print_once
from clipknight.data.images import IMAGE_SUFFIXES
from clipknight.data.listing import NO_CAPTIONS, NO_SPLITS, SPLIT_OF, Listing, known_splits, numbered, only
from clipknight.data.media import Media, name_videos, under_one_folder
from clipknight.data.names import ids_of
from clipknight.data.settings import Columns
from clipknight.data.text_files import read_text
from clipknight.messages import a_few, shortened

import pandas as pd

SAMPLE = "sample_submission.csv"


def flickr(folder: Path, found: list[Path], columns: Columns, media: Media) -> Listing | None:
    """Flickr8k and Flickr30k as released or as on Kaggle, and folders of videos: one table, one folder, split lists.

    Where the folder names splits, what they leave out is in none. Where it doesn't, files without captions are test.
    """
    found = [path for path in found if "lemma" not in path.name] or found  # the release has its captions twice
    table = read_caption_table(only(found), columns)
    root, captions, splits = _from_table(table, folder, media)
    lists = _split_lists(folder)
    if len(lists) and len(splits):
        raise ValueError(f"{folder} names splits twice: in the column of {found[0].name} and in lists (*Images.txt)")
    splits = lists if len(lists) else splits
    layout, kind, suffixes = _kind(table, captions["name"], "flickr")
    files = media.below(root, suffixes, captions["name"])
    captions = _released(captions, files) if media.wanted else captions
    return Listing(layout, root, files, captions, splits, "" if len(splits) else "test", kind)


def competition(folder: Path, found: list[Path], columns: Columns, media: Media) -> Listing | None:
    """Stable Diffusion - Image to Prompts: prompts.csv with or without sample_submission.csv, or the latter alone.

    Images without a prompt are the test images. Those with one are not, even where sample_submission.csv lists them:
    it lists the competition's own seven, which have prompts.
    """
    tables = {path.name for pattern in ("*.csv", "*.tsv", "*.parquet") for path in folder.glob(pattern)}
    if "prompts.csv" not in tables and tables != {"sample_submission.csv"}:
        return None
    asked = submission_ids(folder / SAMPLE)
    if "prompts.csv" in tables:
        root, captions, splits = _from_table(read_caption_table(folder / "prompts.csv", columns), folder, media)
    else:
        root, captions, splits = media.root(folder, asked["name"]), NO_CAPTIONS, NO_SPLITS
    named = pd.concat([captions["name"], splits["name"]])
    asked = asked[~asked["name"].isin(pd.concat([named, ids_of(named)]))]
    files = media.below(root, IMAGE_SUFFIXES, captions["name"])
    return Listing("competition", root, files, captions, pd.concat([splits, asked]))


def submission_ids(path: Path) -> pd.DataFrame:
    """The image ids in the `<imgId>_<number>` rows of sample_submission.csv, as test images; none without the file."""
    if not path.is_file():
        return NO_SPLITS
    table = read_delimited(path, lambda header: "imgId_eId" in header)
    if "imgId_eId" not in table.header or not table.rows:
        raise ValueError(f"{path} needs the columns imgId_eId,val and rows; its header is {a_few(table.header)}")
    names = pd.Series(table.column("imgId_eId"), dtype="str")
    if len(wrong := names.index[~names.str.contains(r"_\d+$")]):
        raise ValueError(
            f"{path}, line {table.numbers[wrong[0]]}: {shortened(names[wrong[0]])!r} is not <imgId>_<number>"
        )
    ids = names.str.replace(r"_\d+$", "", regex=True).drop_duplicates()
    return numbered(ids, f"{path.name}, image number", split="test")


def one_table(folder: Path, found: list[Path], columns: Columns, media: Media) -> Listing | None:
    """One CSV or Parquet table, which alone says which images there are. A sample_submission.csv may be beside it."""
    table = read_caption_table(only([path for path in found if path.name != SAMPLE] or found), columns)
    root, captions, splits = _from_table(table, folder, media)
    names = pd.concat([captions["name"], splits["name"]])
    layout, kind, suffixes = _kind(table, names, "table")
    files = media.named(root, names, suffixes)
    if not files and kind == "image":  # names without a suffix do not say what they are
        files = media.named(root, names, VIDEO_SUFFIXES)
        layout, kind = ("video", "video") if files else (layout, kind)
    return Listing(layout, root, files, captions, splits, media=kind)


def _kind(table: CaptionTable, names: pd.Series, layout: str) -> tuple[str, str, frozenset[str]]:
    """The layout, the medium, and its suffixes."""
    if table.names_videos or name_videos(names):
        return "video", "video", VIDEO_SUFFIXES
    return layout, "image", IMAGE_SUFFIXES


def _released(captions: pd.DataFrame, files: list[str]) -> pd.DataFrame:
    """Without captions of 2258277193_586949ec62.jpg.1, which Flickr8k describes and never released."""
    numbered_copy = captions["name"].str.contains(r"(?i)\.jpe?g\.\d$") & ~captions["name"].isin(files)
    if numbered_copy.any():
        names = captions["name"][numbered_copy].unique()
        print_once(f"left out {numbered_copy.sum():,} captions of pictures that were never released: {a_few(names)}")
    return captions[~numbered_copy]


def _from_table(table: CaptionTable, folder: Path, media: Media) -> tuple[Path, pd.DataFrame, pd.DataFrame]:
    """The image folder, the captions and the splits of a table."""
    rows = table.rows.assign(place=table.place)
    base, rows["name"] = under_one_folder(media.folder or folder, rows["name"])
    root = replace(media, folder=None).root(base, rows["name"])
    if "split" not in rows:
        return root, rows, NO_SPLITS
    rows = known_splits(rows)
    uncaptioned = (rows["split"] == "test") & (rows["caption"].str.strip() == "")  # a test image may be so
    splits = rows.drop_duplicates(["name", "split"]).drop(columns="caption")
    return root, rows[~uncaptioned].drop(columns="split"), splits


def _split_lists(folder: Path) -> pd.DataFrame:
    """The official lists, *trainImages.txt and so on: one image a line."""
    frames = [NO_SPLITS]
    for alias in ("train", "dev", "test"):
        for path in sorted(folder.glob(f"*{alias}Images.txt")):
            lines = pd.Series(read_text(path).splitlines(), dtype="str").str.strip()
            frames.append(numbered(lines, f"{path.name}, line", split=SPLIT_OF[alias])[lines != ""])
    return pd.concat(frames, ignore_index=True)
