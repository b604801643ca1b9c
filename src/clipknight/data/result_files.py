"""Files of captions by image, and which image among known ones each caption is of."""

import json
import posixpath
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from clipknight.data.caption_table import read_caption_table
from clipknight.data.folders import VIDEO_SUFFIXES
from clipknight.data.images import IMAGE_SUFFIXES
from clipknight.data.json_files import ID, TEXT, is_of, read_json, records, shown
from clipknight.data.json_layouts import karpathy_images
from clipknight.data.listing import numbered
from clipknight.files import atomic_file
from clipknight.messages import a_few

import numpy as np
import pandas as pd

FORMS = (
    "COCO results, a list of {image_id, caption}; COCO annotations, {images, annotations}; Karpathy's and MSR-VTT's "
    "JSON; or lists of captions by file, {file: [caption, ...]}"
)
RESULT = {"image_id": ID, "caption": TEXT}
OTHER_NAMES = ("file", "id")


def read_captions(path: str | Path) -> pd.DataFrame:
    """Rows of name (image id or file), caption, place and number, from a table (CSV, Parquet) or any JSON of FORMS.

    Where a file knows its images by other names too (file names, ids), they are in OTHER_NAMES. ValueError with file
    and place for whatever is wrong.
    """
    path = Path(path)
    if path.suffix.lower() != ".json":
        table = read_caption_table(path)
        return table.rows[["name", "caption", "number"]].assign(place=table.place)
    data = read_json(path)
    if data in ([], {}):
        raise ValueError(f"{path} has no captions")
    if isinstance(data, list):
        rows = _coco_rows(path, "entry", records(path, {"entries": data}, "entries", RESULT))
    elif isinstance(data, dict) and isinstance(data.get("annotations"), list):
        rows = _coco_annotations(path, data)
    elif isinstance(data, dict) and isinstance(data.get("sentences"), list):  # MSR-VTT's
        said = records(path, data, "sentences", {"video_id": TEXT, "caption": TEXT})
        names, texts = ([entry[key] for entry in said] for key in ("video_id", "caption"))
        rows = numbered(names, f"{path.name}, sentence", caption=texts)
    elif isinstance(data, dict) and isinstance(data.get("images"), list):
        rows = _karpathy_rows(path, karpathy_images(path, data))
    else:
        rows = _rows_by_file(path, data)
    if rows.empty:
        raise ValueError(f"{path} has no captions")
    return rows


def write_captions(
    captions: Mapping[str, str],
    path: str | Path,
    reasons: Mapping[str, dict] | None = None,
    confidences: Mapping[str, float] | None = None,
) -> None:
    """Captions by image or video name: CSV of image,caption, or COCO's JSON of results, which go on with `reasons`.

    Both have a `confidence` too, if there are `confidences`.
    """
    more = {name: {"confidence": confidences[name]} for name in captions} if confidences else {}
    with atomic_file(path) as temporary:
        if Path(path).suffix == ".csv":
            rows = [{"image": name, "caption": caption, **more.get(name, {})} for name, caption in captions.items()]
            columns = ["image", "caption", "confidence"][: 3 if more else 2]
            pd.DataFrame(rows, columns=columns).to_csv(temporary, index=False)
            return
        results = [
            {"image_id": name, "caption": caption, **more.get(name, {}), **(reasons or {}).get(name, {})}
            for name, caption in captions.items()
        ]
        temporary.write_text(json.dumps(results, ensure_ascii=False, indent=1), encoding="utf-8")


def one_an_image(rows: pd.DataFrame, path: str | Path) -> pd.Series:
    """Captions by name. ValueError lists images that have several."""
    twice = rows["name"][rows["name"].duplicated()].unique()
    if len(twice):
        raise ValueError(f"{path} has several captions of {len(twice):,} images, not one each: {a_few(twice)}")
    return rows["caption"].set_axis(rows["name"])


def rows_of_images(ids: np.ndarray, names: pd.Series) -> np.ndarray:
    """Row of each name among `ids`, equal or but for an image or video suffix; -1 for none.

    ValueError if ids become one without their suffix.
    """
    media = sorted(suffix[1:] for suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES)
    suffixes = rf"(?i)\.({'|'.join(media)})$"
    names = names.str.replace("\\", "/", regex=False).map(_composed)
    ids = np.array([_composed(name) for name in ids], dtype=object)
    at = pd.Index(ids).get_indexer(names)
    if (at >= 0).all():
        return at
    plain = pd.Index(pd.Series(ids, dtype="str").str.replace(suffixes, "", regex=True))
    if not plain.is_unique:
        raise ValueError(f"images that differ in their suffix alone: {a_few(plain[plain.duplicated()])}")
    return np.where(at < 0, plain.get_indexer(names.str.replace(suffixes, "", regex=True)), at)


