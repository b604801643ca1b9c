"""What each backend and precision costs a run of train_a.py: cosines to torch in fp32, and valid Avg-Cos.

    python benchmarks/backend_loss.py --run flickr8k/a [--exported outputs/exported/a]

All ways encode the same pixels of the run's valid images. A processor without bf16 multiplies it thousands of times as
slowly; there torch's bf16 is imitated: what a layer is given, its weights and what it gives are rounded to bf16.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from clipknight.data.images import read_image
from clipknight.devices import pick_precision
from clipknight.embedding.backends import mean_cosine, precision_of
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.clip_encoder import ClipEncoder
from clipknight.embedding.embeddings import Embeddings
from clipknight.embedding.graphs import GRAPH, Graph
from clipknight.embedding.image_graph import run_by
from clipknight.ensemble.model_a import apply_head
from clipknight.ensemble.predictors import load_predictor
from clipknight.errors import user_errors
from clipknight.preparation import prepare_process
from clipknight.ranges import Name
from clipknight.settings import parse
from clipknight.training.runs import Run

import numpy as np
import torch
from backend_speed import installed
from machine_measures import hardware
from marked_tables import table
from torch import nn

BATCH = 50


@dataclass(frozen=True)
class Settings:
    """Settings of backend_loss.py"""

    run: Name
    """run of train_a.py"""
    data: str = ""
    """its dataset; by default where it was"""
    exported: str = ""
    """folder of the run as export.py wrote it with --int8: measured beside them"""


@user_errors
def main(argv=None) -> None:
    s = parse(Settings, argv, __doc__)
    prepare_process()
    run = Run.open(s.run)
    predictor = load_predictor(run, "cpu")
    encoder = replace(predictor.encoder, precision=torch.float32)
    valid = CaptionedDataset.read(s.data or run.settings["data"]).split("valid")
    paths = valid.dataset.images["path"]
    pixels = torch.stack([encoder.preprocess(read_image(path, encoder.decoded_size)) for path in paths])

    first, rows = None, []
    for name, (encode, is_predicted) in ways(encoder, s.exported).items():
        start = time.process_time()
        vectors = np.concatenate([encode(batch) for batch in pixels.split(BATCH)])
        seconds = time.process_time() - start
        predictions = vectors if is_predicted else apply_head(predictor.head, vectors)
        score = valid.avg_cos(Embeddings(valid.dataset.ids, predictions))
        first = first or (vectors, predictions, score)
        cosine = "" if is_predicted else f"{mean_cosine(vectors, first[0]):.6f}"
        agreement = f"{mean_cosine(predictions, first[1]):.6f}"
        rows.append([name, cosine, agreement, f"{score:.5f}", f"{first[2] - score:+.5f}", f"{seconds:.0f}"])
        print(name, *rows[-1][1:], flush=True)
    header = ["way", "cosine of embeddings", "cosine of predictions", "valid Avg-Cos", "loss", "seconds of one core"]
    print("\n".join([f"\n{run.name}, {len(pixels):,} images, {hardware()}\n", *table(header, rows)]))


def ways(encoder: ClipEncoder, exported: str) -> dict[str, tuple[Callable, bool]]:
    """Each way to encode pixels by its name, torch in fp32 first, and whether it gives predictions already."""
    found = {"torch fp32": (encoder.encode_pixels, False)}
    if pick_precision("auto", torch.device("cpu")) == torch.bfloat16:
        found["torch bf16"] = replace(encoder, precision=torch.bfloat16).encode_pixels, False
    else:
        found["torch bf16, imitated"] = (lambda pixels: rounded(encoder, pixels)), False
    for backend in installed():
        for precision in dict.fromkeys([torch.float32, precision_of(backend, torch.bfloat16)]):
            name = f"{backend} {'fp32' if precision == torch.float32 else 'bf16'}"
            found[name] = run_by(backend, replace(encoder, precision=precision)).encode_pixels, False
    for backend in installed() if exported else ():
        graph = Graph(Path(exported) / GRAPH, backend)
        found[f"{backend} int8"] = (lambda pixels, graph=graph: graph(pixels=pixels.numpy())), True
    return found


def rounded(encoder: ClipEncoder, pixels: torch.Tensor) -> np.ndarray:
    """Embeddings of pixels (B, 3, H, W) by a tower all of whose layers compute with numbers of bf16."""
    weights = {name: tensor.clone() for name, tensor in encoder.visual.state_dict().items()}
    layers = [layer for layer in encoder.visual.modules() if not list(layer.children())]
    hooks = [layer.register_forward_pre_hook(lambda _, inputs: tuple(map(in_bf16, inputs))) for layer in layers]
    hooks += [layer.register_forward_hook(lambda _, inputs, output: in_bf16(output)) for layer in layers]
    try:
        for layer in layers:
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                layer.weight.data = in_bf16(layer.weight.data)
        return encoder.encode_pixels(pixels)
    finally:
        for hook in hooks:
            hook.remove()
        encoder.visual.load_state_dict(weights)


def in_bf16(numbers: torch.Tensor) -> torch.Tensor:
    return numbers.bfloat16().float()


if __name__ == "__main__":
    main()
