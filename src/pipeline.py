"""Run the steps of a YAML file in order, in one process: what `make demo` and `make flickr8k` do.

The file is a list; each entry names a script of this folder and its settings. All steps of all files are checked before
the first one runs, and each is printed as the command that does the same. A run that is finished with the same settings
is skipped, unless it names one that was made anew; one that was killed goes on. Steps may be repeated for each value of
a list, or each combination of several:

    - for: {seed: [0, 1, 2]}
      steps:
        - train_a: {data: input/flickr8k, run: a/$seed, seed: $seed}

    python src/pipeline.py configs/flickr8k.yaml
"""

import dataclasses
import importlib
import json
import shlex
import time
from dataclasses import dataclass
from pathlib import Path

from clipknight.errors import parse_early, user_errors
from clipknight.messages import as_typed, shortened
from clipknight.paths import existing
from clipknight.pipeline_file import as_flags, steps_of
from clipknight.recipe_settings import settings_part
from clipknight.settings import parse
from clipknight.training.settings import ResumableSettings, RunSettings
from clipknight.yaml_files import read_yaml

HERE = Path(__file__).parent
SCRIPTS = sorted({file.stem for file in HERE.glob("*.py")} - {"pipeline"})
MOST_STEPS = 10_000  # a `for` of many lists soon stands for millions


@dataclass(frozen=True)
class Settings:
    """Settings of pipeline.py"""

    steps: list[str] = dataclasses.field(default_factory=list)
    """YAML files of steps, as free words"""


@dataclass(frozen=True, eq=False)
class Step:
    """A script, what the file gives it, the same as words of its command line, and all its settings."""

    script: str
    given: dict
    words: list[str]
    settings: object

    @property
    def run(self) -> str:
        """The run that it makes; "" for a script that makes none, whose `run` is one that it reads."""
        return self.settings.run if isinstance(self.settings, RunSettings) else ""


def read_steps(file: str) -> list[Step]:
    """The steps of a file, each checked. ValueError with the file and the number of the first that cannot run."""
    entries, steps = read_yaml(existing(file), list), []
    try:
        for script, settings in steps_of(entries, {}):
            steps.append(checked(script, settings))
            if len(steps) > MOST_STEPS:
                raise ValueError(f"there are more than {MOST_STEPS:,}")
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{shortened(file)}, step {len(steps) + 1}: {error}") from None
    return steps


def checked(script: str, settings: dict) -> Step:
    """The step, if it is one of the project's scripts with settings that it takes. ValueError otherwise."""
    name, *command = str(script).split() or [""]  # one with commands of its own is named with one: "score submission"
    if name not in SCRIPTS:
        raise ValueError(f"no script is called {shortened(name)!r}; there are {', '.join(SCRIPTS)}")
    module = settings_part(HERE / f"{name}.py")
    commands = getattr(module, "COMMANDS", {})
    if " ".join(command) not in (commands or [""]):
        listed = ", ".join(f"{name} {command}".strip() for command in commands or [""])
        raise ValueError(f"{shortened(script)!r} is no command of {name}.py; give {listed}")
    accepted, words = commands[command[0]].settings if command else module.Settings, as_flags(settings)
    return Step(name, settings, [*command, *words], parse(accepted, words))


def all_steps(s: Settings) -> list[Step]:
    """The steps of all files, in order. ValueError for one that cannot run."""
    if not s.steps:
        raise ValueError("name a file of steps, such as configs/sample.yaml")
    return [step for file in s.steps for step in read_steps(file)]


if __name__ == "__main__":
    parse_early(Settings, __doc__, positional="steps", check=all_steps)  # --help and typos, before the parts load

from clipknight.training.runs import Run


@user_errors
def main(argv=None) -> None:
    s = parse(Settings, argv, __doc__, positional="steps")
    begin, steps = time.perf_counter(), all_steps(s)
    renewed = set()  # runs made anew: they make stale what later steps built on them
    for number, step in enumerate(steps, 1):
        print(f"\nstep {number} of {len(steps)}")
        if run_step(step, renewed) and step.run:
            renewed.add(step.run)
    print(f"\nall steps done in {time.perf_counter() - begin:.0f} s")


def run_step(step: Step, renewed: set[str]) -> bool:
    """Run one step unless its run is finished, with these settings and on none of the `renewed`; whether it ran."""
    words = step.words
    print(as_typed(f"$ python src/{step.script}.py {shlex.join(words)}"), flush=True)
    start = time.perf_counter()
    if step.run and (run := Run.at(step.run)).exists:
        same = run.made_with(step.settings) and not renewed & named_in(step.given)
        if same and run.finished:
            print(f"finished before: {json.dumps(run.info['summary'])}")
            return False
        resumable = same and isinstance(step.settings, ResumableSettings)
        words = [*words, "--resume" if resumable else "--overwrite"]
    importlib.import_module(step.script).main(words)
    print(f"[{time.perf_counter() - start:.0f} s]", flush=True)
    return True


def named_in(settings: dict) -> set[str]:
    """Every word among the settings but its own `run`, in the form in which it would name a run."""
    values = [value for name, value in settings.items() if name != "run"]
    words = [word for value in values for word in (value if isinstance(value, list) else [value])]
    return {str(word).partition("@")[0].removeprefix("outputs/").removesuffix("/best") for word in words}


if __name__ == "__main__":
    main()
