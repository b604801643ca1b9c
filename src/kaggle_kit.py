"""Write all that a run needs on Kaggle: a dataset (a pack and wheels) and a notebook that runs without internet.

docs/kaggle.md has the whole way. The kit is checked with the sample of your competition by Kaggle alone.

    python src/kaggle_kit.py --run ensemble --user YOUR_NAME
    kaggle datasets create -p outputs/kaggle/dataset --dir-mode zip
    kaggle kernels push -p outputs/kaggle/kernel
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from clipknight.devices import DeviceSettings
from clipknight.errors import parse_early, user_errors
from clipknight.paths import outputs
from clipknight.settings import parse

NOBODY = "YOUR_NAME"


@dataclass(frozen=True, kw_only=True)
class Settings(DeviceSettings):
    """Settings of kaggle_kit.py"""

    run: str = "ensemble"
    """run that predicts; or a pack of one"""
    user: str = NOBODY
    """your name on Kaggle, in the ids of the dataset and the notebook"""
    competition: str = "stable-diffusion-image-to-prompts"
    """what the notebook is attached to, by the last word of its address"""
    half: bool = False
    """store weights in 16 bits, see pack.py"""
    python: str = "3.12"
    """version of Python there, for which the wheels are made"""
    out: str = field(default_factory=lambda: str(outputs() / "kaggle"))
    """folder of the kit, replaced when it is there"""


if __name__ == "__main__":
    parse_early(Settings, __doc__)  # --help and typos, before the parts load

from clipknight.ensemble.predictors import PREDICTORS
from clipknight.files import atomic_folder
from clipknight.packing.kaggle_kit import write_metadata, write_wheels
from clipknight.packing.pack import write_pack
from clipknight.preparation import prepare_process
from clipknight.training.runs import Run

OURS = {"dataset", "kernel"}  # of the kit's folder


@user_errors
def main(argv=None) -> Path:
    s = parse(Settings, argv, __doc__)
    prepare_process()
    run, out = Run.open(s.run), Path(s.out)
    if run.kind not in PREDICTORS:
        raise ValueError(f"run {run.name!r} predicts nothing that could be submitted: name an ensemble, a Model A or B")
    if out.exists() and (not out.is_dir() or {path.name for path in out.iterdir()} - OURS):
        raise FileExistsError(f"{out} is there and is no kit: choose another --out")
    slug = re.sub(r"[^a-z0-9]+", "-", f"clipknight-{run.folder.name}".lower()).strip("-")[:40]
    with atomic_folder(out) as folder:
        (folder / "dataset").mkdir()
        found = write_pack(run, folder / "dataset" / "pack", 16 if s.half else 32, device=s.device)
        wheels = write_wheels(folder / "dataset" / "pack", folder / "dataset" / "wheels", s.python)
        write_metadata(folder, s.user, slug, s.competition)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    print(f"{run.name} and its pack, {found}")
    print(f"{len(wheels)} wheels for Python {s.python}: {', '.join(name.split('-')[0] for name in wheels)}")
    print(f"{size / 1e6:.1f} MB -> {out}; next: {next_step(s.user, out)}")
    return out


def next_step(user: str, out: Path) -> str:
    """What is to be done with the kit; Kaggle refuses one whose files name nobody."""
    if user == NOBODY:
        return f"make it again with your name on Kaggle, by --user or KAGGLE_USER=, for it is written into {out}"
    return f"kaggle datasets create -p {out}/dataset --dir-mode zip"


if __name__ == "__main__":
    main()
