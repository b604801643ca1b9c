"""Train MacCap's decoder on text alone (Qiu et al. 2024): it learns each caption after noisy copies of its embedding.

No image is seen. With --from the captions of the valid images, of their sub-regions where it is an encoder, are scored
after each epoch, and the best epoch is kept. Without regions, noise and reranking, what is left is the mapper.

    python src/train_maccap.py --data input/flickr8k --run maccap --from flickr8k/clip
    python src/train_maccap.py --data input/flickr8k --run maccap_clip --space ViT-B-32:openai --from ViT-B-32:openai
    python src/train_maccap.py --corpus coco --run maccap_coco --decoder facebook/opt-125m --freeze_decoder
"""

from dataclasses import dataclass

from clipknight.captioning.settings import QUERIES, DecoderTrainingSettings
from clipknight.errors import parse_early, user_errors
from clipknight.methods.settings import BEAMS, COPIES, NEW_TOKENS, VARIANCE
from clipknight.ranges import Few, Name, NonNegative, PositiveFew
from clipknight.settings import parse


@dataclass(frozen=True, kw_only=True)
class Settings(DecoderTrainingSettings):
    """Settings of train_maccap.py"""

    run: Name = "maccap"
    """name of the run: outputs/<run>"""
    queries: PositiveFew = QUERIES
    """learnt queries: vectors in the prefix"""
    copies: PositiveFew = COPIES
    """of a caption's embedding, each with its own noise"""
    variance: NonNegative = VARIANCE
    """of the Gaussian noise in training on each number of an embedding at length 1, whatever their number, taken to
    length 1 again; 0 for none"""
    image_variance: NonNegative = VARIANCE
    """of the noise on an image's vectors; 0 for none"""
    regions: Few = 10
    """sub-regions of an image, from an encoder; 0 for the embedding itself, repeated: all that a run's --from gives"""
    weight: NonNegative = 1.0
    """of a sub-region beside the image embedding"""
    num_beams: PositiveFew = BEAMS
    """of the captions that are scored"""
    new_tokens: PositiveFew = NEW_TOKENS
    """longest caption of those that are scored"""
    rerank: PositiveFew = 1
    """noisy decodings of an image among which the scored caption is chosen, by embedding; each takes as long as one"""


if __name__ == "__main__":
    parse_early(Settings, __doc__)  # --help and typos, before the parts load

from clipknight.captioning.caption_index import CaptionIndex
from clipknight.captioning.captioner import Captioner, CaptionOptions
from clipknight.captioning.decoders import load_decoder
from clipknight.captioning.decoding import Decoder
from clipknight.captioning.knight import Knight
from clipknight.captioning.objectives import WordByWord
from clipknight.captioning.prefixes import captions_in_training
from clipknight.captioning.retriever import Retriever
from clipknight.captioning.settings import CompactSize
from clipknight.captioning.training import take_over_mapper, train
from clipknight.captioning.training_corpus import TrainingCorpus
from clipknight.devices import pick_device, pick_precision
from clipknight.embedding.corpora import caption_encoder
from clipknight.methods.maccap import MacCap, SubRegionPrefix
from clipknight.preparation import prepare_process
from clipknight.training.runs import Run

import torch


@user_errors
def main(argv=None) -> float:
    s = parse(Settings, argv, __doc__)
    prepare_process(s.backend)
    Run.at(s.run).refuse_unless_free(s.resume, s.overwrite)
    prefix = SubRegionPrefix(regions=s.regions, weight=s.weight, noise=s.image_variance, copies=s.copies)
    read = TrainingCorpus.read(s)
    images = read.source.of_split(read.valid, "valid", s.workers, regions=s.regions) if read.source else None
    encode = caption_encoder(s.space, s.target_encoder, s.device)  # loaded once, at its first call
    retriever = Retriever(read.corpus, CaptionIndex(read.vectors), encode)

    torch.manual_seed(s.seed)
    device = pick_device(s.device)
    decoder, tokenizer = load_decoder(s.decoder, read.corpus.texts, CompactSize(s.layers, s.width, s.vocabulary))
    noise = (s.variance * retriever.dim) ** 0.5  # the model draws it on vectors of length √dim
    model = Knight(decoder, retriever.dim, noise, prefix.noisy, s.queries).to(device)
    take_over_mapper(model, s.decoder)
    model.check_room(s.queries, max(s.max_tokens, s.new_tokens))
    weights = decoder.num_parameters() / 1e6
    print(f"{read.corpus.name}: {len(read.corpus):,} captions; decoder of {weights:.1f} million weights")
    captions, held_captions = prefix.captions(read, tokenizer, s.max_tokens, s.variance, s.seed)

    def captioner(decoder: Decoder) -> Captioner:
        return Captioner(retriever, MacCap(decoder, prefix))

    options = CaptionOptions(s.num_beams, s.new_tokens, s.rerank, "embedding")
    judge = captions_in_training(images, captioner, tokenizer, pick_precision(s.precision, device), options)
    run = Run.start(s.run, s, "maccap", resume=s.resume, overwrite=s.overwrite, space=read.space)
    description = {**prefix.description, "space": read.space}
    best = train(run, model, tokenizer, WordByWord(captions), held_captions, description, s, read.valid, judge)
    run.finish(**best)
    print("  ".join(f"{name} {value:.4f}" for name, value in best.items() if isinstance(value, float)))
    print(f"MacCap -> {run.folder}")
    return best["score"]


if __name__ == "__main__":
    main()
