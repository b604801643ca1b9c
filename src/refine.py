"""Refine a run's predictions among captions: each becomes the weighted mean of the captions that are nearest to it.

This is Model B whose query is another run's prediction, so it needs no training and no images. With captions of
another domain (--corpus) it adapts a run to that domain: a run trained on Flickr8k and refined among COCO's captions
predicts photos of any kind better. What all of a run's predictions have in common is its own domain's (--centre leaves
some of it out). In a blend a row counts the less, the less the captions near it agree.

    python src/refine.py --data input/flickr8k --from a --run a_refined
    python src/refine.py --data input/flickr8k --from ensemble --run for_any_photo --corpus coco --corpus_share 0.05
"""

from dataclasses import dataclass, field
from typing import Literal

from clipknight.devices import BackendSettings
from clipknight.embedding.settings import KeptDataSettings, SkippingSettings
from clipknight.ensemble.settings import INDEX_PARAMS
from clipknight.errors import parse_early, user_errors
from clipknight.ranges import Name, NonNegative, Positive, PositiveCount, PositiveShare, Share
from clipknight.settings import parse
from clipknight.training.settings import RunSettings


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings, BackendSettings, SkippingSettings, KeptDataSettings):
    """Settings of refine.py"""

    run: Name = "refined"
    """name of the run: outputs/<run>"""
    from_: str
    """run whose predictions are refined: any that predicts"""
    corpus: list[str] = field(default_factory=list)
    """captions to refine among: datasets, coco, files of captions; by default the training captions of --data"""
    corpus_separator: str = ""
    """what parts several captions on one line of a text file"""
    corpus_share: PositiveShare = 1.0
    """share of the corpus' images whose captions are kept, drawn by the seed"""
    n_neighbors: PositiveCount = 200
    """captions that are averaged"""
    power: NonNegative = 6
    """p in the weight 1 / (d^p + delta)"""
    delta: Positive = 1e-4
    """what keeps the weight of a twin finite"""
    centre: Share = 0.0
    """share of the mean prediction for valid that is taken off each before it is refined"""
    index: Literal[tuple(INDEX_PARAMS)] = "exact"
    """exact, or approximate, whose recall is then measured: ivf, hnsw, ivf_sq8, ivf_pq; auto: by the number of captions
    and the free memory"""


if __name__ == "__main__":
    parse_early(Settings, __doc__)  # --help and typos, before the parts load

from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.corpora import Corpus, corpus_embeddings, read_corpus
from clipknight.ensemble.index_choice import resolved_index
from clipknight.ensemble.knn import DistanceWeightedKNN
from clipknight.ensemble.refined import refined, save_shift
from clipknight.ensemble.saved_knn import save_knn
from clipknight.preparation import prepare_process
from clipknight.training.runs import Run


@user_errors
def main(argv=None) -> float:
    s = parse(Settings, argv, __doc__)
    prepare_process(s.backend)
    Run.at(s.run).refuse_unless_free(overwrite=s.overwrite)
    source = Run.open(s.from_)
    if source.folder.resolve() == Run.at(s.run).folder.resolve():
        raise ValueError(f"--run {s.run!r} is the run that is refined: name the refined one otherwise")
    if (space := source.settings["target_encoder"]) != s.target_encoder:
        raise ValueError(f"{source.name} predicts embeddings of {space}: give --target_encoder {space}")
    data = CaptionedDataset.of(s)
    train, valid = data.split("train"), data.split("valid")
    corpus = chosen_corpus(train, s)
    captions = corpus_embeddings(corpus, "target", s.target_encoder, s.device).vectors

    run = Run.start(s.run, s, "refined", overwrite=s.overwrite)
    formula = {"power": s.power, "delta": s.delta, "unit_output": False}
    knn = DistanceWeightedKNN(
        min(s.n_neighbors, len(captions)), **formula, index=resolved_index(s.index, *captions.shape)
    )
    save_knn(knn.fit(captions, captions), run.folder / "best")
    shift = s.centre * source.predictions("valid").vectors.mean(axis=0)
    save_shift(shift, run.folder / "best")
    if knn.index != "exact":
        print(f"{knn.index} index: recall@{knn.n_neighbors} {knn.recall():.4f} against exact search")

    # What the source has saved, not predicted anew: an ensemble's rows of valid are its out-of-fold ones.
    for split in source.predicted_splits:
        run.save_predictions(split, refined(knn, source.predictions(split), shift, run.name))
    before, score = (valid.avg_cos(rows.predictions("valid")) for rows in (source, run))
    run.log(avg_cos=score, before=before)
    counts = {"valid_images": len(valid.dataset), "valid_pairs": len(valid.targets), "corpus_captions": len(corpus)}
    run.finish(avg_cos=score, **counts)
    print(
        f"refined among {len(corpus):,} captions: valid Avg-Cos {before:.4f} -> {score:.4f}, "
        f"{len(valid.dataset)} images, {len(valid.targets)} pairs -> {run.folder}"
    )
    return score


def chosen_corpus(train: CaptionedDataset, s: Settings) -> Corpus:
    """The captions to refine among. None of valid or test is among the dataset's own."""
    if not s.corpus:
        return Corpus.of(train.dataset).share(s.corpus_share, s.seed)
    return read_corpus(s.corpus, s.corpus_separator, s.columns, s.seed).share(s.corpus_share, s.seed)


if __name__ == "__main__":
    main()
