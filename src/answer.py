"""Answer questions about images by a language model that is told what Knight sees (visual question answering).

python src/answer.py photo.jpg FOLDER --question "What colour is the dog?"
python src/answer.py FOLDER --question "Is it raining?" --choices yes no
python src/answer.py --questions questions.csv --train train.csv    # image,question; with answer (and kind): accuracy
"""

import csv
import json
from dataclasses import dataclass, field
from typing import Literal

from clipknight.devices import BackendSettings, DeviceSettings, PrecisionSettings, WorkerSettings
from clipknight.errors import parse_early, user_errors
from clipknight.methods.settings import IMAGE_AS
from clipknight.paths import STARTER, outputs
from clipknight.ranges import Few, Name, PositiveFew
from clipknight.settings import parse

PRINTED, LONGEST = 12, 200  # answers shown on the terminal, and characters of a question or an answer


@dataclass(frozen=True, kw_only=True)
class Settings(DeviceSettings, WorkerSettings, PrecisionSettings, BackendSettings):
    """Settings of answer.py"""

    paths: list[str] = field(default_factory=list)
    """images and folders of them, as free words: each is asked --question"""
    question: str = ""
    """about each of the images"""
    questions: str = ""
    """instead: CSV of image,question; with a column answer (alternatives parted by |) the accuracy is told, by kind"""
    images: str = ""
    """folder of the images that --questions names"""
    train: str = ""
    """CSV of other questions with answers, by kind: their commonest answer is compared, --closed chooses among them"""
    run: Name = STARTER
    """run of train_knight.py"""
    from_: str = ""
    """where embeddings come from: a run that predicts, or an encoder with a joint space; by default the run's own"""
    image_as: Literal[IMAGE_AS] = "captions"
    """captions (Knight's own and the nearest, as text) or prefix (mapped vectors, of a run with --decoder smollm2)"""
    captions: Few = 5
    """nearest captions that are told beside Knight's own"""
    language_model: Name = "smollm2"
    """that answers: smollm2, a name on the hub, a folder; with --image_as prefix it is the run's decoder"""
    choices: list[str] = field(default_factory=list)
    """answers to choose from, by their likelihood"""
    closed: bool = False
    """choose among the answers that --train gives to questions of the same kind"""
    calibrate: bool = False
    """choose what the image makes likelier by the largest factor, whatever is likely without one"""
    max_tokens: PositiveFew = 10
    """longest answer"""
    out: Name = field(default_factory=lambda: str(outputs() / "answers.csv"))
    """CSV of image,question,answer, and expected,kind where they are known"""
    json: str = ""
    """also write the accuracies to this file"""
    skip_unreadable: bool = False
    """go on without the images that cannot be read; otherwise they are listed in an error"""
    batch_size: PositiveFew = 32
    """prompts at a time"""


if __name__ == "__main__":
    parse_early(Settings, __doc__, positional="paths")  # --help and typos, before the parts load

from clipknight.captioning.embedding_sources import source_for
from clipknight.captioning.settings import COMPACT
from clipknight.data.datasets import listed_images
from clipknight.data.questions import (
    accuracy_table,
    answers_by_kind,
    asked_in_a_file,
    asked_of_each_image,
    commonest_answers,
    read_questions,
)
from clipknight.files import atomic_file
from clipknight.messages import a_few, shortened
from clipknight.methods.instruction_model import InstructionModel
from clipknight.methods.question_answering import Shown, answers, as_captions, as_prefix
from clipknight.methods.registry import open_captioner
from clipknight.output_names import check_output
from clipknight.preparation import prepare_process
from clipknight.training.runs import Run

import numpy as np
import pandas as pd


