"""A run: one training and its folder, `outputs/<run>/`.

settings.yaml   what it was made with              run.json     script, predictor, machine, summary once finished
metrics.jsonl   one line an event                  last/        to resume            best/   to infer
predictions/<split>/                               rows of id + vector, what the blend and the submission read
"""

import dataclasses
import importlib
import json
import os
import platform
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from clipknight import __version__
from clipknight.atomic import atomic_file
from clipknight.datasets import Dataset
from clipknight.embeddings import Embeddings
from clipknight.processes import in_main_process, wait_for_everyone
from clipknight.project_paths import OUTPUTS, existing
from clipknight.settings import load_settings, save_settings

# Settings that change no result: a run may go on with others.
IRRELEVANT = ("resume", "overwrite", "workers", "device", "save_every", "skip_unreadable")


@dataclass(frozen=True)
class Run:
    """A run's folder; see the module's head for what is in it."""

    folder: Path

    @classmethod
    def start(
        cls, name: str, settings, predictor: str = "", resume: bool = False, overwrite: bool = False, **info
    ) -> "Run":
        """Make `outputs/<name>/`. FileExistsError for an existing run unless it is resumed or overwritten.

        `predictor` names what loads the run as a predictor, `clipknight.<module>:<class>`; `info` goes into run.json.
        """
        run = cls.at(name)
        if in_main_process():
            run.refuse_unless_free(resume, overwrite)
            if run.folder.exists() and not resume:
                shutil.rmtree(run.folder)
            if (run.folder / "settings.yaml").is_file() and run.exists:
                run._check_same(settings)
            save_settings(settings, run.folder / "settings.yaml")
        if in_main_process() and not run.exists:
            run._write_info(
                {
                    "script": Path(sys.argv[0]).stem,
                    "predictor": predictor,
                    "machine": machine(),
                    "finished": False,
                    **info,
                }
            )
        wait_for_everyone()
        return run

    @classmethod
    def at(cls, name: str) -> "Run":
        """The run called `name`, whether it exists or not."""
        return cls(Path(name) if Path(name).is_absolute() else OUTPUTS / name)

    @classmethod
    def open(cls, name: str | Path) -> "Run":
        """The run called `name`. FileNotFoundError lists the runs there are."""
        folder = existing(OUTPUTS / name if (OUTPUTS / name).exists() else name)
        if not (folder / "run.json").is_file():
            there = sorted(str(path.parent.relative_to(OUTPUTS)) for path in OUTPUTS.glob("**/run.json"))
            raise FileNotFoundError(f"no run {str(name)!r} in {OUTPUTS}; there are: {', '.join(there) or 'none yet'}")
        return cls(folder)

    def refuse_unless_free(self, resume: bool = False, overwrite: bool = False) -> None:
        """FileExistsError for a run that would be lost. Scripts ask before minutes of work, and start afterwards."""
        if not self.folder.exists() or resume or not in_main_process():
            return
        if not overwrite:
            raise FileExistsError(f"{self.folder} exists: pass --resume to go on with it or --overwrite to replace it")
        if not self.exists and any(self.folder.iterdir()):
            raise FileExistsError(f"{self.folder} is not a run's folder: choose another --run")

    @property
    def name(self) -> str:
        return str(self.folder.relative_to(OUTPUTS)) if self.folder.is_relative_to(OUTPUTS) else str(self.folder)

    @property
    def settings(self) -> dict:
        return load_settings(self.folder / "settings.yaml")

    @property
    def info(self) -> dict:
        return json.loads((self.folder / "run.json").read_text())

    @property
    def finished(self) -> bool:
        return self.info["finished"]

    def finish(self, **summary) -> None:
        """Mark the run complete and keep its scores."""
        if in_main_process():
            self._write_info({**self.info, "finished": True, "summary": summary})

    def log(self, **event) -> None:
        """Append one line to `metrics.jsonl`."""
        if not in_main_process():
            return
        path = self.folder / "metrics.jsonl"
        cut_short = path.is_file() and not path.read_bytes().endswith(b"\n")  # by a kill: leave that line behind
        with open(path, "a") as file:
            file.write("\n" * cut_short + json.dumps({"time": round(time.time(), 1), **event}) + "\n")

    def events(self) -> list[dict]:
        """All logged lines, in order; a line cut short by a kill is left out."""
        file = self.folder / "metrics.jsonl"
        lines = file.read_text().splitlines() if file.is_file() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def forget_events_after(self, **position) -> None:
        """Drop logged lines beyond the resumed position, so that a resumed log equals an unbroken one."""
        if not in_main_process():
            return
        (key, limit) = next(iter(position.items()))
        kept = [event for event in self.events() if event.get(key, 0) <= limit]
        with atomic_file(self.folder / "metrics.jsonl") as temporary:
            temporary.write_text("".join(json.dumps(event) + "\n" for event in kept))

    def save_predictions(self, split: str, predictions: Embeddings) -> None:
        if in_main_process():
            predictions.save(self.folder / "predictions" / split)
        wait_for_everyone()

    def predictions(self, split: str) -> Embeddings:
        """Saved predictions of a split. FileNotFoundError says which command makes them."""
        folder = self.folder / "predictions" / split
        if not folder.is_dir():
            raise FileNotFoundError(
                f"run {self.name!r} has no predictions for {split!r}: "
                f"python src/predict.py --run {self.name} --data DATASET --split {split}"
            )
        return Embeddings.load(folder)

    def save_split_predictions(self, dataset: Dataset, s) -> None:
        """Predict the valid and, where there is one, the test split with what the run has learnt, and save both.

        `s` are the script's settings: device, workers, skip_unreadable (of test images; all of valid is scored).
        """
        predictor = self.load_predictor(s.device)
        self.save_predictions("valid", predictor.predict(dataset.split("valid"), workers=s.workers))
        if len(test := dataset.split("test")):
            rows = predictor.predict(test, workers=s.workers, skip_unreadable=s.skip_unreadable)
            self.save_predictions("test", rows)

    def load_predictor(self, device: str = "auto"):
        """The run as a predictor: `predict(dataset, **options) -> Embeddings` of any images."""
        module, _, function = self.info["predictor"].partition(":")
        if not module.startswith("clipknight."):
            raise ValueError(f"run {self.name!r} predicts nothing (predictor {self.info['predictor']!r})")
        return getattr(importlib.import_module(module), function)(self, device)

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
            f"{key} {before.get(key)!r} -> {value!r}"
            for key, value in vars(settings).items()
            if key not in IRRELEVANT and before.get(key) != value
        ]

    def _check_same(self, settings) -> None:
        """A resumed run must go on with what it was started with."""
        if changed := self._changed(settings):
            raise ValueError(f"{self.folder} was started with other settings: {'; '.join(changed)}")

    def _write_info(self, info: dict) -> None:
        with atomic_file(self.folder / "run.json") as temporary:
            temporary.write_text(json.dumps(info, indent=1))


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
