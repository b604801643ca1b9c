"""A run: one training and its folder, `outputs/<run>/`.

settings.yaml   what it was made with              run.json     kind, script, machine, summary once finished
metrics.jsonl   one line an event                  last/        to resume            best/   to infer
predictions/<split>/                               rows of id + vector, what the blend and the submission read
"""

import dataclasses
import json
import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from clipknight import __version__
from clipknight.embedding.embeddings import Embeddings
from clipknight.files import atomic_file
from clipknight.paths import existing, outputs
from clipknight.processes import in_main_process, wait_for_everyone
from clipknight.saved_files import Description, read_description
from clipknight.settings import changes_result, load_settings, same, save_settings
from clipknight.training.run_folders import OWN, check_name, claim, clear, refuse_unless_free, release

# Runs made before 0.4.0 name the class that predicts, by the place it had then.
SCRIPTS_OF_RUNS = ("train_a", "train_b", "train_clip", "train_knight", "train_maccap", "blend", "refine", "recognise")
KINDS_OF_OLD_RUNS = {
    "clipknight.model_a:ModelAPredictor": "model_a",
    "clipknight.model_b:ModelBPredictor": "model_b",
    "clipknight.blending:BlendPredictor": "blend",
    "clipknight.stacking:StackPredictor": "bands",
}
# The types of what run.json says, and of those settings that other scripts than the run's own read.
INFO = dict.fromkeys(("script", "kind", "predictor", "weights_from", "encoder_fingerprint"), (str,))
INFO |= dict.fromkeys(("members", "weights", "space"), (list,)) | {"finished": (bool,)}
INFO |= dict.fromkeys(("summary", "dataset"), (dict,))
SETTINGS = dict.fromkeys(("data", "encoder", "target_encoder", "precision", "features", "from_", "decoder"), (str,))
SETTINGS |= dict.fromkeys(("space", "corpus_separator", "image_column", "caption_column", "split_column"), (str,))
SETTINGS |= {"corpus": (list,), "corpus_share": (int, float), "seed": (int,), "flip_tta": (bool,), "tta_sizes": (list,)}


