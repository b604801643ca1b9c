"""A run written as a graph that needs neither torch nor this package, beside what prepares its pixels.

model.onnx, or OpenVINO's model.xml and model.bin; preprocessing.json says what pixels it takes, and what rows it gives.
"""

import json
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from clipknight import __version__
from clipknight.embedding.backends import LEAST_COSINE, mean_cosine
from clipknight.embedding.graphs import GRAPH, OUTPUT, Graph, write_graph
from clipknight.packing.prediction_module import PredictionModule
from clipknight.training.runs import Run

import numpy as np
import torch
from torch import Tensor

PREPROCESSING, OPENVINO_GRAPH = "preprocessing.json", "model.xml"
BATCH = 16  # pictures compared at a time
LAYERS = ["Conv", "MatMul", "Gemm"]  # that may compute in 8 bits
FIRST = 6  # layers of a tower that do not, from which most of the loss comes
PERCENTILE = 99.99  # of a layer's numbers are within its range: beyond lie a few that would make all others coarse


@dataclass(frozen=True)
class Agreement:
    """Cosines between the graph's rows and torch's in fp32: their mean, and the least, over so many `pictures`."""

    mean: float
    least: float
    pictures: int

    def __str__(self) -> str:
        return f"cosine {self.mean:.6f} to torch in fp32 (least {self.least:.6f}) on {self.pictures} pictures"


def write_exported(run: Run, module: PredictionModule, pixels: Tensor, folder: Path, to: str, int8: bool) -> Agreement:
    """Write the graph of a run into `folder`, and compare it with torch on `pixels` (N, 3, H, W).

    With `int8` every second picture calibrates, and the others compare; else ValueError for a graph that is not equal
    to 5 digits.
    """
    graph = folder / GRAPH
    try:
        write_graph(module, {"pixels": pixels[:2]}, {"pixels": {0: "rows"}}, graph)
    except Exception as error:  # torch's exporter raises its own
        raise ValueError(f"{run.name} cannot be written as a graph: {str(error)[:200]}") from error
    calibrating, compared = (pixels[::2], pixels[1::2]) if int8 else (None, pixels)
    if int8:
        quantise(graph, calibrating)
    file = in_openvinos_format(graph) if to == "openvino" else graph
    found = agreement(Graph(file, to), module, compared)
    if not int8 and not found.mean >= LEAST_COSINE:
        raise ValueError(f"the graph of {run.name} has a {found}: it is not exported")
    text = json.dumps(description(run, module, int8, found), indent=1)
    (folder / PREPROCESSING).write_text(text, encoding="utf-8")
    return found


def agreement(graph: Graph, module: PredictionModule, pixels: Tensor) -> Agreement:
    """How well a graph agrees with the module that it stands for."""
    run, cosines = graph.load(), []
    for batch in pixels.split(BATCH):
        with torch.inference_mode():
            rows = module(batch).numpy()
        cosines += [mean_cosine(*pair) for pair in zip(rows[:, None], run({"pixels": batch.numpy()})[:, None])]
    return Agreement(float(np.mean(cosines)), min(cosines), len(cosines))


def in_openvinos_format(graph: Path) -> Path:
    """Write OpenVINO's two files in place of an ONNX graph."""
    import openvino

    file = graph.with_name(OPENVINO_GRAPH)
    openvino.save_model(openvino.Core().read_model(str(graph)), str(file), compress_to_fp16=False)
    graph.unlink()
    return file


def quantise(graph: Path, pixels: Tensor) -> None:
    """Have the towers of an ONNX graph compute in 8 bits, calibrated on `pixels`: whole numbers for each channel.

    What follows the towers is small, and stays in fp32, as do depthwise convolutions and each tower's first layers.
    Weights are unsigned: of signed ones, products overflow on processors without VNNI, unless they have 7 bits only.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static

    class Batches(CalibrationDataReader):
        def __init__(self):
            self.batches = iter(pixels.split(BATCH))

        def get_next(self) -> dict | None:
            batch = next(self.batches, None)
            return None if batch is None else {"pixels": batch.numpy()}

    nodes = in_8_bits(onnx.load(str(graph)).graph.node)
    whole = graph.with_name(f"fp32.{GRAPH}")
    graph.rename(whole)
    with redirect_stdout(None):  # it counts its bins
        quantize_static(
            str(whole),
            str(graph),
            Batches(),
            op_types_to_quantize=LAYERS,
            nodes_to_quantize=nodes,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QUInt8,
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": PERCENTILE},
        )
    whole.unlink()


def in_8_bits(nodes: Iterable) -> list[str]:
    """The names of the nodes of an ONNX graph that are to compute in 8 bits."""
    by_tower: dict[str, list[str]] = {}
    for node in nodes:
        groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
        if node.name.startswith("/tower") and node.op_type in LAYERS and groups == 1:
            by_tower.setdefault(node.name.split("/")[1], []).append(node.name)
    return [name for names in by_tower.values() for name in names[FIRST:]]


def description(run: Run, module: PredictionModule, int8: bool, found: Agreement) -> dict:
    """What preprocessing.json says."""
    cfg = module.encoder.preprocess_cfg
    height, width = (cfg.size, cfg.size) if isinstance(cfg.size, int) else cfg.size
    return {
        "run": run.name,
        "kind": run.kind,
        "clipknight": __version__,
        "precision": "int8" if int8 else "fp32",
        "cosine_to_torch": {"mean": found.mean, "least": found.least, "pictures": found.pictures},
        "input": {"name": "pixels", "shape": ["rows", 3, height, width], "type": "float32", "channels": "RGB"},
        "resize": {"mode": cfg.resize_mode, "height": height, "width": width, "interpolation": cfg.interpolation},
        "mean": list(cfg.mean),
        "std": list(cfg.std),
        "output": {"name": OUTPUT, "target_encoder": run.settings["target_encoder"]},
    }
