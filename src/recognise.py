"""Make the concepts member: it predicts a photo's embedding from what a classifier recognises in it (ConSE).

Nothing is trained, and no captioned photo is needed: the prediction is the mean embedding of the texts "a photo of a
CONCEPT", weighted by how probable each concept is (Norouzi et al. 2014). With --corpus a concept is instead the mean
of the captions nearest to that text: what people say where they see it. Beside Model A it helps with photos that
training did not see. It is a member of a blend like any other.

    python src/recognise.py --data input/flickr8k --run concepts
    python src/blend.py --data input/flickr8k --members a b concepts --run ensemble
    python src/recognise.py --data input/flickr8k --encoder timm:vit_base_patch16_224.augreg_in21k --run concepts_21k
    python src/recognise.py --data input/flickr8k --encoder ViT-L-14:openai --vocabulary nouns.txt --run concepts_clip
"""

from dataclasses import dataclass, field
from typing import Literal

from clipknight.devices import BackendSettings, PrecisionSettings, WorkerSettings
from clipknight.embedding.settings import FEATURES, OFFLINE, DataSettings, SkippingSettings
from clipknight.errors import parse_early, user_errors
from clipknight.ranges import Name, PositiveCount, PositiveShare, ShareBelowOne
from clipknight.settings import parse
from clipknight.training.settings import RunSettings


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings, WorkerSettings, PrecisionSettings, BackendSettings, SkippingSettings, DataSettings):
    """Settings of recognise.py"""

    run: Name = "concepts"
    """name of the run: outputs/<run>"""
    encoder: str = f"{OFFLINE}@224"
    """what recognises: lite2-minilm (or lite0, lite1) by its classifier of ImageNet; timm:resnet50.a1_in1k or any other
    of timm's classifiers, also in a folder; any CLIP with --vocabulary"""
    vocabulary: str = ""
    """text file of the concepts that a CLIP tells apart, one a line; for a classifier of timm's the names of its
    classes in order, where timm has none"""
    features: Literal[FEATURES] = "auto"
    """image embedding that is classified: auto (the encoder's own), or pooled (before its projection)"""
    top: PositiveCount = 30
    """the most probable concepts, which alone count"""
    rare: ShareBelowOne = 0.02
    """share of the valid images, the least familiar ones, from which on nothing counts as recognised in a picture"""
    prompt: str = "a photo of a {}"
    """text whose embedding stands for a concept"""
    corpus: list[str] = field(default_factory=list)
    """captions, the nearest of which stand for a concept in place of that text: datasets, coco, files of captions"""
    corpus_separator: str = ""
    """what parts several captions on one line of a text file"""
    corpus_share: PositiveShare = 1.0
    """share of the corpus' images whose captions are kept, drawn by the seed"""
    corpus_neighbors: PositiveCount = 20
    """captions that stand for a concept"""


if __name__ == "__main__":
    parse_early(Settings, __doc__)  # --help and typos, before the parts load

from clipknight.embedding.cache import unscaled_embeddings
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.clip import is_timm, load_clip, load_image_encoder
from clipknight.embedding.corpora import corpus_embeddings, read_corpus
from clipknight.embedding.embeddings import unit
from clipknight.embedding.recognition import Recogniser, classifier, read_vocabulary, zero_shot
from clipknight.embedding.target_encoder import load_target_encoder
from clipknight.ensemble.concepts import Concepts
from clipknight.ensemble.knn import DistanceWeightedKNN
from clipknight.ensemble.predictors import save_split_predictions
from clipknight.preparation import prepare_process
from clipknight.training.runs import Run

import numpy as np

MARGIN = 1e-3  # below the mark's own image, for which rounding would decide otherwise here and there


@user_errors
def main(argv=None) -> float:
    s = parse(Settings, argv, __doc__)
    prepare_process(s.backend)
    if "{}" not in s.prompt:
        raise ValueError(f"--prompt {s.prompt!r} has no {{}}, where the concept goes")
    Run.at(s.run).refuse_unless_free(overwrite=s.overwrite)
    words = read_vocabulary(s.vocabulary) if s.vocabulary else []
    by_words = words and not is_timm(s.encoder)
    if by_words:
        encoder = load_clip(s.encoder, s.device, s.precision, s.features)
        known = zero_shot(encoder, words, s.prompt)
    else:
        encoder = load_image_encoder(s.encoder, s.device, s.precision, s.features)
        known = classifier(encoder, words)
    data = CaptionedDataset.of(s)
    valid = data.split("valid")

    run = Run.start(s.run, s, "concepts", overwrite=s.overwrite, encoder_fingerprint=encoder.fingerprint("visual"))
    texts = [s.prompt.format(concept) for concept in known.concepts]
    vectors = load_target_encoder(s.target_encoder, s.device).encode(texts, batch_size=128, show_progress_bar=False)
    vectors = as_captions(unit(vectors), s) if s.corpus else unit(vectors)
    features = unscaled_embeddings(encoder, valid.dataset, workers=s.workers)
    Concepts(known, vectors, s.top, least_familiar(known, features.vectors, s.rare)).to_folder(run.folder / "best")

    save_split_predictions(run, data.dataset, s)
    score = valid.avg_cos(run.predictions("valid"))
    run.log(avg_cos=score)
    counts = {"valid_images": len(valid.dataset), "valid_pairs": len(valid.targets), "concepts": len(texts)}
    run.finish(avg_cos=score, **counts)
    print(
        f"concepts: valid Avg-Cos {score:.4f}, {len(valid.dataset)} images, {len(valid.targets)} pairs, "
        f"{len(texts):,} concepts -> {run.folder}"
    )
    return score


def least_familiar(known: Recogniser, features: np.ndarray, rare: float) -> float | None:
    """How familiar pictures look that are not among the share `rare` of the images of `features` (N, D); None for 0."""
    return float(np.quantile(known.recognised(features)[1], rare)) - MARGIN if rare else None


def as_captions(vectors: np.ndarray, s: Settings) -> np.ndarray:
    """Unit rows of the captions nearest to each of `vectors` (C, T), averaged."""
    corpus = read_corpus(s.corpus, s.corpus_separator, s.columns, s.seed).share(s.corpus_share, s.seed)
    captions = corpus_embeddings(corpus, "target", s.target_encoder, s.device).vectors
    return DistanceWeightedKNN(min(s.corpus_neighbors, len(captions))).fit(captions, captions).predict(vectors)


if __name__ == "__main__":
    main()
