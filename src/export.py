"""Write a run that predicts as one graph, which turns pixels into predicted embeddings without torch.

The folder that is written has the graph (ONNX, or OpenVINO's format) and preprocessing.json, which says how pixels are
made of a picture. docs/export.md has a program of twenty lines that uses them.

    python src/export.py --run ensemble --to onnx
    python src/export.py --run a --to openvino --int8 --images photos --out outputs/exported/a8
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clipknight.errors import parse_early, user_errors
from clipknight.ranges import Name, PositiveCount
from clipknight.settings import parse


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of export.py"""

    run: Name = "ensemble"
    """run to export: a Model A or B, a concepts or refined run, or a blend of such"""
    to: Literal["onnx", "openvino"] = "onnx"
    """format of the graph; onnx and openvino are extras of these names"""
    out: str = ""
    """folder to write; by default outputs/exported/<run>"""
    images: str = ""
    """folder of pictures on which the graph is compared with torch; by default soft colours are"""
    count: PositiveCount = 256
    """of them only so many, the first"""
    int8: bool = False
    """compute the towers in 8 bits, calibrated on every second of --images; the loss on the others is printed"""
    overwrite: bool = False
    """replace an exported run"""


def check_calibration(s: Settings) -> None:
    """ValueError for settings that contradict each other."""
    if s.int8 and not s.images:
        raise ValueError("8 bits are calibrated on pictures like those it will see: add --images FOLDER")


if __name__ == "__main__":
    parse_early(Settings, __doc__, check=check_calibration)  # --help and typos, before the parts load

from clipknight.data.datasets import image_folder
from clipknight.data.images import read_image
from clipknight.embedding.image_graph import COMPARED, soft_pixels
from clipknight.ensemble.predictors import load_predictor, predicting_run
from clipknight.files import atomic_folder, check_replaceable
from clipknight.output_names import check_output
from clipknight.packing.exported import PREPROCESSING, write_exported
from clipknight.packing.prediction_module import PredictionModule
from clipknight.paths import outputs
from clipknight.preparation import prepare_process
from clipknight.training.runs import Run
from clipknight.waiting import waiting

import torch


@user_errors
def main(argv=None) -> Path:
    s = parse(Settings, argv, __doc__)
    prepare_process()
    check_calibration(s)
    run = predicting_run(Run.open(s.run))
    out = Path(s.out) if s.out else outputs() / "exported" / Path(s.run).name
    check_output("--out", out, (), s.images, *run.files)
    check_replaceable(out, PREPROCESSING, "exported run", s.overwrite)

    module = PredictionModule(load_predictor(run, "cpu"))
    pixels = pixels_of(s.images, s.count, module) if s.images else soft_pixels(COMPARED, module.encoder.image_size)
    with waiting(f"writing {run.name} for {s.to}"), atomic_folder(out) as folder:
        found = write_exported(run, module, pixels, folder, s.to, s.int8)
    size = sum(file.stat().st_size for file in out.iterdir())
    print(f"{run.name} for {s.to}{', int8' * s.int8}: {found}")
    print(f"{size / 1e6:.1f} MB -> {out}")
    return out


def pixels_of(folder: str, count: int, module: PredictionModule) -> torch.Tensor:
    """(N, 3, H, W) of the first pictures of a folder, as the run sees them. ValueError for fewer than two."""
    paths = image_folder(folder).images["path"][:count]
    if len(paths) < 2:
        raise ValueError(f"{folder} holds {len(paths)} picture: give two or more, as of your own data")
    encoder = module.encoder
    return torch.stack([encoder.preprocess(read_image(path, encoder.decoded_size)) for path in paths])


if __name__ == "__main__":
    main()
