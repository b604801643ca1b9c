"""Average the image towers of several runs into one encoder: a model soup (Wortsman et al. 2022).

Towers fine-tuned from the same weights by other seeds, rates or augmentations often have a mean that sees better than
each of them, at the cost of one. The mean has no head and no joint space: both are learnt anew in a minute.

    python src/studies/average_towers.py --runs a a_seed1 a_seed2 --run soup
    python src/train_a.py --data input/flickr8k --run a_soup --encoder outputs/soup --epochs 0
    python src/train_clip.py --data input/flickr8k --run clip_soup --encoder outputs/soup --epochs 0
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # src/, for when nothing is installed

from dataclasses import dataclass, replace

from clipknight.errors import parse_early, user_errors
from clipknight.ranges import Name
from clipknight.settings import parse
from clipknight.training.settings import RunSettings


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings):
    """Settings of average_towers.py"""

    runs: list[str]
    """names of two runs or more of train_a.py or train_clip.py that began with the same encoder"""
    run: Name = "soup"
    """name of the run: outputs/<run>"""


if __name__ == "__main__":
    parse_early(Settings, __doc__)  # --help and typos, before the parts load

from clipknight.embedding.clip import load_clip
from clipknight.embedding.clip_encoder import ClipEncoder
from clipknight.preparation import prepare_process
from clipknight.training.runs import Run

import torch


@user_errors
def main(argv=None) -> None:
    s = parse(Settings, argv, __doc__)
    prepare_process()
    if len(set(s.runs)) < max(2, len(s.runs)):
        raise ValueError(f"a mean needs two runs or more, each once: --runs {' '.join(s.runs)}")
    Run.at(s.run).refuse_unless_free(overwrite=s.overwrite)
    towers = [load_clip(str(Run.open(name).folder), "cpu", "fp32") for name in s.runs]
    averaged = average(towers)
    run = Run.start(s.run, s, overwrite=s.overwrite)
    averaged.save(run.folder / "best")
    run.finish()
    print(f"mean of {len(towers)} towers of {averaged.root}: --encoder {run.folder}")


def average(encoders: list[ClipEncoder]) -> ClipEncoder:
    """The first encoder with the mean of all towers' weights and statistics. ValueError for different roots."""
    roots = {encoder.root for encoder in encoders}
    if len(roots) > 1:
        raise ValueError(f"towers of one pretrained model can be averaged, these are of {', '.join(sorted(roots))}")
    states = [encoder.visual.state_dict() for encoder in encoders]
    mean = {
        name: torch.stack([state[name] for state in states]).mean(dim=0) if tensor.is_floating_point() else tensor
        for name, tensor in states[0].items()
    }
    encoders[0].visual.load_state_dict(mean)
    # The new projections of timm towers began at random: nothing says that their mean is one.
    projected = encoders[0].projected and not hasattr(encoders[0].visual, "trunk")
    return replace(encoders[0], joint=False, projected=projected)


if __name__ == "__main__":
    main()
