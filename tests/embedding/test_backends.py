"""Other backends than torch: as good as the same rows, kept apart, chosen by rule."""

from clipknight.data.datasets import read_dataset
from clipknight.embedding import backends, graphs, image_graph
from clipknight.embedding.backends import NotAGraph, backend_for, mean_cosine
from clipknight.embedding.cache import image_embeddings, target_embeddings, unscaled_embeddings
from clipknight.embedding.clip import load_clip
from clipknight.embedding.sentence_graph import batches_of_tokens
from clipknight.embedding.target_encoder import load_target_encoder
from clipknight.paths import caches_in
from clipknight.preparation import encoding_by, wanted_backend

import numpy as np
import pytest
import torch

MODULES = {"openvino": "openvino", "onnx": "onnxruntime"}
EXTRA = "the extra is not installed"


@pytest.fixture(params=MODULES)
def backend(request) -> str:
    pytest.importorskip(MODULES[request.param], reason=EXTRA)
    return request.param


@pytest.fixture
def openvino():
    pytest.importorskip("openvino", reason=EXTRA)


@pytest.fixture(scope="module")
def clip(tiny_clip):
    return load_clip(str(tiny_clip), "cpu", "fp32")


@pytest.fixture(scope="module")
def target_encoder(tiny_target_encoder):
    return load_target_encoder(str(tiny_target_encoder), "cpu")


@pytest.fixture(scope="module")
def dataset(coloured):
    return read_dataset(coloured)


@pytest.fixture(autouse=True, scope="module")
def own_caches(tmp_path_factory):
    """Graphs are made once for all tests here."""
    with caches_in(tmp_path_factory.mktemp("caches")):
        yield


def images(clip, dataset, cache, backend, **options):
    with encoding_by(backend):
        return image_embeddings(clip, dataset, cache, **{"batch_size": 8, "workers": 0} | options)


def test_rows_are_nearly_torchs_in_a_place_of_their_own(backend, clip, dataset, tmp_path):
    torchs = images(clip, dataset, tmp_path, "torch")
    rows = images(clip, dataset, tmp_path, backend)
    assert torchs.meta["fingerprint"] == clip.fingerprint("visual")
    assert rows.meta["fingerprint"] == f"{clip.fingerprint('visual')}-{backend}"
    assert rows.ids.tolist() == torchs.ids.tolist()
    assert mean_cosine(rows.vectors, torchs.vectors) > 0.99999
    np.testing.assert_allclose(np.linalg.norm(rows.vectors, axis=1), 1, atol=1e-6)


def test_rows_do_not_depend_on_the_batch(backend, clip, dataset, tmp_path):
    rows = [images(clip, dataset, tmp_path / str(size), backend, batch_size=size).vectors for size in (1, 7, 38)]
    np.testing.assert_allclose(rows[0], rows[2], atol=1e-6)
    np.testing.assert_allclose(rows[1], rows[2], atol=1e-6)
    np.testing.assert_array_equal(images(clip, dataset, tmp_path / "again", backend, batch_size=7).vectors, rows[1])


def test_unscaled_and_mirrored_ones_too(backend, clip, dataset, tmp_path):
    with encoding_by(backend):
        rows = unscaled_embeddings(clip, dataset, tmp_path, workers=0).vectors
        clip.mirrored = True
        try:
            turned = unscaled_embeddings(clip, dataset, tmp_path, workers=0).vectors
        finally:
            clip.mirrored = False
    pixels = torch.stack([clip.preprocess(image) for image in opened(dataset)])
    np.testing.assert_allclose(rows, clip.encode_unscaled(pixels), atol=1e-4)
    np.testing.assert_allclose(turned, clip.encode_unscaled(pixels.flip(-1)), atol=1e-4)


def opened(dataset):
    from PIL import Image

    return [Image.open(path) for path in dataset.images["path"]]


