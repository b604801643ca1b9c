"""Draw the built-in sample: a synthetic dataset of pictures and clips with five captions each, in Flickr8k's layout.

It shows that everything runs, not how good it is: the same hand drew its training and its test pictures.

    python src/make_sample.py
    python src/make_sample.py --questions outputs/sample/questions
    python src/answer.py --questions outputs/sample/questions/valid.csv --train outputs/sample/questions/train.csv
"""

import csv
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from clipknight.errors import parse_early, user_errors
from clipknight.ranges import Few, Name, PositiveFew, Seed
from clipknight.settings import parse

VERSION = 2  # of the drawings: raise it when the same settings would draw something else
SPLIT_LISTS = {"train": "sample.trainImages.txt", "valid": "sample.devImages.txt", "test": "sample.testImages.txt"}
COMPETITION = {"images", "prompts.csv", "sample_submission.csv"}
OWN = COMPETITION | {
    "Images",
    "clips",
    "captions.txt",
    "scenes.json",
    "sample.json",
    *SPLIT_LISTS.values(),
}  # in a sample's folder


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of make_sample.py"""

    out: Name = "input/sample"
    """Folder to make, from the project's root. It appears whole or not at all."""
    images: PositiveFew = 1500
    """Pictures: a tenth each for validation and test, the rest for training."""
    clips: Few = 36
    """Short videos; every sixth is an animated GIF."""
    seed: Seed = 0
    """The same seed draws the same bytes."""
    questions: str = ""
    """Folder for train.csv, valid.csv and test.csv of questions about the pictures, which answer.py reads."""
    competition: str = ""
    """Folder for the same pictures, a prompt each, in the layout of Image to Prompts; from the project's root too."""
    overwrite: bool = False
    """Replace a sample that was made with other settings."""


if __name__ == "__main__":
    parse_early(Settings, __doc__)  # --help and typos, before the parts load

from clipknight.data.json_files import LIST, TEXT, read_json, records
from clipknight.files import atomic_folder
from clipknight.messages import a_few
from clipknight.paths import ROOT
from clipknight.sample.competition import write_competition
from clipknight.sample.drawing import FPS, draw, draw_frames
from clipknight.sample.questions import write_questions
from clipknight.sample.scenes import Scene, draw_clips, draw_scenes
from clipknight.saved_files import read_description

import cv2
import numpy as np
from joblib import Parallel, delayed
from PIL import Image
from tqdm import tqdm


@user_errors
def main(argv=None):
    settings = parse(Settings, argv, __doc__)
    if settings.images < 10 or not 0 <= settings.clips <= 500:
        raise ValueError(
            f"--images {settings.images} --clips {settings.clips}: give at least 10 images and 0 to 500 clips"
        )
    out = ROOT / settings.out
    made_with = {"version": VERSION, "images": settings.images, "clips": settings.clips, "seed": settings.seed}
    if is_there(out, made_with, settings.overwrite):
        print(f"the synthetic sample is there already: {out}")
    else:
        draw_sample(out, made_with, settings)
    if settings.competition and not is_there(ROOT / settings.competition, made_with, settings.overwrite):
        with atomic_folder(ROOT / settings.competition) as folder:
            write_competition(out, folder)
            (folder / "sample.json").write_text(json.dumps(made_with) + "\n", encoding="utf-8")
        print(f"the same pictures with one prompt each: {ROOT / settings.competition}")
    if settings.questions:
        path = out / "scenes.json"
        scenes = records(path, {"scenes": read_json(path)}, "scenes", {"file": TEXT, "split": TEXT, "objects": LIST})
        write_questions(scenes, f"{Path(settings.out).as_posix()}/Images", settings.questions, settings.seed)


