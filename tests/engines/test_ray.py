"""Workers of Ray on this machine give what one process gives, whatever dies meanwhile."""

import os
import shutil
import signal
import sys

import embed
from clipknight.captioning import decoding_in_parts
from clipknight.captioning.decoding import Decoder
from clipknight.captioning.knight import Knight
from clipknight.captioning.plain_decoder import load_plain_decoder
from clipknight.data.datasets import read_dataset
from clipknight.data.left_out import UnreadableMedia
from clipknight.embedding import raw_rows
from clipknight.embedding.cache import image_embeddings
from clipknight.embedding.cached_embeddings import CachedCaptions
from clipknight.embedding.caption_encoding import CaptionRows
from clipknight.embedding.clip import load_image_encoder
from clipknight.embedding.embeddings import unit
from clipknight.embedding.settings import OFFLINE
from clipknight.embedding.shards import ShardedEmbeddings
from clipknight.engines import cluster, ray_workers
from clipknight.engines.workers import results
from clipknight.ensemble.knn import DistanceWeightedKNN
from clipknight.ensemble.knn_on_disk import fit_on_disk
from clipknight.ensemble.saved_knn import load_knn, save_knn
from clipknight.paths import CACHE, caches
from clipknight.preparation import Engine, prepare_process

import numpy as np
import pytest
import tiny_models
import torch

ray = pytest.importorskip("ray", reason='--engine ray needs an extra: pip install "clipknight[ray]"')


@pytest.fixture(scope="module", autouse=True)
def two_workers():
    """One cluster for all tests: two workers of one thread each."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cluster, "CORES", 2)
        cluster.connect("")
        yield
        ray.shutdown()
        ray_workers._started.clear()


@pytest.fixture
def by_ray():
    prepare_process(engine=Engine("ray", device="cpu"))
    yield
    prepare_process()


class Squares:
    """Counts in `folder` how often each part was begun; the first attempt at `deadly` ends its worker."""

    def __init__(self, folder, deadly=None):
        self.folder, self.deadly = folder, deadly

    def ready(self, place):
        def square(part):
            begun = self.folder / str(part)
            attempts = int(begun.read_text(encoding="utf-8")) + 1 if begun.exists() else 1
            begun.write_text(str(attempts), encoding="utf-8")
            if part == self.deadly and attempts == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            if part < 0:
                raise ValueError(f"{part} is below zero")
            return part**2

        return square


def test_a_part_whose_worker_is_killed_is_done_again_and_given_once(by_ray, tmp_path):
    found = list(results(Squares(tmp_path, deadly=3), range(8), [0, 2, 3, 5, 7], 0))
    assert sorted(found) == [(i, i**2) for i in (0, 2, 3, 5, 7)]
    attempts = {path.name: int(path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()}
    assert attempts.pop("3") == 2 and set(attempts.values()) == {1}


def test_an_error_of_the_work_is_raised_as_it_is(by_ray, tmp_path):
    with pytest.raises(ValueError, match="^-1 is below zero$"):
        list(results(Squares(tmp_path), [4, -1, 5], [0, 1, 2], 0))


class Caches:
    def ready(self, place):
        return lambda part: os.environ[CACHE]


def test_workers_find_what_is_kept_where_the_command_does(by_ray):
    assert dict(results(Caches(), [0, 0], [0, 1], 0)) == dict.fromkeys((0, 1), str(caches()))
    assert CACHE not in os.environ


def test_more_threads_than_any_machine_has_cores_are_refused(monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 64)
    with pytest.raises(ValueError, match="no machine of the cluster has more than 2 cores: set .*OMP_NUM_THREADS=2"):
        cluster.shares_of("cpu", 0)


SMALL = f"{OFFLINE}@32"  # a packaged tower, which workers unpickle without open_clip: they start in seconds


@pytest.fixture(scope="module")
def encoder():
    return load_image_encoder(SMALL, "cpu", "fp32")


def encoded(encoder, dataset, folder):
    """Rows in batches of four, which are a worker's parts too."""
    return image_embeddings(encoder, dataset, folder, batch_size=4, workers=0)


def test_rows_equal_those_of_one_process_after_a_kill_too(coloured, encoder, tmp_path, by_ray, monkeypatch):
    dataset, written = read_dataset(coloured), []
    with monkeypatch.context() as patched:
        patched.setattr(raw_rows, "atomic_file", lambda path: _stop_at_the_third(path, written))
        with pytest.raises(KeyboardInterrupt):
            encoded(encoder, dataset, tmp_path / "ray")
    with monkeypatch.context() as patched:
        patched.setattr(raw_rows, "atomic_file", lambda path: _noted(path, written))
        by_workers = encoded(encoder, dataset, tmp_path / "ray")
    assert len(written) == len(set(written)) == 10  # each part of 38 pictures once
    prepare_process()
    in_one = encoded(encoder, dataset, tmp_path / "one")
    assert by_workers.ids.tolist() == in_one.ids.tolist() and by_workers.meta == in_one.meta
    np.testing.assert_array_equal(by_workers.vectors, in_one.vectors)


whole_file = raw_rows.atomic_file


def _noted(path, written):
    written.append(path.name)
    return whole_file(path)


