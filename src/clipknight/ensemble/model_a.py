"""Model A: a fine-tuned CLIP image tower with a head into the target space (Che et al. 2023, section 3.3)."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clipknight.data.datasets import Dataset
from clipknight.embedding.clip import load_image_encoder
from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.ensemble.heads import make_head
from clipknight.ensemble.settings import HEADS
from clipknight.ensemble.views import image_predictions
from clipknight.files import atomic_file
from clipknight.saved_files import load_weights, read_description, read_tensors

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

if TYPE_CHECKING:
    from clipknight.embedding.clip_encoder import ClipEncoder


class ModelA(nn.Module):
    """`tower` (the encoder's CLIP without its text) and `head`: pixels (B, 3, H, W) -> (B, target_dim), not unit."""

    def __init__(self, encoder: "ClipEncoder", head: nn.Module):
        super().__init__()
        self.visual, self.head = encoder.visual, head
        self.projected = encoder.projected
        if not self.projected and hasattr(self.visual, "head"):
            self.visual.head.requires_grad_(False)  # unused: several processes would wait for its gradient

    def forward(self, pixels: Tensor) -> Tensor:
        embedded = self.visual(pixels) if self.projected else self.visual.trunk(pixels)
        return self.head(embedded[0] if isinstance(embedded, tuple) else embedded)  # CoCa's tower gives its cells too

    @property
    def new_layers(self) -> list[nn.Module]:
        """What learns faster than the tower: the head, and a timm tower's projection where it is used."""
        return [self.head, self.visual.head] if self.projected and hasattr(self.visual, "head") else [self.head]

    def as_encoder(self, encoder: "ClipEncoder") -> "ClipEncoder":
        """`encoder` with this model's tower; captions have no place in its space any more."""
        model = copy.copy(encoder.model)  # shares everything else
        model._modules = {**encoder.model._modules, "visual": self.visual}
        return replace(encoder, model=model, joint=False)


def apply_head(head: nn.Module, image_embeddings: np.ndarray, batch_size: int = 8192) -> np.ndarray:
    """Unit predictions (N, target_dim) of image embeddings (N, D)."""
    head.eval()
    device = next(head.parameters()).device
    with torch.inference_mode():
        parts = [
            head(torch.from_numpy(np.array(image_embeddings[i : i + batch_size])).to(device)).float().cpu().numpy()
            for i in range(0, len(image_embeddings), batch_size)
        ]
    return unit(np.concatenate(parts))


def save_model_a(encoder: "ClipEncoder", head: nn.Module, description: dict, folder: Path) -> None:
    """Write the tower and the head; `description` is the head's, see `head_description`."""
    encoder.save(folder)
    with atomic_file(folder / "head.safetensors") as temporary:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in head.state_dict().items()}, temporary)
    with atomic_file(folder / "head.json") as temporary:
        temporary.write_text(json.dumps(description, indent=1), encoding="utf-8")


class ModelAPredictor:
    """Predictions of a trained run for any images; the tower's embeddings are cached, the head is applied to them."""

    def __init__(self, run, device: str = "auto"):
        best = run.folder / "best"
        if not (best / "head.json").is_file():
            raise FileNotFoundError(f"{best} has no head: the run {run.name!r} has not finished its first stage")
        folder, precision = str(run.folder), run.settings["precision"]  # as Model B on this tower
        self.encoder = load_image_encoder(folder, device, precision)
        remedy = f"train it again by src/train_a.py --run {run.name} --overwrite"
        types = {"head": (str,), "dim": (int,), "target_dim": (int,), "dropout": (int, float)}
        description = read_description(best / "head.json", remedy, **types)
        if description["head"] not in HEADS:
            raise ValueError(f"{best / 'head.json'}: no head is called {description['head'][:80]!r}: {remedy}")
        self.head = make_head(description)
        weights = best / "head.safetensors"
        load_weights(self.head, read_tensors(weights, remedy), weights, remedy)
        self.flip_tta = run.settings.get("flip_tta", False)
        self.tta_sizes = run.settings.get("tta_sizes", [])
        self.name = run.name

    def predict(
        self, dataset: Dataset, batch_size: int = 64, workers: int = 2, skip_unreadable: bool = False
    ) -> Embeddings:
        """Unit predictions (N, target_dim) by image id."""
        options = {"batch_size": batch_size, "workers": workers, "skip_unreadable": skip_unreadable}
        rows = image_predictions(
            self.encoder,
            lambda vectors: apply_head(self.head, vectors),
            dataset,
            self.flip_tta,
            self.tta_sizes,
            **options,
        )
        return Embeddings(rows.ids, rows.vectors, {"run": self.name})
