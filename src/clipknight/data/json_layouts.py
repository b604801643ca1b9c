"""Datasets described by JSON: Karpathy's, COCO's, MSR-VTT's, R2Gen's, and captions.json as MSVD's clips have it."""

import posixpath
import re
from pathlib import Path

from clipknight.data.folders import BESIDE, VIDEO_SUFFIXES, suffix_of, walk
from clipknight.data.images import IMAGE_SUFFIXES
from clipknight.data.json_files import ID, LIST, TEXT, is_of, read_json, records, shown
from clipknight.data.listing import NO_CAPTIONS, NO_SPLITS, SPLIT_OF, Listing, known_splits, numbered, only
from clipknight.data.media import Media, name_videos, no_images, parents
from clipknight.data.settings import Columns
from clipknight.messages import a_few

import pandas as pd


def karpathy(folder: Path, found: list[Path], columns: Columns, media: Media) -> Listing | None:
    """Karpathy and Fei-Fei's JSON: every image with its sentences and its split."""
    path = only(found)
    if (entries := karpathy_images(path, read_json(path))) is None:
        return None
    names = [posixpath.join(entry.get("filepath") or "", entry["filename"]) for entry in entries]
    splits = numbered(names, f"{path.name}, image number", split=[entry["split"] for entry in entries])
    sentences = [(i, sentence["raw"]) for i, entry in enumerate(entries) for sentence in entry["sentences"]]
    captions = splits.drop(columns="split").iloc[[i for i, _ in sentences]]
    captions = captions.assign(caption=pd.array([text for _, text in sentences], dtype="str"))
    root = media.root(folder, splits["name"])
    files = media.named(root, splits["name"], IMAGE_SUFFIXES)
    return Listing("karpathy", root, files, captions, known_splits(splits))


def karpathy_images(path: Path, data) -> list[dict] | None:
    """The records of Karpathy's images, checked; None for JSON of another form."""
    if not isinstance(data, dict) or "images" not in data or "annotations" in data:
        return None
    entries = records(path, data, "images", {"filename": TEXT, "split": TEXT, "sentences": LIST})
    for number, entry in enumerate(entries, 1):
        for sentence in entry["sentences"]:
            if not isinstance(sentence, dict) or not is_of(sentence.get("raw"), TEXT):
                wrong = sentence.get("raw") if isinstance(sentence, dict) else sentence
                raise ValueError(
                    f"{path}, image number {number}: 'sentences' are records that each have 'raw', a caption; one has "
                    f"{shown(wrong)}"
                )
        if not isinstance(entry.get("filepath") or "", str):
            raise ValueError(f"{path}, image number {number}: 'filepath' is {shown(entry['filepath'])}, not text")
    return entries


def coco(folder: Path, found: list[Path], columns: Columns, media: Media) -> Listing | None:
    """COCO: annotations/captions_train2014.json, its images in train2014/, images/train2014/ or all in one folder."""
    parts = [_coco_part(path) for path in found]
    splits, captions = (pd.concat(frames, ignore_index=True) for frames in zip(*parts, strict=True))
    folder = folder.parent if folder.name == "annotations" else folder
    try:
        root = media.root(folder, splits["name"])
    except FileNotFoundError:  # no folder for each part
        for frame in (splits, captions):
            frame["name"] = frame["name"].str.replace(r"^[^/]*/", "", regex=True)
        root = media.root(folder, splits["name"])
    return Listing("coco", root, media.named(root, splits["name"], IMAGE_SUFFIXES), captions, splits)


