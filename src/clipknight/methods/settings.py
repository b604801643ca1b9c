"""The ways to caption, by name, and what their flags offer; nothing heavy is imported here.

`knight`   the nearest captions as prefix of the decoder (Wang et al. 2023)
`direct`   the embedding itself as prefix: for CapDec, and for Knight at k = 0
`decap`    the embedding projected onto the corpus as prefix (DeCap)
`anchors`  the embedding and the concepts nearest to it as prefix (CLMs)
`maccap`   the embeddings of an image's sub-regions, with noise, as prefix (MacCap)
`clipre`   the nearest caption as it stands: no decoder
`magic`    a search among a blind language model's likeliest words for those that suit the image (MAGIC)
`zerocap`  a blind language model whose memory of its text is bent towards the image before each token (ZeroCap)
`etp`      a blind language model after pseudo-tokens that are learnt for each image or video (ETP)
`socratic` an instructed language model that is told what is detected in the image (SMs)
"""

from typing import Literal, NamedTuple


class Method(NamedTuple):
    """A way to caption: `kind` names the class of its own part, whose keyword-only fields are its options.

    `composed` says what stands beside that part, see registry.py. `decoders` are what a run may have been trained for,
    to be captioned with in this way.
    """

    kind: str
    composed: Literal["prefix", "regions", "retrieval", "search", "instruction"]
    decoders: tuple[str, ...]


WITH_PREFIX = ("knight", "direct", "anchors", "maccap")
METHODS = {
    "knight": Method("clipknight.captioning.prefixes:NeighbourPrefix", "prefix", ("knight",)),
    "direct": Method("clipknight.captioning.prefixes:DirectPrefix", "prefix", ("direct",)),
    "decap": Method("clipknight.methods.retrieval:ProjectionPrefix", "prefix", ("direct",)),
    "anchors": Method("clipknight.methods.clms:AnchorPrefix", "prefix", ("anchors",)),
    "maccap": Method("clipknight.methods.maccap:SubRegionPrefix", "regions", ("maccap",)),
    "clipre": Method("clipknight.methods.retrieval:CLIPRe", "retrieval", WITH_PREFIX),
    "magic": Method("clipknight.methods.magic:MAGIC", "search", ("blind",)),
    "zerocap": Method("clipknight.methods.zerocap:ZeroCap", "search", ("blind",)),
    "etp": Method("clipknight.methods.etp:PseudoTokens", "search", ("blind",)),
    "socratic": Method("clipknight.methods.socratic:Socratic", "instruction", (*WITH_PREFIX, "blind")),
}

IMAGE_AS = ("captions", "prefix")  # how an image enters a prompt: see question_answering.py
COPIES = 10  # of a caption's embedding in MacCap's training
VARIANCE = 0.016  # of MacCap's noise on each number of a unit vector
BEAMS, NEW_TOKENS = 4, 16  # of MacCap's captions
