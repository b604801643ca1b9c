"""Models as ONNX graphs in files, which OpenVINO and ONNX Runtime run on a CPU without torch.

A graph is made once for its weights and kept in the folder of caches, with its digest: one that is not as it was
written is made anew.
"""

import functools
import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from clipknight.caches import used_cache
from clipknight.files import atomic_folder, one_at_a_time

import numpy as np
import torch
from torch import Tensor, nn

GRAPH, DESCRIPTION = "model.onnx", "graph.json"
OUTPUT = "embedding"
OPSET = 17
OPENVINO_PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}


@dataclass(frozen=True)
class Graph:
    """The graph in `file`, run by `backend` ("openvino" or "onnx"): from arrays by the inputs' names to rows (B, D).

    It is loaded by the first call.
    """

    file: Path
    backend: str
    precision: torch.dtype = torch.float32

    def __call__(self, **inputs: np.ndarray) -> np.ndarray:
        return _kept_loaded(self, torch.get_num_threads())(inputs)

    def load(self) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
        """What computes the rows, with as many threads as torch has."""
        threads = torch.get_num_threads()
        if self.backend == "openvino":
            return _by_openvino(self.file, self.precision, threads)
        return _by_onnxruntime(self.file, threads)


@functools.lru_cache(maxsize=4)  # as many as the views of one encoder usually are
def _kept_loaded(graph: Graph, threads: int) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    return graph.load()


def write_graph(module: nn.Module, inputs: Mapping[str, Tensor], dynamic: Mapping[str, dict], file: Path) -> None:
    """Write `module` as it evaluates `inputs`; `dynamic` names the axes of each that may have any length.

    The TorchScript exporter: torch's newer one needs a package more and takes several times as long.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # ONNX has no word for those kernels
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the exporter's thoughts on shapes and on its own future
            torch.onnx.export(
                module.eval(),
                tuple(inputs.values()),
                str(file),
                input_names=list(inputs),
                output_names=[OUTPUT],
                dynamic_axes={**dynamic, OUTPUT: {0: "rows"}},
                opset_version=OPSET,
                dynamo=False,
            )
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def kept_graph(key: str, write: Callable[[Path], None]) -> Path:
    """The file of the graph called `key`, after the digest of its weights; `write` is given the file to make."""
    folder = used_cache("graphs") / key
    if not _is_whole(folder):
        with one_at_a_time(folder):
            if not _is_whole(folder):  # another command may have made it meanwhile
                with atomic_folder(folder, sync=False) as temporary:
                    write(temporary / GRAPH)
                    description = {"sha256": digest_of(temporary / GRAPH)}
                    (temporary / DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")
    return folder / GRAPH


def digest_of(file: Path) -> str:
    """SHA-256 of a file."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _is_whole(folder: Path) -> bool:
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        return digest_of(folder / GRAPH) == description["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _by_openvino(file: Path, precision: torch.dtype, threads: int) -> Callable:
    import openvino

    options = {"INFERENCE_PRECISION_HINT": OPENVINO_PRECISIONS[precision], "INFERENCE_NUM_THREADS": threads}
    model = openvino.Core().compile_model(str(file), "CPU", {**options, "PERFORMANCE_HINT": "LATENCY"})
    return lambda inputs: np.array(model(inputs)[0])


def _by_onnxruntime(file: Path, threads: int) -> Callable:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run([OUTPUT], inputs)[0]
