from clipknight.embedding.clip import load_clip
from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.scoring.clip_score import PROMPT, clip_scores, load_joint_clip, target_cosine

import numpy as np
import pytest

IMAGES = Embeddings(np.array(["a", "b", "c"]), unit(np.array([[1, 0], [0, 1], [1, 1]], dtype=np.float32)))
VECTORS = {"right": [1, 0], "left": [-1, 0], "up": [0, 1]}


class Encoder:
    """Gives each caption the vector of its last word; the prompt turns it upside down."""

    def encode_captions(self, captions):
        signs = [[-1 if caption.startswith(PROMPT) else 1] for caption in captions]
        return np.array([VECTORS[caption.split()[-1]] for caption in captions], dtype=np.float32) * signs

    def encode(self, captions, batch_size, normalize_embeddings, show_progress_bar):
        return 3 * self.encode_captions(captions)


def test_clip_scores_by_hand():
    scores = clip_scores(Encoder(), IMAGES, {"b": "up", "a": "left", "c": "right"})
    assert scores["clip_cosine"] == pytest.approx((1 - 1 + 0.5**0.5) / 3)
    assert scores["CLIPScore"] == pytest.approx(2.5 * (0 + 1 + 0) / 3)  # of the prompted ones, -1, 1, -0.7


def test_batches_change_nothing(monkeypatch):
    seen = []

    class Counting(Encoder):
        def encode_captions(self, captions):
            seen.append(len(captions))
            return super().encode_captions(captions)

    many = Embeddings(np.array([str(i) for i in range(600)]), np.tile(np.float32([0, 1]), (600, 1)))
    scores = clip_scores(Counting(), many, {str(i): "up" if i % 3 else "right" for i in range(600)})
    assert scores["clip_cosine"] == pytest.approx(2 / 3) and max(seen) == 256


def test_target_cosine():
    assert target_cosine(Encoder(), IMAGES, {"c": "up", "a": "right"}) == pytest.approx((0.5**0.5 + 1) / 2)
    with pytest.raises(KeyError, match="no prediction for 1 images: d"):
        target_cosine(Encoder(), IMAGES, {"d": "up"})


def test_only_a_joint_clip_will_do(tiny_clip, tmp_path):
    assert load_joint_clip(str(tiny_clip), "cpu").joint
    encoder = load_clip(str(tiny_clip), "cpu", "fp32")
    encoder.joint = False
    encoder.save(tmp_path / "apart")
    with pytest.raises(
        ValueError, match="apart' has no space that images and captions share: adapt it with train_clip"
    ):
        load_joint_clip(str(tmp_path / "apart"), "cpu")
