"""A run as an object that predicts, captions, explains and answers: what predict.py, caption.py and answer.py do."""

from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from clipknight.api.explanation import Explanation, cosines_of_members, nearest_captions, recognised_concepts
from clipknight.api.inputs import Images, Input, Picture, batches, files_of, images_to_predict, named_images
from clipknight.captioning.captioner import Captioner
from clipknight.captioning.embedding_sources import EmbeddingSource, fitting_source
from clipknight.captioning.media_set import MediaSet
from clipknight.data.datasets import listed_images
from clipknight.data.folders import VIDEO_SUFFIXES, suffix_of
from clipknight.data.images import IMAGE_SUFFIXES
from clipknight.data.left_out import UnreadableMedia
from clipknight.data.videos import is_video
from clipknight.embedding.embeddings import Embeddings, concatenate
from clipknight.ensemble.predictors import Predictor
from clipknight.errors import public_errors
from clipknight.messages import shortened
from clipknight.methods.instruction_model import InstructionModel
from clipknight.methods.question_answering import answered, as_captions, chosen
from clipknight.methods.registry import open_captioner
from clipknight.paths import STARTER
from clipknight.training.runs import Run
from clipknight.waiting import SHOWN_AFTER, progress_bar, without_progress

import pandas as pd

BATCHES = 4  # encoded between two temporary folders: with `workers`, the next is read meanwhile


