"""Run the steps of a YAML file in order, in one process: what `make demo` and `make flickr8k` do.

The file is a list; each entry names a script and its settings. Every step is printed as the command that does the same.
A run that is finished with the same settings is skipped, unless it names one that was made anew; one that was killed
goes on. Steps may be repeated for each value of a list, or each combination of several:

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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from string import Template

from clipknight.errors import user_errors
from clipknight.paths import existing
from clipknight.settings import load_settings, parse
from clipknight.training.runs import Run


@dataclass(frozen=True)
class Settings:
    """Settings of pipeline.py"""

    steps: list[str] = dataclasses.field(default_factory=list)
    """YAML files of steps, as free words"""


@user_errors
def main(argv=None) -> None:
    s = parse(Settings, argv, __doc__, positional="steps")
    if not s.steps:
        raise ValueError("name a file of steps, such as configs/sample.yaml")
    begin = time.perf_counter()
    for file in s.steps:
        if not existing(file).is_file():
            raise FileNotFoundError(f"no file {file}")
    steps = [step for file in s.steps for step in steps_of(load_settings(existing(file)), {})]
    renewed = set()  # runs made anew: they make stale what later steps built on them
    for number, (script, settings) in enumerate(steps, 1):
        print(f"\nstep {number} of {len(steps)}")
        if run_step(script, settings, renewed):
            renewed.add(settings["run"])
    print(f"\nall steps done in {time.perf_counter() - begin:.0f} s")


def steps_of(entries: list[dict], values: Mapping) -> Iterator[tuple[str, dict]]:
    """(script, settings) of each step, $name filled from `values`; those under a `for` for each combination of its own.

    ValueError for what is neither.
    """
    for entry in entries:
        if not isinstance(entry, dict) or len(entry) != 1 + ("for" in entry):
            raise ValueError(f"no step: {str(entry)[:200]!r}; a step is one script's name and its settings")
        if "for" not in entry:
            ((script, settings),) = entry.items()
            yield script, {name: filled(value, values) for name, value in (settings or {}).items()}
            continue
        if "steps" not in entry or not all(isinstance(choices, list) for choices in entry["for"].values()):
            raise ValueError(f"`for` gives each name a list and stands beside `steps`, unlike {str(entry)[:200]!r}")
        for chosen in product(*entry["for"].values()):
            yield from steps_of(entry["steps"], {**values, **dict(zip(entry["for"], chosen))})


def filled(value, values: Mapping):
    """A setting with $name replaced by its value. ValueError for a name that no `for` gives."""
    if isinstance(value, list):
        return [filled(word, values) for word in value]
    try:
        return Template(value).substitute(values) if values and isinstance(value, str) else value
    except (KeyError, ValueError):
        raise ValueError(f"{value!r} names more than its `for` gives: {', '.join(values)}; $$ stands for $") from None


def run_step(script: str, settings: dict, renewed: set[str]) -> bool:
    """Run one step unless its run is finished, with these settings and on none of the `renewed`; whether it ran."""
    argv = as_flags(settings)
    name, *command = script.split()  # a script with commands of its own is named with one: "score submission"
    print(f"$ python src/{name}.py {shlex.join([*command, *argv])}", flush=True)
    module, start = importlib.import_module(name), time.perf_counter()
    makes_run = script.startswith("train_") or script in ("blend", "mix_captions")  # others read the run they name
    if makes_run and (run := Run.at(settings["run"])).exists:
        same = run.made_with(parse(module.Settings, argv)) and not renewed & named_in(settings)
        if same and run.finished:
            print(f"finished before: {json.dumps(run.info['summary'])}")
            return False
        resumable = same and any(field.name == "resume" for field in dataclasses.fields(module.Settings))
        argv = [*argv, "--resume" if resumable else "--overwrite"]
    module.main([*command, *argv])
    print(f"[{time.perf_counter() - start:.0f} s]", flush=True)
    return makes_run


def named_in(settings: dict) -> set[str]:
    """Every word among the settings but its own `run`, in the form in which it would name a run."""
    values = [value for name, value in settings.items() if name != "run"]
    words = [word for value in values for word in (value if isinstance(value, list) else [value])]
    return {str(word).partition("@")[0].removeprefix("outputs/").removesuffix("/best") for word in words}


def as_flags(settings: dict) -> list[str]:
    """Settings as command-line words."""
    words = []
    for name, value in settings.items():
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no_{name}")
        elif isinstance(value, list):
            words += [f"--{name}", *map(str, value)]
        else:
            words += [f"--{name}", str(value)]
    return words


if __name__ == "__main__":
    main()
