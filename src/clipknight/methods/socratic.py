"""SMs, Socratic Models: what is detected in an image is told to a language model, which captions it (Zeng et al. 2022).

Nothing is trained. Detected are the kind of image, the number of people, and the places and objects whose embeddings
are nearest to the image's; of several captions that the language model says to that, the one nearest to the image is
kept. The authors detect by CLIP ViT-L/14 among the classes of Places365 and Tencent ML-Images, and ask GPT-3. Here
objects and places are the corpus' own commonest nouns, told apart by WordNet, and any instructed model is asked.
"""

import re
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from typing import ClassVar

from clipknight.captioning.captioner import CaptionOptions, ImageVectors
from clipknight.captioning.decoding import sentence
from clipknight.captioning.retriever import Retriever
from clipknight.data.wordnet import hypernyms
from clipknight.embedding.embeddings import unit
from clipknight.methods.clms import Concepts, common_nouns
from clipknight.methods.instruction_model import InstructionModel

import numpy as np
import torch

KINDS = ("photo", "painting", "drawing", "cartoon")
PEOPLE = ("no people", "one person", "two people", "three people", "several people", "many people")
PROMPT = (  # a sentence is left out where nothing is detected
    "I am a bot that captions images. This image is a {kind}. It shows {people}. {places}{objects}"
    "A short caption that describes this image:"
)
PLACES = frozenset(  # what nouns of places are kinds of, in WordNet
    "area body_of_water building establishment facility geographic_point geographical_area geological_formation "
    "housing way".split()
)
UNSEEN = frozenset(["location", "creation", "representation"])  # sides and fronts; pictures as such
SENSES = 3  # of a noun, the commonest: a table is a list first, and furniture next


@dataclass(frozen=True, eq=False)
class Socratic:
    """Any run will do: its corpus and its space are used, its decoder is not.

    `language_model` is smollm2, a name on the hub or a folder. It says `samples` captions at `temperature`, or its
    likeliest by beam search at temperature 0; those nearest to the image are the candidates. `places` and `objects`
    are how many it is told of, among the `nouns` commonest of the corpus. `chat` is InstructionModel's; without it the
    captions of smollm2 are shorter and nearer to the image.
    """

    retriever: Retriever
    device: str = "auto"
    precision: str = "auto"
    batch_size: int = 64
    _: KW_ONLY
    language_model: str = "smollm2"
    samples: int = 10
    temperature: float = 0.9
    places: int = 3
    objects: int = 10
    nouns: int = 400
    chat: bool = False
    seed: int = 0

    options: ClassVar[CaptionOptions] = CaptionOptions()
    regions: ClassVar[int] = 0

    def candidates(self, images: ImageVectors, options: CaptionOptions) -> list[str]:
        whole = unit(images.whole).astype(np.float32)
        each = max(self.samples, options.rerank)
        search = {"do_sample": True, "temperature": self.temperature} if self.temperature else {"num_beams": each}
        model = replace(self.instructed, batch_size=max(1, self.batch_size // each))
        torch.manual_seed(self.seed)
        texts = model.say(self.prompts(whole), options.max_new_tokens, num_return_sequences=each, **search)
        texts = [first_sentence(text) for text in texts]
        likeness = np.einsum("nrd,nd->nr", unit(self.retriever.encode(texts)).reshape(len(whole), each, -1), whole)
        best = np.argsort(-likeness, axis=1, kind="stable")[:, : options.rerank]
        return [texts[i * each + place] for i, places in enumerate(best) for place in places]

    def prompts(self, embeddings: np.ndarray) -> list[str]:
        """What is detected in images (N, D), in words."""
        kinds, people, places, objects = (
            [[concepts.names[row] for row in rows] for rows in concepts.nearest(embeddings, count)]
            if count
            else [[]] * len(embeddings)
            for concepts, count in zip(self.vocabulary, (1, 1, self.places, self.objects), strict=True)
        )
        return [
            PROMPT.format(
                kind=kind[0],
                people=number[0],
                places=f"It was probably taken at a {' or '.join(where)}. " if where else "",
                objects=f"There may be a {', '.join(what)} in it. " if what else "",
            )
            for kind, number, where, what in zip(kinds, people, places, objects, strict=True)
        ]

    @cached_property
    def vocabulary(self) -> tuple[Concepts | None, ...]:
        """Kinds of image, numbers of people, and the corpus' places and objects; None for what is not asked for."""
        corpus, encode = self.retriever.corpus, self.retriever.encode
        names, _ = common_nouns(corpus.texts, self.nouns)
        kinds = {name: noun_kind(name) for name in names}
        found = {kind: [name for name in names if kinds[name] == kind] for kind in ("place", "object")}
        for kind, wanted in (("place", self.places), ("object", self.objects)):
            if len(found[kind]) < wanted:
                raise ValueError(
                    f"of the {len(names)} commonest nouns of {corpus.name}, {len(found[kind])} name a {kind}, "
                    f"fewer than {kind}s={wanted}: lower that, raise nouns={self.nouns}, or name a larger corpus"
                )
        people = Concepts(list(PEOPLE), unit(encode([f"there are {number}" for number in PEOPLE])))
        places, objects = (
            Concepts.embedded(found[kind], encode) if wanted else None
            for kind, wanted in (("place", self.places), ("object", self.objects))
        )
        return Concepts.embedded(KINDS, encode), people, places, objects

    @cached_property
    def instructed(self) -> InstructionModel:
        """The language model, loaded when it is first asked."""
        return InstructionModel.load(self.language_model, self.chat, self.device, self.precision)


def noun_kind(noun: str) -> str:
    """ "place", "object", or "" for neither, by the first of the noun's senses that can be seen or touched."""
    from lemminflect import getLemma

    senses = hypernyms(getLemma(noun, "NOUN")[0], SENSES)
    seen = next((above for above in senses if "physical_entity" in above), frozenset())
    if seen & PLACES:
        return "place"
    return "object" if seen and not seen & UNSEEN else ""


def first_sentence(text: str) -> str:
    """What a chatty model says, without its quotation marks and what it adds."""
    line = next((line for line in text.strip().splitlines() if line.strip()), "")
    first = re.split(r"(?<=[.!?])[\s\"'”*]", line.strip(" \"'“”*"), maxsplit=1)[0]
    return sentence(first.strip(" \"'“”*"))
