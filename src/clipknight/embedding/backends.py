"""Which backend runs an encoder: torch, or its graph by OpenVINO or ONNX Runtime on a CPU.

`auto` takes OpenVINO where it is installed and there is so much to encode that a graph pays, and torch for all else: on
a GPU, for a few photos, for a model that cannot be a graph. Rows that torch has encoded before are not encoded anew.

A graph is compared with torch in fp32 as it is made. One that is not nearly equal is refused.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from clipknight.embedding.embeddings import unit
from clipknight.embedding.graphs import Graph, kept_graph, write_graph
from clipknight.messages import advice
from clipknight.preparation import wanted_backend
from clipknight.waiting import waiting

import numpy as np
import torch
from torch import Tensor, nn

MANY_IMAGES, MANY_CAPTIONS = 500, 10_000  # at once: OpenVINO then saves more time than it takes to make its graph
LEAST_COSINE, LEAST_COSINE_REDUCED = 0.99999, 0.999  # mean, to torch in fp32: of fp32, and of 16 bits


class NotAGraph(ValueError):
    """A model that no graph can stand for."""

    def __init__(self, why: str):
        super().__init__(why + advice(": take --backend torch"))


def backend_for(
    device: torch.device, rows: int, many: int, has_rows: Callable[[str], bool], make_graph: Callable[[str], Graph]
) -> str:
    """The backend for so many rows, of which `many` are worth a graph.

    `has_rows` tells of a backend whether its rows are kept, `make_graph` makes its graph. ValueError where the backend
    that is wanted computes on no such device.
    """
    wanted = wanted_backend()
    if wanted not in ("auto", "torch") and device.type != "cpu":
        raise ValueError(f"the backend {wanted} computes on the CPU" + advice(": add --device cpu"))
    if wanted != "auto":
        return wanted
    if device.type != "cpu" or rows < many or not find_spec("openvino") or has_rows("torch"):
        return "torch"
    if not has_rows("openvino"):
        try:
            make_graph("openvino")
        except NotAGraph as error:
            print(f"torch encodes: {error}")
            return "torch"
    return "openvino"


def precision_of(backend: str, precision: torch.dtype) -> torch.dtype:
    """The precision that a backend computes in where another is asked for: ONNX Runtime has fp32 alone on a CPU."""
    return torch.float32 if backend == "onnx" else precision


def checked_graph(
    name: str,
    fingerprint: str,
    module: nn.Module,
    inputs: dict[str, Tensor],
    dynamic: dict[str, dict],
    backend: str,
    precision: torch.dtype,
) -> Graph:
    """The graph of `module`, kept by the `fingerprint` of its weights; made and compared first where it is not there.

    It gives nearly the rows (B, D) that torch gives for `inputs`, whose `dynamic` axes have any length. NotAGraph.
    """

    def write(file: Path) -> None:
        with waiting(f"making a graph of {name} for {backend} (once)"):
            try:
                write_graph(module, inputs, dynamic, file)
                found = Graph(file, backend, precision).load()({key: tensor.numpy() for key, tensor in inputs.items()})
            except ModuleNotFoundError:  # of the backend: its message names the extra
                raise
            except Exception as error:  # torch's exporter and the backends each raise their own
                raise NotAGraph(f"{backend} cannot run {name} ({str(error)[:120]})") from error
            with torch.inference_mode():
                cosine = mean_cosine(module(*inputs.values()).numpy(), found)
        least = LEAST_COSINE if precision == torch.float32 else LEAST_COSINE_REDUCED
        if not cosine >= least:
            raise NotAGraph(f"{name} by {backend} has a cosine of {cosine:.6f}, not {least}, to torch")

    return Graph(kept_graph(fingerprint, write), backend, precision)


def mean_cosine(rows: np.ndarray, others: np.ndarray) -> float:
    """Of rows (B, D) to those at the same place; two of length 0 are alike."""
    return float(1 - ((unit(rows) - unit(others)) ** 2).sum(axis=1).mean() / 2)