@user_errors
def main(argv=None) -> pd.DataFrame:
    s = parse(Settings, argv, __doc__, positional="paths")
    prepare_process(s.backend)
    check(s)
    run = Run.open(s.run)
    read = [*s.paths, s.questions, s.train, s.images, *run.files]
    check_output("--out", s.out, (".csv",), *read)
    check_output("--json", s.json, (".json",), s.out, *read)
    rows = asked_in_a_file(s.questions, s.images) if s.questions else asked_of_each_image(s.question, s.paths)
    train = read_questions(s.train) if s.train else None
    if train is not None and "answer" not in train:
        raise ValueError(f"--train {s.train} has no column answer")
    if s.closed and (unknown := set(rows["kind"]) - set(train["kind"])):
        raise ValueError(f"--train {s.train} has no question of the kind {a_few(sorted(unknown))}")
    if s.image_as == "prefix" and run.settings.get("decoder") == COMPACT:
        raise ValueError(
            f"{run.name} has a decoder that knows captions alone; --image_as prefix needs one that follows "
            "instructions: train_knight.py --decoder smollm2 --freeze_decoder"
        )
    source = source_for(run, s.from_, s.device)
    by_transformers = s.image_as == "prefix"
    captioner = open_captioner(run, device=s.device, precision=s.precision, by_transformers=by_transformers)
    chat = not (s.choices or s.closed)
    if s.image_as == "prefix":
        decoder = captioner.method.decoder
        model = InstructionModel(decoder.model.decoder, decoder.tokenizer, chat, decoder.precision, s.batch_size)
    else:
        model = InstructionModel.load(s.language_model, chat, s.device, s.precision, s.batch_size)

    dataset = listed_images(dict(zip(rows["image"], rows["path"])))
    found = source.embeddings(dataset, workers=s.workers, skip_unreadable=s.skip_unreadable)
    rows = rows[rows["image"].isin(list(found.ids))].reset_index(drop=True)
    vectors = np.asarray(found.vectors)
    shown = as_prefix(captioner, vectors) if s.image_as == "prefix" else as_captions(captioner, vectors, s.captions)
    shown = shown.of(pd.Index(found.ids).get_indexer(rows["image"]))

    among = answers_by_kind(train) if s.closed else dict.fromkeys(rows["kind"].unique(), s.choices) if s.choices else {}
    asked = {"rows": rows, "among": among, "max_new_tokens": s.max_tokens, "calibrate": s.calibrate}
    said = answers(model, shown, **asked)
    table = rows[["image", "question"]].assign(answer=said)
    if "answer" in rows:
        table = table.assign(expected=rows["answer"], kind=rows["kind"])
    with atomic_file(s.out) as file:
        table.to_csv(file, index=False, quoting=csv.QUOTE_NONNUMERIC)  # a lone "\r" too
    for row in table.head(PRINTED).itertuples():
        print(f"{shortened(row.image)}: {shortened(row.question, LONGEST)} {shortened(row.answer, LONGEST)}")
    print(f"{len(table):,} answers -> {s.out}")
    if "answer" in rows:
        ways = {"answers": said, "without the image": answers(model, Shown.nothing(len(rows)), **asked)}
        if train is not None:
            ways["commonest"] = rows["kind"].map(commonest_answers(train)).fillna("")
        report(accuracy_table(rows, ways), s.json)
    return table


def check(s: Settings) -> None:
    """ValueError for settings that contradict each other."""
    if bool(s.questions) == bool(s.question) or bool(s.paths) != bool(s.question):
        raise ValueError('say what to answer: IMAGE... --question "...", or --questions FILE')
    if s.closed and not (s.train and s.questions):
        raise ValueError("--closed chooses among the answers of --train FILE, for questions of the same kind")
    if s.closed and s.choices:
        raise ValueError("--closed and --choices both say what to choose among: give one")


def report(table: pd.DataFrame, path: str) -> None:
    """Print the accuracies, and write them as JSON if there is a path."""
    print(table.to_string(float_format="{:.3f}".format))
    if path:
        with atomic_file(path) as file:
            file.write_text(json.dumps(table.to_dict(orient="index")), encoding="utf-8")


if __name__ == "__main__":
    main()