def draw_sample(out: Path, made_with: dict, settings: Settings) -> None:
    """Draw all pictures and clips into `out`, which records what it was `made_with`."""
    if settings.clips:
        import av  # noqa: F401  (an extra: missed now, and not by another process when the pictures are drawn)
    start = time.perf_counter()
    scenes, clips = draw_scenes(settings.images, settings.seed), draw_clips(settings.clips, settings.seed)
    splits = split(settings.images, settings.seed)
    suffixes = ["gif" if i % 6 == 5 else "mp4" for i in range(len(clips))]
    with atomic_folder(out) as folder:
        (folder / "Images").mkdir()
        (folder / "clips").mkdir()
        pictures = [delayed(save_picture)(folder / "Images", settings.seed, *row) for row in zip(scenes, splits)]
        videos = [delayed(save_clip)(folder / "clips", settings.seed, *row) for row in zip(clips, suffixes)]
        records, names = in_parallel(pictures, "pictures"), in_parallel(videos, "clips")
        write_table(folder / "captions.txt", "image", [r["file"] for r in records], scenes)
        write_table(folder / "clips" / "captions.csv", "video", names, clips)
        for name, listing in SPLIT_LISTS.items():
            files = [r["file"] for r in records if r["split"] == name]
            (folder / listing).write_text("".join(f"{file}\n" for file in files), encoding="utf-8")
        (folder / "scenes.json").write_text("[\n" + ",\n".join(map(json.dumps, records)) + "\n]\n", encoding="utf-8")
        (folder / "sample.json").write_text(json.dumps(made_with) + "\n", encoding="utf-8")

    parts = ", ".join(f"{name} {count}" for name, count in Counter(splits).items())
    print(f"synthetic sample: {len(scenes)} pictures ({parts}), {sum(len(s.captions) for s in scenes)} captions")
    print(f"  and {len(clips)} clips, drawn in {time.perf_counter() - start:.1f} s: {out}")
    print("  It shows that everything runs. Scores on it say little about photographs.")


def is_there(out: Path, made_with: dict, overwrite: bool) -> bool:
    """Whether `out` is this very sample. FileExistsError where something else, or more, must not be replaced."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    record = out / "sample.json"
    if not record.is_file():
        raise FileExistsError(f"{out} exists and is no sample made here: choose another --out")
    found = read_description(record, "choose another --out")
    if found != made_with and not overwrite:
        raise FileExistsError(f"{out} was made with {found}, not {made_with}: add --overwrite, or choose another --out")
    if found == made_with and not overwrite:
        return True
    if others := sorted({path.name for path in out.iterdir()} - OWN):
        raise FileExistsError(f"{out} holds more than a sample, {a_few(others, 3)}: move it, or choose another --out")
    return False


def split(count: int, seed: int) -> list[str]:
    """The split of each scene, at random: a tenth valid, a tenth test, the rest train."""
    names = np.repeat(["train", "valid", "test"], [count - 2 * (count // 10), count // 10, count // 10])
    order = np.random.default_rng([seed, 2]).permutation(count)
    return [str(names[i]) for i in order]


def in_parallel(jobs: list, name: str) -> list:
    """The results of joblib's delayed calls, in order, with a progress bar; one process for each core."""
    results = Parallel(n_jobs=-1, return_as="generator")(jobs)
    return list(tqdm(results, name, len(jobs), unit="", disable=not sys.stderr.isatty()))


def save_picture(folder: Path, seed: int, scene: Scene, split: str) -> dict:
    """Draw and write one picture; returns what `scenes.json` records of it."""
    cv2.setNumThreads(1)  # the cores are busy with other pictures
    picture, boxes = draw(scene, seed)
    file = f"{scene.id}.jpg"
    Image.fromarray(picture).save(folder / file, quality=92)
    objects = [
        {"name": g.name, "colour": g.colour, "count": g.count, "size": g.size}
        | {"boxes": [box for box, placed in zip(boxes, scene.placed, strict=True) if placed.group is g]}
        for g in scene.groups
    ]
    around = {"style": scene.style, "background": scene.background, "relation": scene.relation}
    return {"id": scene.id, "file": file, "split": split, **around, "objects": objects}


def save_clip(folder: Path, seed: int, clip: Scene, suffix: str) -> str:
    """Draw and write one clip; returns its file name."""
    cv2.setNumThreads(1)
    file = f"{clip.id}.{suffix}"
    frames = list(draw_frames(clip, seed))
    if suffix == "gif":
        first, *rest = [Image.fromarray(frame) for frame in frames]
        first.save(folder / file, save_all=True, append_images=rest, duration=round(1000 / FPS), loop=0)
        return file
    import av

    with av.open(str(folder / file), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "18"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.thread_count = "yuv420p", 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return file


def write_table(path: Path, key: str, files: Iterable[str], described: Iterable[Scene]):
    """Kaggle's caption table: a header, then one row for each caption."""
    with open(path, "w", newline="", encoding="utf-8") as handle:
        table = csv.writer(handle, lineterminator="\n")
        table.writerow([key, "caption"])
        table.writerows((file, caption) for file, of in zip(files, described, strict=True) for caption in of.captions)


if __name__ == "__main__":
    main()
