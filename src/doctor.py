"""Say what this machine has for clipknight, and what to do about what it lacks; and clear caches.

python src/doctor.py
python src/doctor.py --json > report.json
python src/doctor.py --clear embeddings frames

What is cleared is made again by the next command that needs it. The exit status is 1 where something is broken that
every command needs.
"""

import dataclasses
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

from clipknight.caches import CACHES
from clipknight.errors import parse_early, user_errors
from clipknight.settings import parse


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of doctor.py"""

    json: bool = False
    """print JSON instead of a table"""
    clear: list[Literal[CACHES]] = field(default_factory=list)
    """delete what these caches hold, instead of a report: embeddings, graphs of encoders, frames of videos, datasets
    (unpacked archives and copies of URLs). Only what a command made is deleted, and only while no command uses it"""


if __name__ == "__main__":
    parse_early(Settings, __doc__)  # --help and typos, before the parts load

from clipknight.doctor import kept, machine, packages
from clipknight.doctor.finding import Finding
from clipknight.doctor.hub_access import hub, hub_cache
from clipknight.preparation import prepare_process


@user_errors
def main(argv=None) -> list:
    s = parse(Settings, argv, __doc__)
    prepare_process()
    if s.clear:
        cleared = kept.clear(s.clear)
        print("\n".join(map(kept.shown, cleared)))
        return cleared
    found = []
    for finding in findings():
        found.append(finding)
        if not s.json:
            print(finding, flush=True)
    broken = [finding for finding in found if finding.state == "broken"]
    if s.json:
        report = {"broken": len(broken), "findings": [*map(dataclasses.asdict, found)]}
        print(json.dumps(report, indent=1, ensure_ascii=False))
    if broken:
        raise SystemExit(1)
    return found


def findings() -> Iterator[Finding]:
    """What takes seconds comes last: torch, and the hub, which is asked meanwhile."""
    with ThreadPoolExecutor(1) as meanwhile:
        answer = meanwhile.submit(hub)
        yield from machine.python_and_project()
        yield from packages.core()
        yield packages.extras()
        yield packages.starter()
        yield from (machine.java(), machine.video(), machine.heic(), machine.disk())
        yield from map(kept.kept, CACHES)
        yield hub_cache()
        yield from machine.torch_and_device()
        yield answer.result()


if __name__ == "__main__":
    main()
