"""Say what images and videos show: CSV or JSON, and a page with pictures, captions and the reasons for them.

python src/caption.py photo.jpg                                            # with the starter weights
python src/caption.py FOLDER clip.mp4 --run knight --from ensemble --out outputs/captions.csv
python src/caption.py --data input/flickr8k --split valid --run knight --out outputs/valid.json
"""

import functools
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from clipknight.captioning.caption_index import INDEXES
from clipknight.captioning.captioner import Captioner
from clipknight.captioning.embedding_sources import parts, source_for
from clipknight.data.datasets import Dataset, listed_images
from clipknight.data.media import find_media
from clipknight.data.videos import frame_files, is_video
from clipknight.devices import DeviceSettings, PrecisionSettings, WorkerSettings
from clipknight.errors import user_errors
from clipknight.files import atomic_file
from clipknight.methods.registry import METHODS, open_captioner
from clipknight.paths import OUTPUTS, STARTER
from clipknight.plots.gallery import Captioned, write_gallery
from clipknight.ranges import Count, Few, PositiveFew, Share
from clipknight.settings import parse
from clipknight.training.runs import Run, images_of_split

import numpy as np
import pandas as pd

PRINTED = 12  # captions shown on the terminal


@dataclass(frozen=True, kw_only=True)
class Settings(DeviceSettings, WorkerSettings, PrecisionSettings):
    """Settings of caption.py"""

    paths: list[str] = field(default_factory=list)
    """images, videos, and folders of them, as free words"""
    data: str = ""
    """instead of paths, with --split: a dataset's folder"""
    split: str = ""
    """instead of paths: train, valid or test of --data; an ensemble's valid predictions are its out-of-fold ones"""
    limit: Count = 0
    """of the split only so many images, the first; 0 for all. Scores of a part do not compare with the whole's"""
    run: str = STARTER
    """run of train_knight.py or train_maccap.py"""
    from_: str = ""
    """where embeddings come from: a run that predicts, or an encoder with a joint space; by default the run's own.
    maccap takes an encoder's sub-regions; a run has none: its embedding then stands for each of them"""
    corpus: list[str] = field(default_factory=list)
    """captions to retrieve from, in place of the run's: datasets, coco, files of captions"""
    corpus_separator: str = ""
    """what parts several captions on one line of a text file; by default as in training"""
    corpus_share: Share = 0.0
    """share of the corpus' images whose captions are kept; 0 for the run's own"""
    index: Literal[INDEXES] = "exact"
    """exact, or ivf: approximate search, for a corpus of hundreds of thousands"""
    method: Literal["auto", *METHODS] = "auto"
    """how to caption; auto: as the run was trained for; knight, direct, decap, anchors, maccap, clipre (the nearest
    caption as it is); magic, zerocap, etp (with a run of train_knight.py --blind); socratic (with any run)"""
    options: list[str] = field(default_factory=list)
    """of the method, NAME=VALUE; of maccap, else as in training: regions=10 of an image (0: its embedding repeated),
    weight=1.0 of a region, noise=0.016 (a variance; 0: none)"""
    n_neighbors: Few = 0
    """captions in the prefix; 0 for as many as in training"""
    frames: PositiveFew = 5
    """of a video, evenly spaced"""
    num_beams: Few = 0
    """of the beam search, 1 is greedy; 0 for the method's: 5, maccap 4"""
    rerank: Few = 0
    """beams, or maccap's noisy decodings, among which the caption is chosen; 0 for the method's: 1 (no choice), and
    maccap 5"""
    rerank_by: Literal["auto", "consensus", "embedding"] = "auto"
    """consensus (the one most like the image's 200 nearest captions), embedding (the one nearest to the image's); auto:
    consensus, maccap embedding"""
    max_tokens: Few = 0
    """longest caption; 0 for the method's: 40, maccap 16"""
    out: str = str(OUTPUTS / "captions.csv")
    """.csv (image,caption) or .json (image_id, caption, neighbours)"""
    html: str = "auto"
    """page of pictures and captions; auto: beside --out; none"""
    skip_unreadable: bool = False
    """go on without the files that cannot be read; otherwise they are listed in an error"""
    batch_size: PositiveFew = 64
    """captions at a time"""


