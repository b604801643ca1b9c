"""Settings of every script that trains a decoder on captions alone, and what such scripts' flags offer.

Nothing heavy is imported here.
"""

from dataclasses import dataclass, field

from clipknight.devices import BackendSettings, PrecisionSettings, WorkerSettings
from clipknight.embedding.settings import DataSettings, SkippingSettings
from clipknight.ranges import Name, PositiveCount, PositiveFew, PositiveShare, Rate, Share, ShareBelowOne
from clipknight.settings import without_effect
from clipknight.training.settings import ResumableSettings

INDEXES = ("exact", "ivf")
EXCLUDE = ("index", "duplicate", "image")
COMPACT, SMOLLM2 = "compact", "smollm2"  # decoders that need no hub
QUERIES = 32  # of MacCap's mapper: the authors'


@dataclass(frozen=True)
class CompactSize:
    """Size of the compact decoder; `width` is a multiple of 64, the width of a head."""

    layers: int = 6
    width: int = 384
    vocabulary: int = 6144
    positions: int = 128


@dataclass(frozen=True, kw_only=True)
class DecoderTrainingSettings(
    ResumableSettings, WorkerSettings, PrecisionSettings, BackendSettings, SkippingSettings, DataSettings
):
    """Settings of training a decoder on captions"""

    data: str = ""
    """dataset whose training captions are the corpus, unless --corpus names another, and whose valid split judges"""
    corpus: list[str] = field(default_factory=list)
    """captions to learn and to retrieve from: datasets, coco, files of captions; by default the dataset's own"""
    corpus_share: PositiveShare = 1.0
    """share of the corpus' images whose captions are kept"""
    corpus_separator: str = ""
    """what parts several captions on one line of a text file"""
    space: Name = "target"
    """what embeds the corpus: target (the target encoder, for predictions) or the name of a CLIP"""
    from_: str = ""
    """run, or encoder with a joint space, whose embeddings of the valid images are captioned after each epoch"""
    decoder: Name = COMPACT
    """compact (a small GPT-2 from scratch), gpt2 or any other causal language model, smollm2, a folder, a run"""
    layers: PositiveFew = CompactSize.layers
    """of the compact decoder"""
    width: PositiveFew = CompactSize.width
    """of the compact decoder: a multiple of 64"""
    vocabulary: PositiveCount = CompactSize.vocabulary
    """of the compact decoder's tokenizer, learnt on the corpus"""
    freeze_decoder: bool = False
    """train the mapper alone"""
    epochs: PositiveFew = 5
    """times each caption is learnt"""
    batch_size: PositiveFew = 128
    """captions a step and process"""
    max_tokens: PositiveFew = 40
    """longest caption"""
    lr_mapper: Rate = 1e-3
    """learning rate of the mapper"""
    lr_decoder: Rate = 1e-3
    """learning rate of the decoder; for a pretrained one 1e-5 is usual"""
    weight_decay: Rate = 0.01
    """AdamW weight decay"""
    dropout: ShareBelowOne = 0.0
    """in the decoder; .1 where the corpus is small"""
    warmup: Share = 0.02
    """share of the steps with a rising learning rate; a cosine to zero follows"""
    ema: ShareBelowOne = 0.999
    """decay of the averaged weights that are evaluated and kept; 0 for none"""
    num_beams: PositiveFew = 5
    """of the captions that are scored"""
    half: bool = False
    """keep the best weights in 16 bits"""
    save_every: PositiveCount = without_effect(200)
    """optimizer steps between two saves of last/"""