@dataclass(frozen=True, eq=False)
class Model:
    """`source` gives an image's embedding, `decoder` is the run that puts it into words, None the starter's.

    Weights are loaded by the first call that needs them. What is computed for images is not kept: `Embeddings.save` is.
    """

    source: EmbeddingSource
    decoder: Run | None = None
    device: str = "auto"
    precision: str = "auto"
    batch_size: int = 64
    workers: int = 0
    language_model: str = "smollm2"

    @public_errors
    def predict(self, images: Images, *, skip_unreadable: bool = False, progress: bool = True) -> Embeddings:
        """The predicted embedding of each image's caption, as predict.py has it.

        A folder's images are named relative to it, without suffix; other files by their path, and pictures in memory by
        their place among those given. ValueError for images that cannot be read, unless they are skipped.
        """
        predictor = self.predictor

        def predictions(files: dict[str, str]) -> Embeddings:
            if videos := [name for name, path in files.items() if suffix_of(path) in VIDEO_SUFFIXES - IMAGE_SUFFIXES]:
                raise ValueError(f"predictions are of images: {shortened(videos[0])} is a video, which caption takes")
            options = {"workers": self.workers, "skip_unreadable": skip_unreadable}
            return predictor.predict(listed_images(files), self.batch_size, **options)

        return concatenate(self._of_each_batch(images_to_predict(images), predictions, skip_unreadable, progress))

    @public_errors
    def caption(
        self,
        images: Images,
        *,
        frames: int = 5,
        every: str = "",
        num_beams: int = 0,
        rerank: int = 0,
        max_tokens: int = 0,
        skip_unreadable: bool = False,
        progress: bool = True,
    ) -> pd.DataFrame:
        """Rows of image and caption, and of confidence where the model has one, for images and videos as in caption.py.

        `frames` are looked at of a video. `every` ("5s", "scenes") cuts it into shots, which have rows of their own,
        called as in "clip.mp4#t=5,10". Of `num_beams`, `rerank` (candidates to choose among) and `max_tokens`, 0 is
        what the way to caption was published with.
        """
        captioner = self.captioner
        options = captioner.method.options.but(num_beams=num_beams, rerank=rerank, max_new_tokens=max_tokens)

        def captions(files: dict[str, str]) -> list[tuple]:
            media = MediaSet.of_files(files, frames, self.workers, skip_unreadable, every)
            if not len(media.dataset):  # videos alone, which cannot be read
                return []
            rows = self.source.embeddings(media.dataset, self.workers, skip_unreadable, captioner.method.regions)
            texts = {name: text for name, text, _ in media.captioned(captioner, rows, options)}
            sure = {name: (each.expected,) for name, each in media.confidences(rows).items()}
            order = [part for name in files for part in media.cut.get(name, [name])]
            return [(part, texts[part], *sure.get(part, ())) for part in order if part in texts]

        found = self._of_each_batch(named_images(images), captions, skip_unreadable, progress)
        rows = [row for part in found for row in part]
        table = pd.DataFrame(rows, columns=["image", "caption", "confidence"][: len(rows[0])])
        return table.astype({"image": "str", "caption": "str"})

    @public_errors
    def explain(self, image: Input, *, concepts: int = 3) -> Explanation:
        """An image's caption with the captions nearest to it, what each member says, and concepts if one knows some."""
        captioner, predictor = self.captioner, self.predictor if self.source.run else None
        with without_progress(), files_of(_only(image)) as files:
            dataset = listed_images(files)
            media = MediaSet(dataset)
            rows = self.source.embeddings(dataset, 0, regions=captioner.method.regions)
            ((name, text, near),) = media.captioned(captioner, rows)
            members = cosines_of_members(predictor, rows, dataset)
            known = recognised_concepts(predictor, dataset, concepts)
            return Explanation(name, text, nearest_captions(near), members, known, media.confidences(rows).get(name))

    @public_errors
    def answer(
        self, image: Input, question: str, *, choices: Sequence[str] = (), captions: int = 5, max_tokens: int = 10
    ) -> str:
        """What a language model answers that is told the image's captions, as answer.py has it.

        `choices` are answers to choose from; `captions` nearest ones are told beside the run's own.
        """
        captioner = self.captioner
        with without_progress(), files_of(_only(image)) as files:
            rows = self.source.embeddings(listed_images(files), 0)
            shown = as_captions(captioner, rows.vectors, captions)
            if choices:
                return chosen(replace(self._instructed, chat=False), shown, [question], choices)[0]
            return answered(self._instructed, shown, [question], max_tokens)[0]

    @cached_property
    def predictor(self) -> Predictor:
        """What predicts embeddings. ValueError where they are an encoder's."""
        return self.source.predictor

    @cached_property
    def captioner(self) -> Captioner:
        """What captions embeddings."""
        hardware = {"device": self.device, "precision": self.precision, "batch_size": self.batch_size}
        decoder = self.decoder or Run.open(STARTER)
        fitting_source(self.source, decoder)
        return open_captioner(decoder, **hardware)

    @cached_property
    def _instructed(self) -> InstructionModel:
        return InstructionModel.load(self.language_model, device=self.device, precision=self.precision)

    def _of_each_batch(
        self,
        images: Iterator[tuple[str, str | Picture]],
        work: Callable[[dict[str, str]], Sized],
        skip_unreadable: bool,
        progress: bool,
    ) -> list:
        """What `work` makes of the files of each batch. ValueError where nothing comes of any."""
        found = []
        with progress_bar(desc="images", unit="image", delay=SHOWN_AFTER, disable=not progress) as bar:
            for batch in batches(images, BATCHES * self.batch_size):
                with without_progress(), files_of(batch, skip_unreadable) as files:
                    try:
                        found.append(work(files) if files else [])
                    except UnreadableMedia:  # a batch of them alone, maybe among others
                        if not skip_unreadable:
                            raise
                    bar.update(len(files))
        if found := [part for part in found if len(part)]:
            return found
        raise ValueError("there is no image, or none that can be read")


def _only(image: Input) -> list[tuple[str, str | Picture]]:
    """The one image given. ValueError for a video, and for several."""
    found = list(islice(named_images(image), 2))
    if len(found) != 1:
        raise ValueError(
            "one image at a time: give a path, a picture, an array or bytes, no list and no folder of several"
        )
    if isinstance(path := found[0][1], str) and is_video(path):
        raise ValueError(f"{shortened(path)} is a video: this takes an image")
    return found