def _coco_part(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The splits and the captions of one annotation file."""
    part = path.stem.removeprefix("captions_")
    split = re.match("train|val|test", part)
    if split is None:
        raise ValueError(f"{path} names no split: captions_train*, captions_val* or captions_test*.json")
    data = read_json(path)
    images = _frame(records(path, data, "images", {"id": ID, "file_name": TEXT}), "id", "file_name")
    said = _frame(
        records(path, data, "annotations", {"image_id": ID, "caption": TEXT, "id": ID}), "image_id", "caption", "id"
    )
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


def msrvtt(folder: Path, found: list[Path], columns: Columns, media: Media) -> Listing | None:
    """MSR-VTT: JSON with videos (video_id, split) and sentences (video_id, caption); the videos in any folder below."""
    splits, captions = [], [NO_CAPTIONS]
    for path in found:
        data = read_json(path)
        videos = _frame(records(path, data, "videos", {"video_id": TEXT, "split": TEXT}), "video_id", "split")
        splits.append(numbered(videos["video_id"], f"{path.name}, video number", split=videos["split"]))
        if "sentences" in data:  # the test videos of 2017 have none
            said = records(path, data, "sentences", {"video_id": TEXT, "caption": TEXT})
            names, texts = ([entry[key] for entry in said] for key in ("video_id", "caption"))
            captions.append(numbered(names, f"{path.name}, sentence number", caption=texts))
    splits, captions = known_splits(pd.concat(splits)), pd.concat(captions)
    if not media.wanted:
        return Listing("video", folder, list(splits["name"]), captions, splits, media="video")
    top = media.folder or folder
    files = pd.Series(walk(top, VIDEO_SUFFIXES, BESIDE), dtype="str")
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


def reports(folder: Path, found: list[Path], columns: Columns, media: Media) -> Listing | None:
    """R2Gen's annotation.json of IU X-Ray and MIMIC-CXR: by split, studies of one report and several images."""
    path = only(found)
    data = read_json(path)
    if not isinstance(data, dict) or not set(data) <= set(SPLIT_OF):
        return None
    frames = []
    for split in data:
        studies = records(path, data, split, {"report": TEXT, "image_path": LIST})
        for number, study in enumerate(studies, 1):
            if not study["image_path"] or not all(is_of(name, TEXT) for name in study["image_path"]):
                raise ValueError(
                    f"{path}, {split!r} number {number}: 'image_path' is a list of file names; it is "
                    f"{shown(study['image_path'])}"
                )
        rows = [(name, study["report"]) for study in studies for name in study["image_path"]]
        names, texts = zip(*rows, strict=True)
        frames.append(numbered(names, f"{path.name}, image of {split} number", caption=texts, split=split))
    rows = known_splits(pd.concat(frames, ignore_index=True))
    root = media.root(folder, rows["name"])
    files = media.named(root, rows["name"], IMAGE_SUFFIXES)
    return Listing("reports", root, files, rows.drop(columns="split"), rows.drop(columns="caption"))


def caption_lists(folder: Path, found: list[Path], columns: Columns, media: Media) -> Listing | None:
    """MSVD clips, or images: captions.json maps each file to the list of its captions."""
    data = read_json(found[0])
    if not isinstance(data, dict) or not data or not all(isinstance(texts, list) for texts in data.values()):
        return None
    for name, texts in data.items():
        if not all(is_of(text, TEXT) for text in texts):
            wrong = next(text for text in texts if not is_of(text, TEXT))
            raise ValueError(f"{found[0]}: a caption of {shown(name)} is {shown(wrong)}, not text")
    names = [name for name, texts in data.items() for _ in texts]
    captions = numbered(
        names, f"{found[0].name}, caption number", caption=[t for texts in data.values() for t in texts]
    )
    every = pd.Series(list(data), dtype="str")
    root = media.root(folder, every)
    files = media.below(root, VIDEO_SUFFIXES | IMAGE_SUFFIXES, every)
    video = name_videos(pd.Series(files, dtype="str"))
    if media.wanted:
        files = [file for file in files if suffix_of(file) in (VIDEO_SUFFIXES if video else IMAGE_SUFFIXES)]
    layout, kind = ("video", "video") if video else ("caption lists", "image")
    return Listing(layout, root, files, captions, NO_SPLITS, media=kind)


def _frame(entries: list[dict], *keys: str) -> pd.DataFrame:
    return pd.DataFrame({key: [entry[key] for entry in entries] for key in keys})
