"""metrics.jsonl: what happens in a training, one line of JSON an event."""

import json
import time
from pathlib import Path

from clipknight.files import atomic_file, errors_name


def append_event(file: Path, event: dict) -> None:
    cut_short = file.is_file() and not file.read_bytes().endswith(b"\n")  # by a kill: leave that line behind
    with errors_name(file), open(file, "a", encoding="utf-8") as log:
        log.write("\n" * cut_short + json.dumps({"time": round(time.time(), 1), **event}) + "\n")


def read_events(file: Path) -> list[dict]:
    """All events, in order; a line cut short by a kill is left out. ValueError for another that is no JSON."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    try:
        return [json.loads(line) for line in lines if line.endswith("}")]
    except ValueError as error:
        raise ValueError(f"{file} holds a line that is no JSON ({error}): delete that line") from error


def rewrite_events(file: Path, events: list[dict]) -> None:
    with atomic_file(file) as temporary:
        temporary.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