@dataclass(frozen=True)
class Run:
    """A run's folder; see the module's head for what is in it."""

    folder: Path

    @classmethod
    def start(
        cls, name: str, settings, kind: str = "", resume: bool | None = None, overwrite: bool = False, **info
    ) -> "Run":
        """Make `outputs/<name>/`. FileExistsError for an existing run unless it is resumed or overwritten.

        No other process writes into the run until it is finished or this process ends.
        `kind` says what the folder holds: model_a, model_b, blend, bands (these predict), clip, knight,
        maccap. `info` goes into run.json.
        """
        run = cls.at(name)
        if in_main_process():
            run.refuse_unless_free(resume, overwrite)
            claim(run.folder)
            if resume and (run.folder / "settings.yaml").is_file():
                run._check_same(settings)
            if not resume:
                # First, so that a kill at any instant leaves a run that --overwrite may replace.
                script = Path(sys.argv[0]).stem
                run._write_info({"script": script, "kind": kind, "machine": machine(), "finished": False, **info})
                clear(run.folder)
            save_settings(settings, run.folder / "settings.yaml")
        wait_for_everyone()
        return run

    @classmethod
    def at(cls, name: str) -> "Run":
        """The run called `name`, whether it exists or not. ValueError for what is no name."""
        check_name(str(name))
        return cls(Path(name) if Path(name).is_absolute() else outputs() / name)

    @classmethod
    def open(cls, name: str | Path) -> "Run":
        """The run called `name`; says so where it is not finished. FileNotFoundError lists the runs there are."""
        folder = existing(outputs() / name if (outputs() / name).exists() else name)
        if not (folder / "run.json").is_file():
            there = sorted(str(path.parent.relative_to(outputs())) for path in outputs().glob("**/run.json"))
            raise FileNotFoundError(f"no run {str(name)!r} in {outputs()}; there are: {', '.join(there) or 'none yet'}")
        run = cls(folder)
        if not run.finished:
            print(f"run {run.name!r}: {run.to_finish()}; until then its best so far is used", file=sys.stderr)
        return run

    def refuse_unless_free(self, resume: bool | None = None, overwrite: bool = False) -> None:
        """The errors of `start`, which scripts ask for before minutes of work; `resume`: None where they cannot."""
        if in_main_process():
            refuse_unless_free(self.folder, resume, overwrite)

    @property
    def name(self) -> str:
        return str(self.folder.relative_to(outputs())) if self.folder.is_relative_to(outputs()) else str(self.folder)

    @property
    def files(self) -> list[Path]:
        """All that a run writes, be it there or not: no output of another script may replace it."""
        return [self.folder / name for name in ("run.json", *OWN)]

    @property
    def settings(self) -> Description:
        file = self.folder / "settings.yaml"
        if not file.is_file():
            raise FileNotFoundError(f"{file} is not there: {self._remedy}")
        settings = Description(load_settings(file), file, self._remedy)
        settings.check(**SETTINGS)
        return settings

    @property
    def info(self) -> Description:
        return read_description(self.folder / "run.json", self._remedy, **INFO)

    @property
    def _remedy(self) -> str:
        """For files that are not as the run wrote them."""
        return f"run {self.name!r} must be made again, with --overwrite"

    @property
    def kind(self) -> str:
        """What the folder holds, see `start`; "" for an old run of another kind than those that predict."""
        info = self.info
        return info.get("kind") or KINDS_OF_OLD_RUNS.get(info.get("predictor", ""), "")

    def to_finish(self) -> str:
        """What to say of a run that was killed or is still being made."""
        way = "--resume" if (self.folder / "last").is_dir() else "--overwrite"
        script = self.info.get("script")
        script = f"src/{script}.py" if script in SCRIPTS_OF_RUNS else "the script that made it"
        return f"it is not finished: go on with {script} --run {self.name} {way}"

    @property
    def finished(self) -> bool:
        return bool(self.info.get("finished"))

    def finish(self, **summary) -> None:
        """Mark the run complete and keep its scores."""
        if in_main_process():
            self._write_info({**self.info, "finished": True, "summary": summary})
            release(self.folder)

    def log(self, **event) -> None:
        """Append one line to `metrics.jsonl`."""
        if not in_main_process():
            return
        path = self.folder / "metrics.jsonl"
        cut_short = path.is_file() and not path.read_bytes().endswith(b"\n")  # by a kill: leave that line behind
        with open(path, "a", encoding="utf-8") as file:
            file.write("\n" * cut_short + json.dumps({"time": round(time.time(), 1), **event}) + "\n")

    def events(self) -> list[dict]:
        """All logged lines, in order; a line cut short by a kill is left out."""
        file = self.folder / "metrics.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        whole = [(number, line) for number, line in enumerate(lines, 1) if line.endswith("}")]
        try:
            return [json.loads(line) for number, line in whole]
        except ValueError as error:
            raise ValueError(f"{file} holds a line that is no JSON ({error}): delete that line") from error

    def forget_events_after(self, **position) -> None:
        """Drop logged lines beyond the resumed position, so that a resumed log equals an unbroken one."""
        if not in_main_process():
            return
        (key, limit) = next(iter(position.items()))
        kept = [event for event in self.events() if event.get(key, 0) <= limit]
        with atomic_file(self.folder / "metrics.jsonl") as temporary:
            temporary.write_text("".join(json.dumps(event) + "\n" for event in kept), encoding="utf-8")

    def save_predictions(self, split: str, predictions: Embeddings) -> None:
        if in_main_process():
            predictions.save(self.folder / "predictions" / split)
        wait_for_everyone()

    def predictions(self, split: str) -> Embeddings:
        """Saved predictions of a split. FileNotFoundError says which command makes them."""
        folder = self.folder / "predictions" / split
        if not folder.is_dir():
            if not self.finished:
                raise FileNotFoundError(f"run {self.name!r} has no predictions for {split!r}, for {self.to_finish()}")
            raise FileNotFoundError(
                f"run {self.name!r} has no predictions for {split!r}: "
                f"python src/predict.py --run {self.name} --data DATASET --split {split}"
            )
        return Embeddings.load(folder)

    @property
    def predicted_splits(self) -> list[str]:
        """Splits whose predictions the run has saved."""
        return sorted(path.parent.name for path in self.folder.glob("predictions/*/vectors.npy"))

    @property
    def last_state(self) -> Path:
        """What resumes the training, once it has been saved."""
        return self.folder / "last" / "state.pt"

    def goes_on(self, s) -> bool:
        """Whether a training with the settings `s` goes on from what the run saved last."""
        return s.resume and self.last_state.is_file()

    @property
    def exists(self) -> bool:
        return (self.folder / "run.json").is_file()

    def made_with(self, settings) -> bool:
        """Whether the run's settings are these, save for what changes no result."""
        return not self._changed(settings)

    def _changed(self, settings) -> list[str]:
        fields, no_factory = dataclasses.fields(settings), dataclasses.MISSING
        defaults = {f.name: f.default if f.default_factory is no_factory else f.default_factory() for f in fields}
        before = {**defaults, **self.settings}  # a setting that the run does not know yet had its default's effect
        return [
            f"{field.name} {before.get(field.name)!r} -> {getattr(settings, field.name)!r}"
            for field in fields
            if changes_result(field) and not same(field, before.get(field.name), getattr(settings, field.name))
        ]

    def _check_same(self, settings) -> None:
        """A resumed run must go on with what it was started with."""
        if changed := self._changed(settings):
            raise ValueError(f"{self.folder} was started with other settings: {'; '.join(changed)}")

    def _write_info(self, info: dict) -> None:
        with atomic_file(self.folder / "run.json") as temporary:
            temporary.write_text(json.dumps(info, indent=1), encoding="utf-8")


def machine() -> dict:
    """What a number was measured on."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "clipknight": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "gpu": gpu,
    }
