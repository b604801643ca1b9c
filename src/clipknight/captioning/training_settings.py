"""Settings that every script shares which trains a decoder on captions alone."""

from dataclasses import dataclass, field

from clipknight.captioning.decoders import COMPACT, CompactSize
from clipknight.embedding.captioned_dataset import DataSettings


@dataclass(frozen=True, kw_only=True)
class DecoderTrainingSettings(DataSettings):
    """Settings of training a decoder on captions"""

    data: str = ""
    """dataset whose training captions are the corpus, unless --corpus names another, and whose valid split judges"""
    corpus: list[str] = field(default_factory=list)
    """captions to learn and to retrieve from: datasets, coco, files of captions; by default the dataset's own"""
    corpus_share: float = 1.0
    """share of the corpus' images whose captions are kept"""
    corpus_separator: str = ""
    """what parts several captions on one line of a text file"""
    space: str = "target"
    """what embeds the corpus: target (the target encoder, for predictions) or the name of a CLIP"""
    from_: str = ""
    """run, or encoder with a joint space, whose embeddings of the valid images are captioned after each epoch"""
    decoder: str = COMPACT
    """compact (a small GPT-2 from scratch), gpt2 or any other causal language model, smollm2, a folder, a run"""
    layers: int = CompactSize.layers
    """of the compact decoder"""
    width: int = CompactSize.width
    """of the compact decoder: a multiple of 64"""
    vocabulary: int = CompactSize.vocabulary
    """of the compact decoder's tokenizer, learnt on the corpus"""
    freeze_decoder: bool = False
    """train the mapper alone"""
    epochs: int = 5
    """times each caption is learnt"""
    batch_size: int = 128
    """captions a step and process"""
    max_tokens: int = 40
    """longest caption"""
    lr_mapper: float = 1e-3
    """learning rate of the mapper"""
    lr_decoder: float = 1e-3
    """learning rate of the decoder; for a pretrained one 1e-5 is usual"""
    weight_decay: float = 0.01
    """AdamW weight decay"""
    dropout: float = 0.0
    """in the decoder; .1 where the corpus is small"""
    warmup: float = 0.02
    """share of the steps with a rising learning rate; a cosine to zero follows"""
    ema: float = 0.999
    """decay of the averaged weights that are evaluated and kept; 0 for none"""
    num_beams: int = 5
    """of the captions that are scored"""
    half: bool = False
    """keep the best weights in 16 bits"""
    workers: int = 2
    """processes that read images"""
    save_every: int = 200
    """optimizer steps between two saves of last/"""
    precision: str = "auto"
    """auto (bf16 where the hardware has it), fp32, bf16, fp16"""
    resume: bool = False
    """go on with the run after a kill"""
    overwrite: bool = False
    """replace the run"""