def _stop_at_the_third(path, written):
    if len(written) == 2:
        raise KeyboardInterrupt
    return _noted(path, written)


class Letters:
    """Encodes a caption as how often it has each of a few letters."""

    def __call__(self, captions):
        return unit(np.array([[1 + caption.count(letter) for letter in "aeiou"] for caption in captions], np.float32))

    def on(self, device):
        return self


def test_captions_equal_those_of_one_process(coloured, tmp_path, by_ray):
    def rows(folder):
        return CachedCaptions("letters", "letters", read_dataset(coloured), folder).embeddings(
            "", CaptionRows(Letters(), 50)
        )

    by_workers = rows(tmp_path / "ray")
    prepare_process()
    in_one = rows(tmp_path / "one")
    assert len(in_one) == 190
    np.testing.assert_array_equal(by_workers.vectors, in_one.vectors)


def test_unreadable_pictures_are_named_or_left_out(coloured, encoder, tmp_path, by_ray):
    torn = shutil.copytree(coloured, tmp_path / "own") / "Images" / "test03.png"
    torn.write_bytes(b"")
    dataset = read_dataset(tmp_path / "own").split("test")
    with pytest.raises(UnreadableMedia, match="1 unreadable images: .*test03.png: the file is empty"):
        encoded(encoder, dataset, tmp_path / "ray")
    rows = image_embeddings(encoder, dataset, tmp_path / "ray", batch_size=4, workers=0, skip_unreadable=True)
    assert rows.meta["skipped"] == ["test03"] and len(rows) == len(dataset) - 1


@pytest.mark.parametrize("index", ["exact", "ivf_sq8"])
def test_model_b_is_built_and_searched_part_by_part(tmp_path, index, by_ray):
    draw = np.random.default_rng(0)
    keys = unit(draw.standard_normal((900, 12))).astype(np.float16)
    parts, queries = [keys[:400], keys[400:410], keys[410:]], draw.standard_normal((40, 12))

    def neighbors(folder):
        knn = fit_on_disk(DistanceWeightedKNN(20, index=index), parts, parts, folder / "index")
        save_knn(knn, folder / "knn")
        return load_knn(folder / "knn").kneighbors(queries), sorted(file.name for file in (folder / "knn").iterdir())

    by_workers, files = neighbors(tmp_path / "ray")
    assert ("part-00002.faiss" in files) == (index == "ivf_sq8")
    prepare_process()
    in_one, files = neighbors(tmp_path / "one")
    assert ("lists.ivfdata" in files) == (index == "ivf_sq8")
    for a, b in zip(by_workers, in_one, strict=True):
        np.testing.assert_array_equal(a, b)


def test_archives_are_encoded_by_workers(coloured, tmp_path):
    for split in ("train", "test"):
        shutil.make_archive(str(tmp_path / "tars" / split), "tar", coloured / "Images")
    named = {"images": tmp_path / "tars", "encoder": SMALL, "precision": "fp32", "device": "cpu", "workers": 0}
    words = ["--backend=torch", *(f"--{name}={value}" for name, value in named.items())]  # the workers there are
    embed.main([*words, f"--out={tmp_path / 'one'}"])
    embed.main([*words, f"--out={tmp_path / 'ray'}", "--engine=ray"])
    by_workers, in_one = (ShardedEmbeddings.open(tmp_path / name) for name in ("ray", "one"))
    assert len(by_workers) == len(in_one) == 2 * 38 and by_workers.meta == in_one.meta
    for (ids, vectors), (same_ids, same_vectors) in zip(by_workers.parts(), in_one.parts(), strict=True):
        assert ids.tolist() == same_ids.tolist()
        np.testing.assert_array_equal(vectors, same_vectors)


def test_captions_are_decoded_by_workers_after_a_kill_too(outputs, tmp_path, by_ray, monkeypatch):
    model, tokenizer = load_plain_decoder(tiny_models.write_language_model(tmp_path / "gpt2", "gpt2"))
    knight = Knight(model, 12)
    with torch.no_grad():
        for layer in list(knight.mapper)[::2]:
            layer.weight.normal_()  # far from each other, so that each row says something of its own
    decoder = Decoder(knight, tokenizer, batch_size=4)
    prefixes, written = np.random.default_rng(0).standard_normal((14, 3, 12)).astype(np.float32), []
    with monkeypatch.context() as patched:
        patched.setattr(decoding_in_parts, "atomic_file", lambda path: _stop_at_the_third(path, written))
        with pytest.raises(KeyboardInterrupt):
            decoder.captions(prefixes, num_beams=3, max_new_tokens=6, count=2)
    assert len(list((outputs / "embeddings" / "captions").glob("*.partial/*.json"))) == 2
    with monkeypatch.context() as patched:
        patched.setattr(decoding_in_parts, "atomic_file", lambda path: _noted(path, written))
        by_workers = decoder.captions(prefixes, num_beams=3, max_new_tokens=6, count=2)
    assert sorted(written) == [f"{number}.json" for number in range(4)]
    assert not list((outputs / "embeddings" / "captions").glob("*.partial"))
    prepare_process()
    assert by_workers == decoder.captions(prefixes, num_beams=3, max_new_tokens=6, count=2)
    assert len(by_workers) == 28 and len(set(by_workers)) > 4
