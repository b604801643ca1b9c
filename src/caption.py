"""Say what images and videos show: CSV or JSON, and a page with pictures, captions and the reasons for them.

python src/caption.py photo.jpg                                            # with the starter weights
python src/caption.py FOLDER clip.mp4 --run knight --from ensemble --out outputs/captions.csv
python src/caption.py shards/*.tar --run knight --out outputs/captions.csv   # names are archive/picture
python src/caption.py film.mp4 --every scenes --out film.srt             # subtitles; --every 5s cuts by the clock
python src/caption.py --data input/flickr8k --split valid --run knight --out outputs/valid.json
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from clipknight.captioning.settings import INDEXES
from clipknight.devices import BackendSettings, PrecisionSettings, WorkerSettings
from clipknight.engines.settings import EngineSettings
from clipknight.errors import parse_early, user_errors
from clipknight.methods.settings import METHODS
from clipknight.paths import STARTER, outputs
from clipknight.ranges import Count, Every, Few, Name, PositiveFew, Share
from clipknight.settings import parse

OUTPUTS, SUBTITLES = (".csv", ".json", ".srt", ".vtt"), (".srt", ".vtt")
PRINTED, LONGEST = 12, 300  # captions shown on the terminal, and characters of a name or a caption


@dataclass(frozen=True, kw_only=True)
class Settings(EngineSettings, WorkerSettings, PrecisionSettings, BackendSettings):
    """Settings of caption.py"""

    paths: list[str] = field(default_factory=list)
    """images, videos, folders and archives of them (tar, zip, Parquet), and URLs of all these, as free words"""
    data: str = ""
    """instead of paths, with --split: a dataset's folder"""
    split: str = ""
    """instead of paths: train, valid or test of --data; an ensemble's valid predictions are its out-of-fold ones"""
    limit: Count = 0
    """of the split only so many images, the first; 0 for all. Scores of a part do not compare with the whole's"""
    run: Name = STARTER
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
    """of a video, or of each of its shots, evenly spaced"""
    every: Every = ""
    """caption videos shot by shot: 5s (or as many seconds), or scenes, which ffmpeg tells apart"""
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
    out: Name = field(default_factory=lambda: str(outputs() / "captions.csv"))
    """.csv (image,caption) or .json (image_id, caption, neighbours), with a confidence where the run has one; of one
    clip's shots .srt or .vtt, subtitles"""
    html: str = "auto"
    """page of pictures and captions; auto: beside --out; none"""
    skip_unreadable: bool = False
    """go on without the files that cannot be read; otherwise they are listed in an error"""
    batch_size: PositiveFew = 64
    """captions at a time"""


def check(s: Settings) -> None:
    """ValueError for settings that say nothing, or contradict each other."""
    if Path(s.out).suffix not in OUTPUTS:
        raise ValueError(f"--out {s.out} ends in none of {', '.join(OUTPUTS)}")
    if Path(s.out).suffix in SUBTITLES and not (s.every and len(s.paths) == 1):
        raise ValueError(f"--out {s.out} holds a clip's captions shot by shot: name one clip, and --every 5s or scenes")
    if bool(s.paths) == bool(s.split) or (s.paths and s.data):
        raise ValueError("say what to caption: images, videos or folders; or --data DATASET --split valid")


if __name__ == "__main__":
    parse_early(Settings, __doc__, positional="paths", check=check)  # --help and typos, before the parts load

from clipknight.captioning.captioner import CaptionOptions
from clipknight.captioning.embedding_sources import source_for
from clipknight.captioning.media_set import MediaSet
from clipknight.captioning.retriever import CorpusChoice
from clipknight.data.result_files import write_captions
from clipknight.data.subtitles import write_subtitles
from clipknight.messages import counted, shortened
from clipknight.methods.registry import open_captioner
from clipknight.output_names import check_output
from clipknight.plots.gallery import MOST, Captioned, write_gallery
from clipknight.preparation import prepare_process
from clipknight.training.runs import Run

import pandas as pd


@user_errors
def main(argv=None) -> pd.DataFrame:
    s = parse(Settings, argv, __doc__, positional="paths")
    prepare_process(s.backend, s.where)
    check(s)
    run = Run.open(s.run)
    page = {"auto": str(Path(s.out).with_suffix(".html")), "none": ""}.get(s.html, s.html)
    read = [*s.paths, *s.corpus, s.data or run.settings.get("data", ""), *run.files]
    check_output("--out", s.out, OUTPUTS, *read)
    check_output("--html", page, (".html", ".htm"), s.out, *read)
    source = source_for(run, s.from_, s.device)
    if s.split:
        media = MediaSet.of_split(source.run or run, s.split, s.data, s.limit, s.device, s.skip_unreadable)
    else:
        media = MediaSet.found(s.paths, s.frames, s.workers, s.skip_unreadable, s.every)
    if Path(s.out).suffix in SUBTITLES and len(media.cut) != 1:
        raise ValueError(f"--out {s.out} holds the captions of one clip, and {s.paths[0]} has {len(media.cut)}")
    corpus = CorpusChoice(s.corpus, s.corpus_separator, s.corpus_share, s.index)
    hardware = {"device": s.device, "precision": s.precision, "batch_size": s.batch_size}
    captioner = open_captioner(run, s.method, s.options, corpus=corpus, n_neighbors=s.n_neighbors, **hardware)
    options = chosen_options(captioner.method.options, s)

    start = time.perf_counter()
    regions, captions, reasons, items = captioner.method.regions, {}, {}, []
    rows = source.of_split(media.dataset, s.split, s.workers, s.skip_unreadable, regions)
    confidences = media.confidences(rows)
    for name, text, near in media.captioned(captioner, rows, options):
        captions[name] = text
        if Path(s.out).suffix == ".json":
            reasons[name] = {"neighbours": near, "pictures": media.pictures(name)}
        if len(items) < MOST:
            shown = {"pictures": media.pictures(name), "references": media.references.get(name)}
            shown["note"] = str(confidences.get(name, ""))
            items.append(Captioned(path=name, caption=text, neighbours=near, **shown))
    seconds = time.perf_counter() - start

    expected = {name: round(confidences[name].expected, 4) for name in captions if confidences}
    if Path(s.out).suffix in SUBTITLES:
        write_subtitles([(shot, captions[name]) for name, shot in media.shots.items()], s.out)
    else:
        write_captions(captions, s.out, reasons, expected)
    if page:
        corpus = captioner.retriever.corpus
        summary = f"Embeddings from {source.name}; retrieved from {len(corpus):,} captions of {corpus.name}."
        write_gallery(page, f"Captions by {run.name}", summary, items, total=len(captions))
    for item in items[:PRINTED]:
        note = f" ({item.note})" if item.note else ""
        print(f"{shortened(item.path, LONGEST)}: {shortened(item.caption, LONGEST)}{note}")
    images = counted(len(captions) - len(media.clips), "image")
    videos = counted(len(media.clips), "shot" if s.every else "video")
    print(f"{images} and {videos} in {seconds:.1f} s -> {', '.join(filter(None, (s.out, page)))}")
    return pd.DataFrame({"image": list(captions), "caption": list(captions.values())})


def chosen_options(published: CaptionOptions, s: Settings) -> CaptionOptions:
    """The method's own options but for those that are set."""
    given = {"num_beams": s.num_beams, "max_new_tokens": s.max_tokens, "rerank": s.rerank}
    given |= {"rerank_by": s.rerank_by if s.rerank_by != "auto" else ""}
    return published.but(**given)


if __name__ == "__main__":
    main()
