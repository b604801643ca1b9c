"""Datasets described by a table: Flickr's, the prompts competition's, and any CSV or Parquet table."""

from pathlib import Path

from clipknight.data.caption_table import CaptionTable, Columns, read_caption_table, read_text
from clipknight.data.images import IMAGE_SUFFIXES
from clipknight.data.listing import NO_CAPTIONS, NO_SPLITS, SPLIT_OF, Listing, known_splits, numbered, only
from clipknight.data.media import VIDEO_SUFFIXES, ids_of, image_root, listed, name_videos, under_one_folder, walk

import pandas as pd


def flickr(folder: Path, found: list[Path], columns: Columns, images: Path | None) -> Listing | None:
    """Flickr8k and Flickr30k as on Kaggle, and folders of videos: one table, every file of one folder, split lists.

    Where the folder names splits, what they leave out is in none. Where it doesn't, files without captions are test.
    """
    table = read_caption_table(only(found), columns)
    root, captions, splits = _from_table(table, folder, images)
    lists = _split_lists(folder)
    if len(lists) and len(splits):
        raise ValueError(f"{folder} names splits twice: in the column of {found[0].name} and in lists (*Images.txt)")
    splits = lists if len(lists) else splits
    video = table.image_column == "video" or name_videos(captions["name"])
    layout, media, suffixes = ("video", "video", VIDEO_SUFFIXES) if video else ("flickr", "image", IMAGE_SUFFIXES)
    return Listing(layout, root, walk(root, suffixes), captions, splits, "" if len(splits) else "test", media)


def competition(folder: Path, found: list[Path], columns: Columns, images: Path | None) -> Listing | None:
    """Stable Diffusion - Image to Prompts: prompts.csv with or without sample_submission.csv, or the latter alone.

    Images without a prompt are the test images. Those with one are not, even where sample_submission.csv lists them:
    it lists the competition's own seven, which have prompts.
    """
    tables = {path.name for pattern in ("*.csv", "*.tsv", "*.parquet") for path in folder.glob(pattern)}
    if "prompts.csv" not in tables and tables != {"sample_submission.csv"}:
        return None
    asked = _submission_ids(folder / "sample_submission.csv")
    if "prompts.csv" in tables:
        root, captions, splits = _from_table(read_caption_table(folder / "prompts.csv", columns), folder, images)
    else:
        root, captions, splits = image_root(images or folder, asked["name"]), NO_CAPTIONS, NO_SPLITS
    named = pd.concat([captions["name"], splits["name"]])
    asked = asked[~asked["name"].isin(pd.concat([named, ids_of(named)]))]
    return Listing("competition", root, walk(root, IMAGE_SUFFIXES), captions, pd.concat([splits, asked]))


def _submission_ids(path: Path) -> pd.DataFrame:
    """The image ids in the `<imgId>_<number>` rows of sample_submission.csv, as test images; none without the file."""
    if not path.is_file():
        return NO_SPLITS
    rows = pd.read_csv(path, dtype="str")
    if "imgId_eId" not in rows or rows.empty:
        raise ValueError(f"{path} needs the columns imgId_eId,val and rows")
    ids = rows["imgId_eId"].str.replace(r"_\d+$", "", regex=True).drop_duplicates()
    return numbered(ids, f"{path.name}, image number", split="test")


def one_table(folder: Path, found: list[Path], columns: Columns, images: Path | None) -> Listing | None:
    """One CSV or Parquet table, which alone says which images there are. A sample_submission.csv may be beside it."""
    table = read_caption_table(only([path for path in found if path.name != "sample_submission.csv"] or found), columns)
    root, captions, splits = _from_table(table, folder, images)
    names = pd.concat([captions["name"], splits["name"]])
    video = table.image_column == "video" or name_videos(names)
    layout, media, suffixes = ("video", "video", VIDEO_SUFFIXES) if video else ("table", "image", IMAGE_SUFFIXES)
    return Listing(layout, root, listed(root, names, suffixes), captions, splits, media=media)


def _from_table(table: CaptionTable, folder: Path, images: Path | None) -> tuple[Path, pd.DataFrame, pd.DataFrame]:
    """The image folder, the captions and the splits of a table."""
    rows = table.rows.assign(place=table.place)
    base, rows["name"] = under_one_folder(images or folder, rows["name"])
    root = image_root(base, rows["name"])
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
