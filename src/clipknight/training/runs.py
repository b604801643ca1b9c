"""A run: one training and its folder, `outputs/<run>/`.

settings.yaml   what it was made with              run.json     kind, script, machine, summary once finished
metrics.jsonl   one line an event                  last/        to resume            best/   to infer
README.md       its card, once finished
predictions/<split>/                               rows of id + vector, what the blend and the submission read
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from clipknight.embedding.embeddings import Embeddings
from clipknight.files import atomic_file
from clipknight.hub import HUB, download_pack
from clipknight.messages import as_typed
from clipknight.packs import check_pack, pack_of, place_in_pack
from clipknight.paths import STARTER, STARTER_NAME, existing, outputs
from clipknight.processes import in_main_process, wait_for_everyone
from clipknight.saved_files import Description, read_description
from clipknight.settings import load_settings, save_settings
from clipknight.training.card import write_card
from clipknight.training.event_log import append_event, read_events, rewrite_events
from clipknight.training.run_descriptions import INFO, SETTINGS, changed_settings, kind_of, machine, script_of
from clipknight.training.run_folders import OWN, check_name, claim, clear, refuse_unless_free, release


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
        `kind` says what the folder holds: model_a, model_b, concepts, refined, blend, bands, gate (these predict),
        clip, knight, maccap. `info` goes into run.json.
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
        """The run called `name` or at a path, such as a pack; `hf-hub:org/name`, a pack on the hub; "starter".

        Says so where it is not finished. FileNotFoundError lists the runs there are; ValueError for a damaged pack.
        """
        if str(name).startswith(HUB):
            name = download_pack(str(name))
        folder = run_folder(name)
        if str(name) == STARTER_NAME and not (folder / "run.json").is_file():
            folder = run_folder(STARTER)
        if pack := pack_of(folder):
            check_pack(pack)
        if not (folder / "run.json").is_file():
            runs = [path.parent for path in outputs().glob("**/run.json")]
            runs = [run for run in runs if pack_of(run) in (None, run.absolute())]  # a pack stands for its parts
            there = sorted(str(run.relative_to(outputs())) for run in runs)
            raise FileNotFoundError(f"no run {str(name)!r} in {outputs()}; there are: {', '.join(there) or 'none yet'}")
        run = cls(folder)
        if not run.finished:
            unfinished = f"run {run.name!r}: {run.to_finish()}; until then its best so far is used"
            print(as_typed(unfinished), file=sys.stderr)
        return run

    def refuse_unless_free(self, resume: bool | None = None, overwrite: bool = False) -> None:
        """The errors of `start`, which scripts ask for before minutes of work; `resume`: None where they cannot."""
        if in_main_process():
            refuse_unless_free(self.folder, resume, overwrite)

    @property
    def name(self) -> str:
        return str(self.folder.relative_to(outputs())) if self.folder.is_relative_to(outputs()) else str(self.folder)

    def part(self, name: str) -> str:
        """Where what the run calls `name` is, be it another run or an encoder: in the pack that it lies in, if any."""
        return place_in_pack(self.folder, name)

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
        return kind_of(self.info)

    def to_finish(self) -> str:
        """What to say of a run that was killed or is still being made."""
        way = "--resume" if (self.folder / "last").is_dir() else "--overwrite"
        return f"it is not finished: go on with {script_of(self.info)} --run {self.name} {way}"

    @property
    def finished(self) -> bool:
        return bool(self.info.get("finished"))

    def finish(self, **summary) -> None:
        """Keep the run's scores, write its card, and mark it complete: last, for a complete run is not gone on with."""
        if in_main_process():
            self._write_info({**self.info, "summary": summary})
            write_card(self)
            self._write_info({**self.info, "finished": True})
            release(self.folder)

    @property
    def _event_log(self) -> Path:
        return self.folder / "metrics.jsonl"

    def log(self, **event) -> None:
        """Append one line to `metrics.jsonl`."""
        if in_main_process():
            append_event(self._event_log, event)

    def events(self) -> list[dict]:
        """All logged lines, in order; a line cut short by a kill is left out."""
        return read_events(self._event_log)

    def forget_events_after(self, epoch: int) -> None:
        """Drop logged lines beyond the resumed epoch, so that a resumed log equals an unbroken one."""
        if in_main_process():
            rewrite_events(self._event_log, [event for event in self.events() if event.get("epoch", 0) <= epoch])

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
        return not changed_settings(self.settings, settings)

    def _check_same(self, settings) -> None:
        """A resumed run must go on with what it was started with."""
        if changed := changed_settings(self.settings, settings):
            raise ValueError(f"{self.folder} was started with other settings: {'; '.join(changed)}")

    def _write_info(self, info: dict) -> None:
        with atomic_file(self.folder / "run.json") as temporary:
            temporary.write_text(json.dumps(info, indent=1), encoding="utf-8")


def run_folder(name: str | Path) -> Path:
    """Where a run called `name` lies, in outputs/ or elsewhere, if there is one."""
    return existing(outputs() / name if (outputs() / name).exists() else name)
