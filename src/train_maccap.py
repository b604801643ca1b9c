"""Train MacCap's decoder on text alone (Qiu et al. 2024): a caption is to be said after noisy copies of its embedding.

No image is seen. With --from the captions of the valid images, of their sub-regions where it is an encoder, are scored
after each epoch, and the best epoch is kept. Without regions, noise and reranking, what is left is the mapper.

    python src/train_maccap.py --data input/flickr8k --run maccap --from flickr8k/clip
    python src/train_maccap.py --data input/flickr8k --run maccap_clip --space ViT-B-32:openai --from ViT-B-32:openai
    python src/train_maccap.py --corpus coco --run maccap_coco --decoder facebook/opt-125m --freeze_decoder
"""

from dataclasses import dataclass

from clipknight.captioning.caption_batches import TokenizedCaptions
from clipknight.captioning.caption_index import CaptionIndex
from clipknight.captioning.decoders import CompactSize, load_decoder
from clipknight.captioning.embedding_sources import parts
from clipknight.captioning.knight import Knight
from clipknight.captioning.query_mapper import QUERIES
from clipknight.captioning.training import take_over_mapper, train
from clipknight.captioning.training_corpus import TrainingCorpus
from clipknight.captioning.training_settings import DecoderTrainingSettings
from clipknight.devices import pick_device, pick_precision
from clipknight.embedding.corpora import caption_encoder
from clipknight.errors import user_errors
from clipknight.methods.maccap import COPIES, VARIANCE, MacCap, NoisyRows
from clipknight.ranges import Few, Name, NonNegative, PositiveFew
from clipknight.settings import parse
from clipknight.training.runs import Run

import numpy as np
import torch


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
    num_beams: PositiveFew = MacCap.search["num_beams"]
    """of the captions that are scored"""
    new_tokens: PositiveFew = MacCap.search["max_new_tokens"]
    """longest caption of those that are scored"""
    rerank: PositiveFew = 1
    """noisy decodings of an image among which the scored caption is chosen, by embedding; each takes as long as one"""


@user_errors
def main(argv=None) -> float:
    s = parse(Settings, argv, __doc__)
    Run.at(s.run).refuse_unless_free(s.resume, s.overwrite)
    read = TrainingCorpus.read(s)
    corpus, held_out, valid = read.corpus, read.held_out, read.valid
    index = CaptionIndex(read.vectors)
    images = read.source.of_split(valid, "valid", s.workers, regions=s.regions) if read.source else None
    torch.manual_seed(s.seed)
    decoder, tokenizer = load_decoder(s.decoder, corpus.texts, CompactSize(s.layers, s.width, s.vocabulary))
    dim = index.vectors.shape[1]
    # The model draws its noise on vectors of length √dim, and the mapper takes the sum at that length again.
    model = Knight(decoder, dim, (s.variance * dim) ** 0.5, queries=s.queries).to(pick_device(s.device))
    take_over_mapper(model, s.decoder)
    model.check_room(s.queries, max(s.max_tokens, s.new_tokens))
    print(f"{corpus.name}: {len(corpus):,} captions; decoder of {decoder.num_parameters() / 1e6:.1f} million weights")

    rows, held_rows = (np.arange(len(part))[:, None].repeat(s.copies, axis=1) for part in (corpus, held_out))
    held_vectors = NoisyRows(read.held_vectors, s.variance, s.seed) if s.variance else read.held_vectors
    captions = TokenizedCaptions(corpus.texts, index.vectors, rows, tokenizer, s.max_tokens)
    held_captions = TokenizedCaptions(held_out.texts, held_vectors, held_rows, tokenizer, s.max_tokens)
    encode = caption_encoder(s.space, s.target_encoder, s.device)  # loaded once, at its first call
    options = {"regions": s.regions, "weight": s.weight, "noise": s.image_variance, "copies": s.copies}

    def say(model: Knight) -> dict[str, str]:
        """Captions of the valid images."""
        precision = pick_precision(s.precision, pick_device(s.device))
        captioner = MacCap(model, tokenizer, corpus, index, 0, precision, encode=encode, **options)
        whole, regions = parts(np.asarray(images.vectors), dim)
        said = captioner.caption(whole, s.num_beams, s.new_tokens, s.rerank, "embedding", **regions).texts
        return dict(zip(images.ids, said, strict=True))

    run = Run.start(s.run, s, "maccap", resume=s.resume, overwrite=s.overwrite, space=read.space)
    description = {"method": "maccap", "n_neighbors": 0, "space": read.space, "options": options}
    best = train(run, model, tokenizer, captions, held_captions, description, s, valid, say if images else None)
    run.finish(**best)
    print("  ".join(f"{name} {value:.4f}" for name, value in best.items() if isinstance(value, float)))
    print(f"MacCap -> {run.folder}")
    return best["score"]


if __name__ == "__main__":
    main()
