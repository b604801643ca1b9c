"""Pack Model A and Knight as starter weights: what a new user captions with, in 16 bits and without what resumes.

python src/studies/pack_starter.py --image_run flickr8k/a --knight_run flickr8k/knight_coco
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # src/, for when nothing is installed

import json
import shutil
from dataclasses import dataclass, field

from clipknight.errors import parse_early, user_errors
from clipknight.ranges import Name, PositiveShare
from clipknight.settings import parse


@dataclass(frozen=True)
class Settings:
    """Settings of pack_starter.py"""

    image_run: Name
    """run of train_a.py: what predicts an image's embedding"""
    knight_run: Name
    """run of train_knight.py: what says it"""
    corpus: list[str] = field(default_factory=lambda: ["coco"])
    """what the packed Knight retrieves from: it is packed too"""
    corpus_share: PositiveShare = 0.05
    """share of the corpus that is packed"""
    out: str = "input/models/starter"
    """folder; what it holds besides the two runs, such as its model card, stays"""


if __name__ == "__main__":
    parse_early(Settings, __doc__)  # --help and typos, before the parts load

from clipknight.captioning.retriever import Retriever
from clipknight.embedding.packed_corpus import PACKED, write_packed_corpus
from clipknight.files import atomic_folder
from clipknight.paths import ROOT
from clipknight.preparation import prepare_process
from clipknight.training.runs import Run

import torch
import yaml
from safetensors.torch import load_file, save_file


@user_errors
def main(argv=None) -> Path:
    s = parse(Settings, argv, __doc__)
    prepare_process()
    out = ROOT / s.out
    packed = {"a": Run.open(s.image_run), "knight": Run.open(s.knight_run)}
    changed = {"corpus": s.corpus, "corpus_share": s.corpus_share, "from_": f"{s.out}/a", "data": "", "run": ""}
    for name, run in packed.items():
        with atomic_folder(out / name) as folder:
            info = {
                name: run.info[name] for name in ("kind", "script", "predictor", "machine", "space") if name in run.info
            }
            (folder / "run.json").write_text(json.dumps(info | {"finished": True}, indent=1), encoding="utf-8")
            shutil.copytree(run.folder / "best", folder / "best")
            for file in folder.glob("best/**/*.safetensors"):
                save_file(in_16_bits(load_file(file)), file, metadata={"format": "pt"})
            settings = run.settings | (changed if name == "knight" else {"run": "", "data": ""})
            (folder / "settings.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    retriever = Retriever.of_run(Run.open(out / "knight"))
    write_packed_corpus(retriever.corpus, retriever.vectors, out / "knight" / PACKED, half=True)
    size = sum(file.stat().st_size for file in out.glob("**/*") if file.is_file())
    print(f"{size / 1e6:.1f} MB -> {out}")
    return out


def in_16_bits(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: t.half() if t.dtype == torch.float32 else t for name, t in tensors.items()}


if __name__ == "__main__":
    main()