@user_errors
def main(argv=None) -> pd.DataFrame:
    s = parse(Settings, argv, __doc__, positional="paths")
    if Path(s.out).suffix not in (".csv", ".json"):
        raise ValueError(f"--out {s.out} ends in neither .csv nor .json")
    if bool(s.paths) == bool(s.split) or (s.paths and s.data):
        raise ValueError("say what to caption: images, videos or folders; or --data DATASET --split valid")
    run = Run.open(s.run)
    source = source_for(run, s.from_, s.device)
    stills, clips, references = dataset_media(source.run or run, s) if s.split else found_media(s)
    embeddings = source.embeddings if not s.split else functools.partial(source.of_split, split=s.split)
    how = (s.device, s.precision, s.batch_size, s.method, s.options, s.corpus_separator)
    captioner = open_captioner(run, s.corpus, s.corpus_share, s.index, *how)
    captioner.n_neighbors = s.n_neighbors or captioner.n_neighbors

    start = time.perf_counter()
    rows = embeddings(stills, workers=s.workers, skip_unreadable=s.skip_unreadable, regions=captioner.regions)
    in_clips = {frame for frames in clips.values() for frame in frames}
    images = [name for name in rows.ids if name not in in_clips]
    said = captioned(captioner, images, rows.aligned_to(images).vectors, s)
    if clips:
        frames = rows.aligned_to([frame for frames in clips.values() for frame in frames]).vectors
        said |= captioned(captioner, list(clips), frames.reshape(len(clips), s.frames, -1), s)
    seconds = time.perf_counter() - start
    path_of = dict(zip(stills.images["id"], stills.images["path"]))
    items = [
        Captioned(
            path=name,
            caption=caption,
            pictures=[path_of[frame] for frame in clips.get(name, [name])],
            neighbours=near,
            references=references.get(name),
        )
        for name, (caption, near) in said.items()
    ]
    write_captions(items, s.out)
    if page := {"auto": str(Path(s.out).with_suffix(".html")), "none": ""}.get(s.html, s.html):
        corpus = captioner.corpus
        summary = f"Embeddings from {source.name}; retrieved from {len(corpus):,} captions of {corpus.name}."
        write_gallery(page, f"Captions by {run.name}", summary, items)
    for item in items[:PRINTED]:
        print(f"{item.path}: {item.caption}")
    print(
        f"{len(images):,} images and {len(clips):,} videos in {seconds:.1f} s ({len(items) / seconds:.1f} a second)"
        f" -> {', '.join(filter(None, (s.out, page)))}"
    )
    return pd.DataFrame({"image": list(said), "caption": [item.caption for item in items]})


def dataset_media(run: Run, s: Settings) -> tuple[Dataset, dict, dict]:
    """The images of a split, no clips, and the captions they have."""
    if not s.data and not run.settings["data"]:
        raise ValueError(f"{run.name} names no dataset: say which one's {s.split} split, --data DATASET")
    dataset = images_of_split(run, s.split, s.data, s.device)
    if dataset.media == "video":
        raise ValueError(f"{dataset.name} holds videos: name its folder as a path instead of --data")
    if s.limit:
        dataset = dataset.first(s.limit)
    return dataset, {}, dataset.caption_lists()


def found_media(s: Settings) -> tuple[Dataset, dict[str, list[str]], dict]:
    """The images and the videos' frames as one dataset, and the ids of each video's frames."""
    media = find_media(s.paths)
    videos = {name: path for name, path in media.items() if is_video(path)}
    files = frame_files(list(videos.values()), s.frames, workers=max(1, s.workers), skip_unreadable=s.skip_unreadable)
    clips = {name: files[path] for name, path in videos.items() if path in files}
    stills = {name: path for name, path in media.items() if name not in videos}
    stills |= {frame: frame for frames in clips.values() for frame in frames}
    if not stills:
        raise ValueError("none of the videos can be read")
    return listed_images(stills), clips, {}


def captioned(captioner: Captioner, names: list[str], vectors: np.ndarray, s: Settings) -> dict[str, tuple]:
    """(caption, neighbours with their cosines) of each image, vectors (N, D), or video (N, frames, D), by name.

    The vectors of an encoder's images may go on with those of sub-regions.
    """
    if not names:
        return {}
    asked = {"num_beams": s.num_beams, "max_new_tokens": s.max_tokens, "rerank": s.rerank}
    asked |= {"rerank_by": s.rerank_by if s.rerank_by != "auto" else ""}
    how = captioner.search | {name: value for name, value in asked.items() if value}
    embeddings, regions = parts(vectors, captioner.index.vectors.shape[1])
    said = captioner.caption(embeddings, **how, **regions)
    texts = captioner.corpus.texts
    near = [
        [(texts[row], float(cosine)) for row, cosine in zip(rows, cosines)]
        for rows, cosines in zip(said.neighbours, said.similarities)
    ]
    return dict(zip(names, zip(said.texts, near, strict=True), strict=True))


def write_captions(items: list[Captioned], path: str) -> None:
    """CSV of image,caption, or COCO's JSON of results with neighbours and picture files."""
    with atomic_file(path) as temporary:
        if Path(path).suffix == ".csv":
            pd.DataFrame({"image": [i.path for i in items], "caption": [i.caption for i in items]}).to_csv(
                temporary, index=False
            )
            return
        results = [
            {"image_id": i.path, "caption": i.caption, "neighbours": i.neighbours, "pictures": i.pictures}
            for i in items
        ]
        temporary.write_text(json.dumps(results, ensure_ascii=False, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
