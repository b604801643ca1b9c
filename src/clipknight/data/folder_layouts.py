"""Datasets without one table: a text beside each picture, metadata files in folders, DiffusionDB's parts."""

import posixpath
from pathlib import Path

from clipknight.data.caption_table import CAPTION_NAMES, IMAGE_NAMES, Columns, fits, read_caption_table
from clipknight.data.folders import BESIDE, walk
from clipknight.data.images import IMAGE_SUFFIXES
from clipknight.data.json_files import read_json, read_json_lines, shown
from clipknight.data.listing import NO_CAPTIONS, NO_SPLITS, SPLIT_OF, Listing, among, numbered
from clipknight.data.media import Media
from clipknight.data.names import ids_of
from clipknight.data.text_files import read_text
from clipknight.messages import a_few

import pandas as pd

TEXTS = (".txt", ".caption", ".json")  # beside a picture; the first that is there


def texts_beside(folder: Path, found: list[Path], columns: Columns, media: Media) -> Listing | None:
    """A text of the same name beside each picture, one caption a line: img2dataset's files, webdataset, LoRA folders.

    Not where a table says what the pictures show. A JSON has the caption under its name.
    """
    if any(fits(path, columns) for form in ("*.csv", "*.tsv", "*.parquet") for path in folder.glob(form)):
        return None
    root = media.folder or folder
    files = walk(root, IMAGE_SUFFIXES, [*BESIDE, *TEXTS, ".cls"])
    stems = ids_of(pd.Series(files, dtype="str"))
    rows = [(name, *said) for name, stem in zip(files, stems, strict=True) for said in _said_beside(root, stem)]
    if not rows:
        return None
    names, places, numbers, texts = zip(*rows, strict=True)
    captions = numbered(names, "", caption=texts).assign(place=places, number=numbers)
    splits = _split_folders(files, captions)
    return Listing("texts beside pictures", root, files, captions, splits, "" if len(splits) else "test")


def _said_beside(root: Path, stem: str) -> list[tuple[str, int, str]]:
    """The place, number and text of each caption beside a picture; none for a blank file."""
    file = next((path for suffix in TEXTS if (path := root / f"{stem}{suffix}").is_file()), None)
    if file is None:
        return []
    if file.suffix == ".json":
        data = read_json(file)
        said = next((data[key] for key in CAPTION_NAMES if key in data), "") if isinstance(data, dict) else ""
        lines = [text for text in (said if isinstance(said, list) else [said]) if isinstance(text, str)]
    else:
        lines = read_text(file).splitlines()
    return [(f"{stem}{file.suffix}, line", n, text.strip()) for n, text in enumerate(lines, 1) if text.strip()]


def image_folders(folder: Path, found: list[Path], columns: Columns, media: Media) -> Listing | None:
    """🤗 datasets' imagefolder: metadata.jsonl or .csv with file_name and text, in the folder or in each split's."""
    frames = []
    for path in found:
        rows = _metadata(path, columns)
        if rows is None:
            return None
        below = path.parent.relative_to(folder).as_posix()
        frames.append(rows.assign(name=[posixpath.normpath(posixpath.join(below, name)) for name in rows["name"]]))
    captions = pd.concat(frames, ignore_index=True)
    files = media.below(root := media.folder or folder, IMAGE_SUFFIXES, captions["name"])
    captions = captions[captions["caption"].str.strip() != ""]
    splits = _split_folders(files, captions)
    return Listing("imagefolder", root, files, captions, splits, "" if len(splits) else "test")


def _metadata(path: Path, columns: Columns) -> pd.DataFrame | None:
    """Name, caption, place, number of one metadata file; None for columns that are not known."""
    if path.suffix != ".jsonl":
        if not fits(path, columns):
            return None
        table = read_caption_table(path, columns)
        return table.rows.assign(place=table.place)
    records = read_json_lines(path)
    image = next((n for n in (columns.image, *IMAGE_NAMES) if all(n in record for _, record in records)), None)
    said = next((n for n in (columns.caption, *CAPTION_NAMES) if any(n in record for _, record in records)), None)
    if not records or image is None or said is None:
        return None
    rows = []
    for number, record in records:
        texts = record.get(said) or ""
        for text in texts if isinstance(texts, list) else [texts]:
            if not isinstance(text, str) or not isinstance(record[image], str):
                raise ValueError(f"{path}, line {number}: {image} and {said} are text, unlike {shown(record)}")
            rows.append((record[image], text, number))
    names, texts, numbers = zip(*rows, strict=True)
    return numbered(names, f"{path.name}, line", caption=texts).assign(number=numbers)


def diffusiondb(folder: Path, found: list[Path], columns: Columns, media: Media) -> Listing | None:
    """DiffusionDB: part-000001/ with its pictures and part-000001.json, or the parts and metadata.parquet."""
    parts = sorted(path for path in folder.glob("part-*") if path.is_dir())
    parts = parts or ([folder] if any(folder.glob("part-*.json")) else [])
    if not parts:
        return None
    frames = [NO_CAPTIONS]
    for part in parts:
        below = "" if part == folder else f"{part.name}/"
        for path in sorted(part.glob("part-*.json")):
            prompts = _prompts(path)
            names = [f"{below}{name}" for name in prompts]
            frames.append(numbered(names, f"{path.name}, picture number", caption=list(prompts.values())))
    if len(frames) == 1 and (tables := sorted(folder.glob("metadata*.parquet"))):
        frames.append(_prompts_of_parts(tables[0], [part.name for part in parts]))
    captions = pd.concat(frames, ignore_index=True)
    if captions.empty:
        return None
    files = media.below(root := media.folder or folder, IMAGE_SUFFIXES, captions["name"])
    return Listing("diffusiondb", root, files, captions[captions["caption"].str.strip() != ""], NO_SPLITS)


def _prompts(path: Path) -> dict[str, str]:
    """The prompt of each picture of a part."""
    data = read_json(path)
    entries = data.items() if isinstance(data, dict) else ()
    prompts = {name: entry.get("p") for name, entry in entries if isinstance(entry, dict)}
    if not prompts or not all(isinstance(prompt, str) for prompt in prompts.values()):
        raise ValueError(f"{path} is no part of DiffusionDB: it needs each picture's record with 'p', its prompt")
    return prompts


def _prompts_of_parts(path: Path, parts: list[str]) -> pd.DataFrame:
    """The rows of the metadata's table, which has two million, whose part is there."""
    columns = ["image_name", "prompt", "part_id"]
    there = [int(part[5:]) for part in parts if part[5:].isdecimal()]
    try:
        table = pd.read_parquet(path, columns=columns, filters=[("part_id", "in", there)]) if there else NO_CAPTIONS
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path} lacks {a_few(columns)}, which DiffusionDB's table has") from error
    if table.empty:
        return NO_CAPTIONS
    names = "part-" + table["part_id"].astype("str").str.zfill(6) + "/" + table["image_name"]
    return numbered(names, f"{path.name}, row", caption=table["prompt"])


def _split_folders(files: list[str], captions: pd.DataFrame) -> pd.DataFrame:
    """The splits of pictures that all lie in folders called so; without a caption they can only be test."""
    names = pd.Series(files, dtype="str")
    splits = names.str.extract("^([^/]+)/")[0].str.lower().map(SPLIT_OF)
    if not len(names) or splits.isna().any():
        return NO_SPLITS
    kept = (splits == "test") | among(ids_of(names), ids_of(captions["name"]))
    return numbered(names[kept], "picture", split=splits[kept])
