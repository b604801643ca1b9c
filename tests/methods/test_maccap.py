"""MacCap's captioner: which vectors the decoder gets from an image's sub-regions, and which of its captions is said."""

from dataclasses import replace

from clipknight.captioning.caption_index import CaptionIndex
from clipknight.captioning.captioner import Captioner, CaptionOptions, ImageVectors
from clipknight.captioning.decoders import load_decoder
from clipknight.captioning.decoding import Decoder
from clipknight.captioning.knight import Knight
from clipknight.captioning.retriever import Retriever
from clipknight.embedding.clip import load_clip
from clipknight.embedding.embeddings import unit
from clipknight.embedding.subregions import encode_subregions
from clipknight.methods.maccap import MacCap, NoisyRows, SubRegionPrefix, noisy
from clipknight.methods.registry import method_options, open_captioner
from clipknight.training.runs import Run

import numpy as np
import pytest
import torch
from corpora_of_texts import corpus_of

DIM, SIZE = 16, 40


def rows(*shape, seed=1):
    return unit(np.random.default_rng(seed).standard_normal((*shape, DIM))).astype(np.float32)


@pytest.fixture
def captioner(language_model):
    """A random model of six queries."""
    torch.manual_seed(1)
    decoder, tokenizer = load_decoder(str(language_model))
    model = Knight(decoder, DIM, queries=6).eval()
    with torch.no_grad():
        for parameter in model.mapper.parameters():
            parameter.normal_(0, 0.5)
    retriever = Retriever(corpus_of([f"c/{i}" for i in range(SIZE)]), CaptionIndex(rows(SIZE, seed=0)), letters)
    return Captioner(retriever, MacCap(Decoder(model, tokenizer), SubRegionPrefix()))


def changed(captioner, batch_size=64, **options):
    """The captioner with other options of MacCap."""
    decoder = replace(captioner.method.decoder, batch_size=batch_size)
    return replace(captioner, method=MacCap(decoder, replace(captioner.method.prefix, **options)))


@pytest.fixture
def seen(captioner, monkeypatch):
    """The vectors that the model is given."""
    model, given = captioner.method.decoder.model, []
    generate = model.generate
    monkeypatch.setattr(model, "generate", lambda v, *a, **k: (given.append(v.numpy()), generate(v, *a, **k))[1])
    return given


# Sub-regions


def test_each_region_joins_the_image(captioner, seen):
    captioner = changed(captioner, noise=0.0, weight=0.5)
    images, regions = rows(4), rows(4, 3, seed=2)
    captioner.caption(images, CaptionOptions(1, 4), regions=regions)
    by_hand = [[(i + 0.5 * r) / np.linalg.norm(i + 0.5 * r) for r in own] for i, own in zip(images, regions)]
    np.testing.assert_allclose(seen[0], by_hand, atol=1e-6)


def test_the_vectors_are_those_of_the_encoders_regions(colour_clip, coloured):
    paths = sorted(map(str, (coloured / "Images").glob("dev*")))[:3]
    found = encode_subregions(load_clip(str(colour_clip), "cpu", "fp32"), paths, 3)
    joined = SubRegionPrefix().joined(ImageVectors(found.whole, found.regions))
    np.testing.assert_allclose(joined, found.joined(), atol=1e-6)


def test_without_regions_the_image_is_repeated(captioner, seen):
    captioner = changed(captioner, noise=0.0, copies=5)
    images = rows(4)
    captioner.caption(images, CaptionOptions(1, 4))
    np.testing.assert_allclose(seen[0], np.repeat(images[:, None], 5, axis=1), atol=1e-6)


def test_a_video_is_all_of_its_frames_regions(captioner, seen):
    captioner = changed(captioner, noise=0.0)
    videos, regions = rows(3, 2), rows(3, 2, 4, seed=2)
    said = captioner.caption(videos, CaptionOptions(1, 4), regions=regions)
    expected = [[unit(frame + r) for frame, own in zip(v, rs) for r in own] for v, rs in zip(videos, regions)]
    np.testing.assert_allclose(seen[0], expected, atol=1e-6)
    nearest = (unit(videos.mean(axis=1)) @ captioner.retriever.vectors.T).argmax(axis=1)
    np.testing.assert_array_equal(said.neighbours[:, 0], nearest)
    prefix = SubRegionPrefix(noise=0.0, copies=2)
    np.testing.assert_allclose(prefix.vectors(ImageVectors(videos)), np.repeat(videos, 2, axis=1), atol=1e-6)


# Noise


def test_noise_of_a_variance():
    vectors = rows(5000)
    for variance in (0.002, 0.1):
        drawn = np.random.default_rng([7, 1]).standard_normal(vectors.shape, dtype=np.float32)
        expected = unit(vectors + np.sqrt(variance) * drawn)
        np.testing.assert_allclose(noisy(vectors, variance, 7, 1), expected, atol=1e-6)
    assert noisy(vectors, 0.1, 7).dtype == np.float32
    np.testing.assert_allclose(noisy(vectors, 0.0, 7), vectors, atol=1e-6)
    assert not np.allclose(noisy(vectors, 0.1, 7), noisy(vectors, 0.1, 8), atol=0.1)


