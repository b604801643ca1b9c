"""Train Knight's decoder on text alone: it learns each caption after the vectors of its nearest other captions.

No image is seen. With --from the captions of the valid images are scored after each epoch, and the best epoch is kept.

    python src/train_knight.py --data input/flickr8k --run knight --from ensemble
    python src/train_knight.py --corpus coco --run knight_coco
    python src/train_knight.py --data input/flickr8k --run rewarded --from ensemble --decoder outputs/knight --samples 5
    python src/train_knight.py --data input/flickr8k --run clms --anchors 3 --from ensemble
    python src/train_knight.py --data input/flickr8k --run knight_gpt2 --decoder gpt2 --batch_size 32 --from ensemble
"""

from dataclasses import dataclass
from typing import Literal

from clipknight.captioning.settings import EXCLUDE, INDEXES, DecoderTrainingSettings
from clipknight.errors import parse_early, user_errors
from clipknight.ranges import Few, Name, NonNegative, PositiveCount, Share
from clipknight.settings import parse


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
    samples: Few = 0
    """captions drawn after each caption's neighbours and rewarded by their CIDEr against the other captions of its
    image, in place of learning its words (self-critical): 5, from a run that has learnt words, at rates of 1e-4"""
    variance: NonNegative = 0.0
    """instead of --noise the same noise by its variance on vectors at length 1, whatever D: .016 with --n_neighbors 0
    is CapDec. It is --noise squared, divided by D: .016 is noise 2.48 for 384 numbers, 2.86 for 512, 3.51 for 768"""


if __name__ == "__main__":
    parse_early(Settings, __doc__)  # --help and typos, before the parts load

from clipknight.captioning.caption_index import CaptionIndex
from clipknight.captioning.captioner import Captioner, CaptionOptions
from clipknight.captioning.decoders import load_decoder
from clipknight.captioning.decoding import Decoder
from clipknight.captioning.knight import Knight
from clipknight.captioning.objectives import SelfCritical, WordByWord
from clipknight.captioning.prefixes import (
    BlindPrefix,
    DirectPrefix,
    NeighbourPrefix,
    Prefix,
    PrefixCaptions,
    captions_in_training,
)
from clipknight.captioning.retriever import Retriever
from clipknight.captioning.settings import CompactSize
from clipknight.captioning.training import take_over_mapper, train
from clipknight.captioning.training_corpus import TrainingCorpus
from clipknight.devices import pick_device, pick_precision
from clipknight.embedding.corpora import caption_encoder
from clipknight.methods.clms import AnchorPrefix
from clipknight.preparation import prepare_process
from clipknight.training.runs import Run

import torch


@user_errors
def main(argv=None) -> float:
    s = parse(Settings, argv, __doc__)
    prepare_process(s.backend)
    Run.at(s.run).refuse_unless_free(s.resume, s.overwrite)
    check(s)
    read = TrainingCorpus.read(s)
    images = read.source.of_split(read.valid, "valid", s.workers) if read.source else None
    encode = caption_encoder(s.space, s.target_encoder, s.device)  # loaded once, at its first call
    retriever = Retriever(read.corpus, CaptionIndex(read.vectors, s.index), encode)
    prefix = chosen_prefix(s, retriever)

    torch.manual_seed(s.seed)
    device = pick_device(s.device)
    decoder, tokenizer = load_decoder(s.decoder, read.corpus.texts, CompactSize(s.layers, s.width, s.vocabulary))
    noise = s.noise or (s.variance * retriever.dim) ** 0.5
    model = Knight(decoder, retriever.dim, noise, prefix.noisy).to(device)
    take_over_mapper(model, s.decoder)
    model.check_room(prefix.length, s.max_tokens)
    weights = decoder.num_parameters() / 1e6
    print(f"{read.corpus.name}: {len(read.corpus):,} captions; decoder of {weights:.1f} million weights")
    captions, held_captions = prefix.captions(read, tokenizer, s.max_tokens)
    rewarded = SelfCritical(captions, read.corpus, tokenizer, s.samples, s.max_tokens)
    objective = rewarded if s.samples else WordByWord(captions)

    def captioner(decoder: Decoder) -> Captioner:
        return Captioner(retriever, PrefixCaptions(decoder, prefix), prefix.length)

    options, precision = CaptionOptions(s.num_beams, s.max_tokens), pick_precision(s.precision, device)
    judge = captions_in_training(images, captioner, tokenizer, precision, options)
    run = Run.start(s.run, s, "knight", resume=s.resume, overwrite=s.overwrite, space=read.space)
    description = {**prefix.description, "space": read.space}
    best = train(run, model, tokenizer, objective, held_captions, description, s, read.valid, judge)
    run.finish(**best)
    print("  ".join(f"{name} {value:.4f}" for name, value in best.items() if isinstance(value, float)))
    print(f"Knight -> {run.folder}")
    return best["score"]


def chosen_prefix(s: Settings, retriever: Retriever) -> Prefix:
    """What the settings have stand before a caption."""
    if s.blind:
        return BlindPrefix()
    if s.anchors:
        return AnchorPrefix.learned(retriever, s.anchors, s.concepts, s.anchor_dropout, s.seed)
    return NeighbourPrefix(retriever, s.n_neighbors, s.exclude) if s.n_neighbors else DirectPrefix()


def check(s: Settings) -> None:
    """ValueError for settings that contradict each other."""
    if s.blind and s.from_:
        raise ValueError("--blind learns captions alone: no image can be captioned by it, leave out --from")
    if s.blind and s.anchors:
        raise ValueError("--blind learns captions without a prefix: leave out --anchors")
    if s.samples == 1:
        raise ValueError("--samples 1 leaves a sample nothing to be compared with: 5, or 0 to learn word by word")
    if s.samples and not s.from_:
        raise ValueError("--samples makes captions of images better, not text likelier: judge by images, with --from")
    if s.noise and s.variance:
        raise ValueError(f"--noise {s.noise} and --variance {s.variance} are two units of one: give one of them")


if __name__ == "__main__":
    main()