def references_of(
    ids: np.ndarray, source: str | Path, references: str | Path, allow_partial: bool = False
) -> tuple[pd.DataFrame, int]:
    """Rows of the file `references`, with `at`: the row of the image among `ids`, those of the file `source`.

    ValueError for empty captions, and for images that one file alone has; `allow_partial` leaves out what `source`
    lacks, and the second result is how many images.
    """
    rows = read_captions(references)
    blank = rows["number"][rows["caption"].str.strip() == ""]
    if len(blank):
        raise ValueError(f"{references}: empty captions in rows {a_few(blank)}")
    at = rows_of_images(ids, rows["name"])
    for other in OTHER_NAMES:
        if other in rows and (at < 0).all():
            at = rows_of_images(ids, rows[other])
    unknown = rows["name"][at < 0].unique()
    if len(unknown) and not allow_partial:
        raise ValueError(
            f"{len(unknown):,} captioned images are not in {source}: {a_few(unknown)}; to leave them out pass "
            "--allow_partial"
        )
    uncaptioned = np.setdiff1d(np.arange(len(ids)), at)
    if len(uncaptioned):
        raise ValueError(
            f"{len(uncaptioned):,} of {len(ids):,} images of {source} have no caption in {references}: "
            f"{a_few(ids[uncaptioned])}"
        )
    return rows.assign(at=at)[at >= 0], len(unknown)


def by_known_id(captions: pd.Series, ids: np.ndarray, place: str | Path) -> dict[str, str]:
    """`captions` (by name) by the id their image has among `ids`. ValueError lists the images that `place` lacks."""
    at = rows_of_images(ids, captions.index.to_series())
    if (at < 0).any():
        raise ValueError(f"{(at < 0).sum():,} captioned images are not in {place}: {a_few(captions.index[at < 0])}")
    twice = pd.Index(at).duplicated(keep=False)
    if twice.any():
        raise ValueError(f"captions of one image of {place}: {a_few(captions.index[twice])}")
    return dict(zip(ids[at], captions, strict=True))


def _composed(name: str) -> str:
    """A name in the one of Unicode's forms that most systems write."""
    return unicodedata.normalize("NFC", name)


def _coco_rows(path: Path, kind: str, entries: list[dict]) -> pd.DataFrame:
    names = [str(entry["image_id"]) for entry in entries]  # a whole number or text
    return numbered(names, f"{path.name}, {kind}", caption=[entry["caption"] for entry in entries])


def _coco_annotations(path: Path, data: dict) -> pd.DataFrame:
    rows = _coco_rows(path, "annotation", records(path, data, "annotations", RESULT))
    if not data.get("images"):
        return rows
    images = records(path, data, "images", {"id": ID})
    files = rows["name"].map({str(image["id"]): image.get("file_name") for image in images})
    return rows if not files.map(lambda file: isinstance(file, str)).all() else rows.assign(file=files)


def _karpathy_rows(path: Path, images: list[dict]) -> pd.DataFrame:
    said = [(image, sentence["raw"]) for image in images for sentence in image["sentences"]]
    rows = numbered(
        [image["filename"] for image, _ in said], f"{path.name}, caption", caption=[text for _, text in said]
    )
    folders = [posixpath.join(image.get("filepath") or "", image["filename"]) for image, _ in said]
    ids = [str(image["cocoid"]) if is_of(image.get("cocoid"), ID) else "" for image, _ in said]
    return rows.assign(file=pd.array(folders, dtype="str"), id=pd.array(ids, dtype="str"))


def _rows_by_file(path: Path, data) -> pd.DataFrame:
    if not isinstance(data, dict):
        raise ValueError(f"{path} holds {shown(data)}. Forms that are read: {FORMS}")
    lists = {name: [texts] if isinstance(texts, str) else texts for name, texts in data.items()}
    for name, texts in lists.items():
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{path}: no captions at {shown(name)}: {shown(texts)}. Forms that are read: {FORMS}")
    names = [name for name, texts in lists.items() for _ in texts]
    return numbered(names, f"{path.name}, caption", caption=[text for texts in lists.values() for text in texts])
