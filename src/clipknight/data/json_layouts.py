"""Datasets described by JSON: Karpathy's, COCO's, MSR-VTT's, and captions.json as MSVD's clips have it."""

import json
import posixpath
import re
from pathlib import Path

from clipknight.data.caption_table import Columns, read_text
from clipknight.data.images import IMAGE_SUFFIXES
from clipknight.data.listing import NO_SPLITS, SPLIT_OF, Listing, known_splits, numbered, only
from clipknight.data.media import (
    VIDEO_SUFFIXES,
    image_root,
    listed,
    name_videos,
    no_images,
    parents,
    suffix_of,
    walk,
)
from clipknight.messages import a_few

import pandas as pd


def karpathy(folder: Path, found: list[Path], columns: Columns, images: Path | None) -> Listing | None:
    """Karpathy and Fei-Fei's JSON: every image with its sentences and its split."""
    path = only(found)
    data = read_json(path)
    entries = data.get("images") if isinstance(data, dict) else None
    if not entries or "sentences" not in entries[0]:
        return None
    try:
        names = [posixpath.join(entry.get("filepath") or "", entry["filename"]) for entry in entries]
        splits = numbered(names, f"{path.name}, image number", split=[entry["split"] for entry in entries])
        said = [(i, sentence["raw"]) for i, entry in enumerate(entries) for sentence in entry["sentences"]]
    except KeyError as error:
        raise ValueError(f"{path}: an image or a sentence has no {error}") from None
    captions = splits.drop(columns="split").iloc[[i for i, _ in said]]
    captions = captions.assign(caption=pd.array([text for _, text in said], dtype="str"))
    root = image_root(images or folder, splits["name"])
    files = listed(root, splits["name"], IMAGE_SUFFIXES)
    return Listing("karpathy", root, files, captions, known_splits(splits))


def coco(folder: Path, found: list[Path], columns: Columns, images: Path | None) -> Listing | None:
    """COCO: annotations/captions_train2014.json, its images in train2014/, images/train2014/ or all in one folder."""
    parts = [_coco_part(path) for path in found]
    splits, captions = (pd.concat(frames, ignore_index=True) for frames in zip(*parts, strict=True))
    folder = folder.parent if folder.name == "annotations" else folder
    try:
        root = image_root(images or folder, splits["name"])
    except FileNotFoundError:  # no folder for each part
        for frame in (splits, captions):
            frame["name"] = frame["name"].str.replace(r"^[^/]*/", "", regex=True)
        root = image_root(images or folder, splits["name"])
    return Listing("coco", root, listed(root, splits["name"], IMAGE_SUFFIXES), captions, splits)


def _coco_part(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The splits and the captions of one annotation file."""
    part = path.stem.removeprefix("captions_")
    split = re.match("train|val|test", part)
    if split is None:
        raise ValueError(f"{path} names no split: captions_train*, captions_val* or captions_test*.json")
    images, said = _json_tables(path, {"images": ["id", "file_name"], "annotations": ["image_id", "caption", "id"]})
    if images["id"].duplicated().any():
        raise ValueError(f"{path} has image id {a_few(images['id'][images['id'].duplicated()])} twice")
    unknown = said["image_id"][~said["image_id"].isin(images["id"])]
    if len(unknown):
        raise ValueError(f"{path} has captions of image id {a_few(unknown.unique())}, but no such image")
    names = (part + "/" + images["file_name"]).set_axis(images["id"])
    splits = pd.DataFrame({"name": names.to_numpy(), "split": SPLIT_OF[split[0]], "number": images["id"]})
    captions = pd.DataFrame(
        {"name": names[said["image_id"]].to_numpy(), "caption": said["caption"], "number": said["id"]}
    )
    return splits.assign(place=f"{path.name}, image id"), captions.assign(place=f"{path.name}, annotation id")


def msrvtt(folder: Path, found: list[Path], columns: Columns, images: Path | None) -> Listing | None:
    """MSR-VTT: JSON with videos (video_id, split) and sentences (video_id, caption); the videos in any folder below."""
    splits, captions = [], []
    for path in found:
        videos, said = _json_tables(path, {"videos": ["video_id", "split"], "sentences": ["video_id", "caption"]})
        splits.append(numbered(videos["video_id"], f"{path.name}, video number", split=videos["split"]))
        captions.append(numbered(said["video_id"], f"{path.name}, sentence number", caption=said["caption"]))
    splits, captions = known_splits(pd.concat(splits)), pd.concat(captions)
    top = images or folder
    files = pd.Series(walk(top, VIDEO_SUFFIXES), dtype="str")
    stems = files.str.replace(r"^.*/|\.[^./]+$", "", regex=True)
    files, stems = files[stems.isin(splits["name"])], stems[stems.isin(splits["name"])]
    if files.empty:
        raise no_images(splits["name"], [top])
    if stems.duplicated().any():
        raise ValueError(f"{top} has two files of {a_few(stems[stems.duplicated()])}")
    # One folder of videos is the root; of several (TrainValVideo, TestVideo) their parent is, and ids name the folder.
    shared = posixpath.commonpath([f"/{parent}" for parent in parents(files)]).lstrip("/")
    files = files.str.slice(len(shared) + 1 if shared else 0)
    path_of = pd.Series(files.to_numpy(), index=stems)
    for frame in (splits, captions):
        frame["name"] = frame["name"].map(path_of).fillna(frame["name"])
    return Listing("video", top / shared, list(files), captions, splits, media="video")


def caption_lists(folder: Path, found: list[Path], columns: Columns, images: Path | None) -> Listing | None:
    """MSVD clips, or images: captions.json maps each file to the list of its captions."""
    data = read_json(found[0])
    if not isinstance(data, dict) or not data or not all(isinstance(texts, list) for texts in data.values()):
        return None
    names = [name for name, texts in data.items() for _ in texts]
    captions = numbered(
        names, f"{found[0].name}, caption number", caption=[t for texts in data.values() for t in texts]
    )
    root = image_root(images or folder, pd.Series(list(data), dtype="str"))
    files = walk(root, VIDEO_SUFFIXES | IMAGE_SUFFIXES)
    video = name_videos(pd.Series(files, dtype="str"))
    files = [file for file in files if suffix_of(file) in (VIDEO_SUFFIXES if video else IMAGE_SUFFIXES)]
    layout, media = ("video", "video") if video else ("caption lists", "image")
    return Listing(layout, root, files, captions, NO_SPLITS, media=media)


def read_json(path: Path):
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}: broken JSON: {error.msg}") from None


def _json_tables(path: Path, fields: dict[str, list[str]]) -> list[pd.DataFrame]:
    """The lists of records in a JSON file, one frame for each name in `fields`, which has the keys needed."""
    data = read_json(path)
    frames = [pd.DataFrame(data.get(name) if isinstance(data, dict) else None) for name in fields]
    for frame, (name, keys) in zip(frames, fields.items(), strict=True):
        if not set(keys) <= set(frame) or frame[keys].isna().any(axis=None):
            raise ValueError(f"{path} needs {name!r}, a list of records that each have {', '.join(keys)}")
    return [frame[keys] for frame, keys in zip(frames, fields.values(), strict=True)]
