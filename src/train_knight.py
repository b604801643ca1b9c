"""Train Knight's decoder on text alone: each caption is to be said after the vectors of its nearest other captions.

No image is seen. With --from the captions of the valid images are scored after each epoch, and the best epoch is kept.

    python src/train_knight.py --data input/flickr8k --run knight --from ensemble
    python src/train_knight.py --corpus coco --run knight_coco
    python src/train_knight.py --data input/flickr8k --run clms --anchors 3 --from ensemble
    python src/train_knight.py --data input/flickr8k --run knight_gpt2 --decoder gpt2 --batch_size 32 --from ensemble
"""

from dataclasses import dataclass
from typing import Literal

from clipknight.captioning.caption_batches import TokenizedCaptions
from clipknight.captioning.caption_index import EXCLUDE, INDEXES, CaptionIndex
from clipknight.captioning.captioner import Captioner
from clipknight.captioning.decoders import CompactSize, load_decoder
from clipknight.captioning.knight import Knight
from clipknight.captioning.training import take_over_mapper, train
from clipknight.captioning.training_corpus import TrainingCorpus
from clipknight.captioning.training_settings import DecoderTrainingSettings
from clipknight.devices import pick_device, pick_precision
from clipknight.embedding.corpora import caption_encoder
from clipknight.errors import user_errors
from clipknight.methods.clms import AnchorCaptioner, anchored_captions
from clipknight.ranges import Few, Name, NonNegative, PositiveCount, Share
from clipknight.settings import parse
from clipknight.training.runs import Run

import numpy as np
import torch


@dataclass(frozen=True, kw_only=True)
class Settings(DecoderTrainingSettings):
    """Settings of train_knight.py"""

    run: Name = "knight"
    """name of the run: outputs/<run>"""
    n_neighbors: Few = 5
    """captions in the prefix; 0 for the embedding itself"""
    blind: bool = False
    """learn captions without any prefix but a constant: the language model that magic, zerocap and etp search with"""
    anchors: Few = 0
    """learn from a caption's own embedding and so many of its nouns, in place of neighbours (CLMs); 0 for none"""
    anchor_dropout: Share = 0.5
    """share of those nouns replaced by the one that inference would take, the nearest to the embedding"""
    concepts: PositiveCount = 500
    """of the corpus' nouns, the commonest, among which anchors are"""
    exclude: Literal[EXCLUDE] = "image"
    """left out of a caption's neighbours: index (itself), duplicate (its wording), image (its image's captions too)"""
    index: Literal[INDEXES] = "exact"
    """exact, or ivf: approximate search, for a corpus of hundreds of thousands"""
    noise: NonNegative = 0.0
    """Gaussian noise in training on vectors of D numbers at length √D, taken to that length again: its deviation, where
    a number's own is 1. Knight's authors .5. With --anchors on the caption's own vector alone"""
    variance: NonNegative = 0.0
    """instead of --noise the same noise by its variance on vectors at length 1, whatever D: .016 with --n_neighbors 0
    is CapDec. It is --noise squared, divided by D: .016 is noise 2.48 for 384 numbers, 2.86 for 512, 3.51 for 768"""


@user_errors
def main(argv=None) -> float:
    s = parse(Settings, argv, __doc__)
    Run.at(s.run).refuse_unless_free(s.resume, s.overwrite)
    if s.blind and s.from_:
        raise ValueError("--blind learns captions alone: no image can be captioned by it, leave out --from")
    if s.blind and s.anchors:
        raise ValueError("--blind learns captions without a prefix: leave out --anchors")
    if s.noise and s.variance:
        raise ValueError(f"--noise {s.noise} and --variance {s.variance} are two units of one: give one of them")
    read = TrainingCorpus.read(s)
    corpus, held_out, held_vectors, valid = read.corpus, read.held_out, read.held_vectors, read.valid
    index = CaptionIndex(read.vectors, s.index)
    images = read.source.of_split(valid, "valid", s.workers) if read.source else None
    torch.manual_seed(s.seed)
    decoder, tokenizer = load_decoder(s.decoder, corpus.texts, CompactSize(s.layers, s.width, s.vocabulary))
    dim = index.vectors.shape[1]
    noise = s.noise or (s.variance * dim) ** 0.5
    model = Knight(decoder, dim, noise, noisy=1 if s.anchors else None).to(pick_device(s.device))
    take_over_mapper(model, s.decoder)
    model.check_room(1 + s.anchors if s.anchors else max(s.n_neighbors, 1), s.max_tokens)
    print(f"{corpus.name}: {len(corpus):,} captions; decoder of {decoder.num_parameters() / 1e6:.1f} million weights")

    method = "blind" if s.blind else "anchors" if s.anchors else "knight" if s.n_neighbors else "direct"
    description = {"method": method, "n_neighbors": s.n_neighbors if method == "knight" else 0, "space": read.space}
    way, encode = Captioner, caption_encoder(s.space, s.target_encoder, s.device)
    if method == "anchors":
        way = AnchorCaptioner
        concepts, captions, held_captions = anchored_captions(read, encode, tokenizer, s)
        description |= {"anchors": s.anchors, "concepts": concepts.names}
    elif method == "blind":
        rows, held_rows = (np.zeros((len(part), 1), dtype=np.int32) for part in (corpus, held_out))
        vectors = held_vectors = np.zeros_like(index.vectors[:1])
    elif method == "knight":
        rows = index.neighbours(corpus, s.n_neighbors, s.exclude)
        _, held_rows = index.search(held_vectors, s.n_neighbors)
        vectors = held_vectors = index.vectors
    else:
        rows, held_rows = np.arange(len(corpus))[:, None], np.arange(len(held_out))[:, None]
        vectors = index.vectors
    if method != "anchors":
        captions = TokenizedCaptions(corpus.texts, vectors, rows, tokenizer, s.max_tokens)
        held_captions = TokenizedCaptions(held_out.texts, held_vectors, held_rows, tokenizer, s.max_tokens)

    def say(model: Knight) -> dict[str, str]:
        """Captions of the valid images."""
        precision = pick_precision(s.precision, pick_device(s.device))
        shared = {"encode": encode, "description": description}
        captioner = way(model, tokenizer, corpus, index, s.n_neighbors, precision, **shared)
        said = captioner.caption(images.vectors, s.num_beams, s.max_tokens).texts
        return dict(zip(images.ids, said, strict=True))

    run = Run.start(s.run, s, "knight", resume=s.resume, overwrite=s.overwrite, space=read.space)
    best = train(run, model, tokenizer, captions, held_captions, description, s, valid, say if images else None)
    run.finish(**best)
    print("  ".join(f"{name} {value:.4f}" for name, value in best.items() if isinstance(value, float)))
    print(f"Knight -> {run.folder}")
    return best["score"]


if __name__ == "__main__":
    main()