def test_a_graph_is_made_once_and_anew_where_it_is_damaged(backend, clip, dataset, tmp_path, monkeypatch):
    made, write = [], backends.write_graph

    def counted(*args):
        made.append(args)
        write(*args)

    monkeypatch.setattr(backends, "write_graph", counted)
    with caches_in(tmp_path / "caches"):
        first = images(clip, dataset, tmp_path / "1", backend)
        images(clip, dataset, tmp_path / "2", backend)
        assert len(made) == 1
        (file,) = (tmp_path / "caches").rglob(graphs.GRAPH)
        file.write_bytes(file.read_bytes()[:-100])
        rows = images(clip, dataset, tmp_path / "3", backend)
    assert len(made) == 2
    np.testing.assert_array_equal(rows.vectors, first.vectors)


def test_a_graph_that_says_something_else_is_refused(backend, clip, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(backends, "mean_cosine", lambda rows, others: 0.9998)
    with caches_in(tmp_path / "caches"), pytest.raises(NotAGraph, match=r"0\.999800, not 0\.99999, .*--backend torch"):
        images(clip, dataset, tmp_path, backend)
    assert not list((tmp_path / "caches").rglob("*.onnx"))


def test_targets_are_torchs_and_captions_to_search_the_backends(backend, target_encoder, dataset, tmp_path):
    options = {"name": "tiny"}
    torchs = target_embeddings(target_encoder, dataset, tmp_path, **options)
    with encoding_by(backend):
        targets = target_embeddings(target_encoder, dataset, tmp_path, **options)
        searched = target_embeddings(target_encoder, dataset, tmp_path, precision="auto", **options)
    assert targets.meta == torchs.meta and searched.meta["fingerprint"].endswith(f"-{backend}")
    assert mean_cosine(searched.vectors, torchs.vectors) > 0.9999
    assert searched.ids.tolist() == torchs.ids.tolist()


def test_captions_go_by_their_length_in_batches_of_equal_work():
    lengths = np.array([3, 9, 4, 9, 3, 20])
    batches = [batch.tolist() for batch in batches_of_tokens(lengths, 12)]
    assert batches == [[0, 4, 2], [1], [3], [5]]
    assert [batch.tolist() for batch in batches_of_tokens(lengths, 1000)] == [[0, 4, 2, 1, 3, 5]]


def test_auto_is_torch_for_a_few_and_openvino_for_many(openvino, clip, dataset, tmp_path, monkeypatch):
    assert not images(clip, dataset, tmp_path, "auto").meta["fingerprint"].endswith("-openvino")
    monkeypatch.setattr(image_graph, "MANY_IMAGES", 38)
    assert images(clip, dataset, tmp_path / "new", "auto").meta["fingerprint"].endswith("-openvino")
    kept = images(clip, dataset, tmp_path, "auto")  # torch's are there: they are not encoded anew
    assert not kept.meta["fingerprint"].endswith("-openvino")


def test_auto_is_torch_for_what_cannot_be_a_graph(openvino, clip, dataset, tmp_path, monkeypatch, capsys):
    def refuse(*args):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(image_graph, "MANY_IMAGES", 38)
    monkeypatch.setattr(backends, "write_graph", refuse)
    with caches_in(tmp_path / "caches"):
        assert images(clip, dataset, tmp_path, "auto").meta["fingerprint"] == clip.fingerprint("visual")
        assert "torch encodes: openvino cannot run" in capsys.readouterr().out
        with pytest.raises(NotAGraph, match="no such operator"):
            images(clip, dataset, tmp_path / "named", "openvino")


def test_where_there_is_a_gpu():
    def never(*args):
        raise AssertionError("nothing is asked")

    with encoding_by("auto"):
        assert backend_for(torch.device("cuda"), 10**6, 1, never, never) == "torch"
    with encoding_by("onnx"), pytest.raises(ValueError, match="--device cpu"):
        backend_for(torch.device("cuda"), 1, 1, never, never)


def test_nobody_chose():
    assert wanted_backend() == "torch"
