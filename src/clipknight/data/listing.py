"""What a dataset's layout says (a Listing), and the checked tables made of it."""

from dataclasses import dataclass
from pathlib import Path

from clipknight.data.folders import begins_as_picture, print_once, suffix_of
from clipknight.data.images import HEIC_IS_READ, HEIC_SUFFIXES
from clipknight.data.left_out import write_left_out
from clipknight.data.names import ids_of, positions
from clipknight.messages import a_few, advice, shortened

import numpy as np
import pandas as pd

SPLITS = ("train", "valid", "test", "")
SPLIT_NAMES = {
    "train": ["train", "training", "restval"],
    "valid": ["valid", "val", "validate", "validation", "dev"],
    "test": ["test", "testing"],
    "": [""],
}
SPLIT_OF = {alias: split for split, aliases in SPLIT_NAMES.items() for alias in aliases}
NO_SPLITS = pd.DataFrame(columns=["name", "split", "place", "number"], dtype="str")
NO_CAPTIONS = pd.DataFrame(columns=["name", "caption", "place", "number"], dtype="str")


@dataclass(frozen=True)
class Listing:
    """`files`: posix paths under `root`. A name is such a path, or one without its suffix.

    `captions`: name, caption, place, number; `splits`: name, split, place, number; place and number say where a row
    was read. `uncaptioned` is the split of files that have no caption and no row in `splits`.
    """

    layout: str
    root: Path
    files: list[str]
    captions: pd.DataFrame
    splits: pd.DataFrame
    uncaptioned: str = "test"
    media: str = "image"


def checked_tables(listing: Listing, skip_missing: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images (id, path, split) and captions (id, caption, caption_id) of a listing, ids in order.

    FileNotFoundError for names without a file; with `skip_missing` they are left out, counted, and listed in a file.
    ValueError for two files of one id, empty captions, images listed twice, and train or valid images without captions.
    """
    files = pd.Series(listing.files, dtype="str")
    files = files.iloc[np.argsort(ids_of(files).to_numpy(dtype=object), kind="stable")].reset_index(drop=True)
    ids = ids_of(files)
    if ids.duplicated().any():
        same = files[ids.duplicated(keep=False)]
        raise ValueError(f"files of {listing.root} that differ in their suffix alone have one id: {a_few(same, 6)}")
    captions, splits = (rows.assign(at=positions(rows["name"], files)) for rows in (listing.captions, listing.splits))
    captions, splits = _without_missing(captions, splits, listing.root, skip_missing)
    _note_near(captions, splits, files, ids)
    blank = captions[captions["caption"].fillna("").str.strip() == ""]
    if len(blank):
        raise ValueError(f"{len(blank):,} captions are empty: {_places(blank)}")
    twice = splits[splits["at"].duplicated(keep=False)].sort_values("at", kind="stable")
    if len(twice):
        raise ValueError(f"an image is in one split, once; more than once: {_places(twice)}")

    split = np.full(len(files), listing.uncaptioned, dtype=object)
    split[captions["at"]] = ""
    split[splits["at"]] = splits["split"]
    images = pd.DataFrame(
        {"id": ids, "path": f"{listing.root.as_posix()}/" + files, "split": pd.array(split, dtype="str")}
    )
    captions = captions.sort_values("at", kind="stable")
    captions = pd.DataFrame({"id": ids.iloc[captions["at"]].array, "caption": captions["caption"].array})
    captions["caption_id"] = captions["id"] + "#" + captions.groupby("id").cumcount().astype("str")
    require_captions_to_learn(images, captions)
    return images, captions


def require_captions_to_learn(images: pd.DataFrame, captions: pd.DataFrame) -> None:
    """ValueError names the train and valid images without captions."""
    bare = images["id"][images["split"].isin(["train", "valid"]).to_numpy() & ~among(images["id"], captions["id"])]
    if len(bare):
        raise ValueError(f"{len(bare):,} train or valid images have no caption: {a_few(bare)}")


def among(ids: pd.Series, known: pd.Series) -> np.ndarray:
    """Whether each of `ids` is among `known`; many times as fast as `isin` is for text."""
    return pd.Index(known.unique()).get_indexer(ids) >= 0


def numbered(names, place: str, **columns) -> pd.DataFrame:
    """A frame of name, `columns` of text, place, and number from 1."""
    texts = {key: value if isinstance(value, str) else pd.array(value, dtype="str") for key, value in columns.items()}
    names = pd.array(names, dtype="str")
    return pd.DataFrame({"name": names, **texts, "place": place, "number": np.arange(1, len(names) + 1)})


def known_splits(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with their split under our name for it. ValueError for a word that is none of SPLIT_NAMES."""
    split = rows["split"].str.strip().str.lower().map(SPLIT_OF)
    if split.isna().any():
        row = rows[split.isna()].iloc[0]
        allowed = ", ".join(filter(None, SPLIT_OF))
        raise ValueError(f"{row['place']} {row['number']}: the split {shortened(row['split'])!r} is none of {allowed}")
    return rows.assign(split=split)


def only(found: list[Path]) -> Path:
    """The file that describes the dataset, where there can be one only."""
    if len(found) > 1:
        raise ValueError(
            f"{found[0].parent} has {a_few(path.name for path in found)}; give the path of the one to read"
        )
    return found[0]


def _without_missing(
    captions: pd.DataFrame, splits: pd.DataFrame, root: Path, skip: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Only the rows whose name has a file. FileNotFoundError, unless the others are to be left out."""
    missing = pd.concat([rows[rows["at"] < 0] for rows in (captions, splits)]).drop_duplicates("name")
    if len(missing):
        text = f"{len(missing):,} files are named but not in {root}"
        if not skip:
            flag = advice("; --skip_unreadable leaves them out")
            raise FileNotFoundError(f"{text}: {_places(missing)}{_why_missing(root, missing['name'])}{flag}")
        file = write_left_out(f"{root.parent.name}-{root.name}", "missing", missing[["name", "place", "number"]])
        print_once(f"{text}, left out: {_places(missing.head(2))}, all in {file}")
    return captions[captions["at"] >= 0], splits[splits["at"] >= 0]


def _why_missing(root: Path, names: pd.Series) -> str:
    """What is there instead, of the first that has something."""
    for name in names.head(100):
        path = root / name
        if path.is_symlink():
            return f"; {a_few([name])} is a link that leads nowhere: mend or remove it"
        if suffix_of(name) in HEIC_SUFFIXES and path.is_file() and not HEIC_IS_READ:
            return f"; {a_few([name])} is there, but HEIC is not read without a package: pip install pillow-heif"
        if path.is_file() and not begins_as_picture(path):
            return f"; {a_few([name])} is there, but is of no kind that is read here"
    return ""


def _note_near(captions: pd.DataFrame, splits: pd.DataFrame, files: pd.Series, ids: pd.Series) -> None:
    """Say which names were taken for files that are not called quite the same."""
    rows = pd.concat([captions, splits]).drop_duplicates("name")
    there = files.iloc[rows["at"]].to_numpy(dtype=object)
    near = rows[(rows["name"] != there) & (rows["name"] != ids.iloc[rows["at"]].to_numpy(dtype=object))]
    if len(near):
        print_once(
            f"{len(near):,} names differ from their files' in Unicode form or capital letters alone, and are taken for "
            f"the same: {a_few(near['name'], 3)}"
        )


def _places(rows: pd.DataFrame) -> str:
    return a_few(rows["place"] + " " + rows["number"].astype("str") + " (" + rows["name"].map(shortened) + ")")