def test_noisy_rows_are_the_same_each_time():
    vectors = rows(6)
    held = NoisyRows(vectors, 0.05, seed=3)
    copies = held[np.array([2, 2, 2])]
    np.testing.assert_array_equal(held[np.array([2, 2, 2])], copies)
    np.testing.assert_allclose(np.linalg.norm(copies, axis=1), 1, atol=1e-6)
    assert np.abs(copies - copies[0]).max(axis=1)[1:].min() > 0.1  # each copy has its own
    assert np.abs(held[np.array([4, 4, 4])] - vectors[4] - (copies - vectors[2])).max() > 0.1  # as has each row
    np.testing.assert_allclose(NoisyRows(vectors, 0.0, 3)[np.array([4])], vectors[4:5], atol=1e-6)


def test_every_image_has_noise_of_its_own_wherever_it_stands():
    prefix, images = SubRegionPrefix(), ImageVectors(rows(6), rows(6, 3, seed=2))
    vectors = prefix.vectors(images)
    noise = vectors - prefix.joined(images)
    assert vectors.shape == (6, 3, DIM) and np.abs(noise[:, :, None] - noise[:, None]).max(axis=(-1, -2)).min() > 0.05
    # Of images whose second region is the same, as the image is:
    same = rows(1, 2, seed=4).repeat(6, axis=0)
    alike = ImageVectors(np.zeros((6, DIM), np.float32), np.concatenate([rows(6, 1, seed=3), same], axis=1))
    second = prefix.vectors(alike)[:, 1]
    assert all(np.abs(second[i] - second[j]).max() > 0.05 for i in range(6) for j in range(i))
    alone = ImageVectors(images.vectors[[4]], images.regions[[4]])
    np.testing.assert_array_equal(prefix.vectors(alone)[0], vectors[4])
    others = SubRegionPrefix(seed=1).vectors(images), prefix.vectors(images, draw=1)
    assert all(np.abs(other - vectors).max(axis=(1, 2)).min() > 0.05 for other in others)


@pytest.mark.parametrize("rerank", [1, 3])
def test_batches_say_what_single_images_do(captioner, rerank):
    captioner, options = changed(captioner, batch_size=3), CaptionOptions(2, 6, rerank, "embedding")
    images, regions = rows(7), rows(7, 3, seed=2)
    together = captioner.caption(images, options, regions).texts
    one = [captioner.caption(images[[i]], options, regions[[i]]).texts[0] for i in range(7)]
    assert together == one and len(set(one)) > 4


# Reranking


def letters(texts):
    """Vectors that tell captions apart."""
    return np.array([[text.lower().count(letter) for letter in "abcdefghilnopstu"] for text in texts]) + 0.1


def test_the_noisy_decoding_whose_own_embedding_is_nearest(captioner):
    captioner, images, regions = changed(captioner, noise=0.1), rows(6), rows(6, 3, seed=2)
    decoder, prefix = captioner.method.decoder, captioner.method.prefix
    drawn = [decoder.captions(prefix.vectors(ImageVectors(images, regions), n), 2, 6) for n in range(5)]
    likeness = np.array([(unit(letters(texts)) * images).sum(axis=1) for texts in drawn])
    texts = captioner.caption(images, CaptionOptions(2, 6, 5, "embedding"), regions).texts
    assert texts == [drawn[best][i] for i, best in enumerate(likeness.argmax(axis=0))]
    assert texts != captioner.caption(images, CaptionOptions(2, 6), regions).texts == drawn[0]


def test_without_noise_beams_are_compared(captioner):
    captioner, images, regions = changed(captioner, noise=0.0), rows(6), rows(6, 3, seed=2)
    vectors = captioner.method.prefix.joined(ImageVectors(images, regions))
    beams = captioner.method.decoder.captions(vectors, 4, 6, 4)
    likeness = np.einsum("nrd,nd->nr", unit(letters(beams)).reshape(6, 4, DIM), images)
    texts = captioner.caption(images, CaptionOptions(2, 6, 4, "embedding"), regions).texts
    assert texts == [beams[4 * i + best] for i, best in enumerate(likeness.argmax(axis=1))]


# By name


def test_its_options():
    given = method_options(SubRegionPrefix, ["regions=0", "weight=.5", "noise=0"], "maccap")
    assert given == {"regions": 0, "weight": 0.5, "noise": 0.0}
    assert MacCap.options == CaptionOptions(num_beams=4, max_new_tokens=16, rerank=5, rerank_by="embedding")


@pytest.mark.parametrize("option", [{"regions": -1}, {"copies": 0}, {"noise": -0.1}])
def test_options_that_are_none(option):
    with pytest.raises(ValueError, match="regions .* and noise .* must be 0 or more, copies .* at least 1"):
        SubRegionPrefix(**option)


def test_a_run_says_how_it_was_trained(maccap_run):
    run = Run.open(maccap_run)
    prefix = open_captioner(run, device="cpu").method.prefix
    assert (prefix.regions, prefix.copies, prefix.noise, prefix.weight) == (3, 3, 0.001, 1.0)
    other = open_captioner(run, device="cpu", options=["noise=0", "regions=2"]).method
    assert (other.prefix.noise, other.prefix.copies, other.regions) == (0, 3, 2)
    assert open_captioner(run, device="cpu", method="clipre").method.regions == 0
    with pytest.raises(ValueError, match="trained for the method maccap: direct needs a run trained for direct"):
        open_captioner(run, device="cpu", method="direct")
