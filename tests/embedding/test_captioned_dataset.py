import shutil
from dataclasses import make_dataclass
from pathlib import Path

from clipknight.data import images as data_images
from clipknight.data.images import read_image
from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.embeddings import Embeddings
from clipknight.embedding.settings import DataSettings, SkippingSettings

import numpy as np
import pytest


@pytest.fixture(scope="module")
def data(coloured, tiny_target_encoder):
    return CaptionedDataset.read(coloured, str(tiny_target_encoder), "cpu")


@pytest.fixture
def uneven(coloured, tiny_target_encoder, tmp_path):
    """Some images have one or two captions, in a file whose lines are shuffled."""
    folder = shutil.copytree(coloured, tmp_path / "uneven")
    head, *lines = (folder / "captions.txt").read_text(encoding="utf-8").splitlines()
    kept = [line for i, line in enumerate(lines) if i % 5 == 0 or i % 7 == 0 or i > 120]
    np.random.default_rng(0).shuffle(kept)
    (folder / "captions.txt").write_text("\n".join([head, *kept, ""]), encoding="utf-8")
    return CaptionedDataset.read(folder, str(tiny_target_encoder), "cpu")


def test_one_target_for_each_caption(data, tiny_target_encoder):
    assert data.targets.vectors.shape == (190, 24) and data.target_name == str(tiny_target_encoder)
    assert data.targets.ids.tolist() == data.dataset.captions["caption_id"].tolist()


def test_a_split_takes_its_targets_along(data):
    valid = data.split("valid")
    assert len(valid.dataset) == 8 and len(valid.targets) == 40
    for row in (0, 17, 39):
        caption_id = valid.dataset.captions["caption_id"][row]
        whole = data.targets.ids.tolist().index(caption_id)
        np.testing.assert_array_equal(valid.targets.vectors[row], data.targets.vectors[whole])


@pytest.mark.parametrize("name", ["data", "uneven"])
def test_mean_targets_against_a_loop(request, name):
    train = request.getfixturevalue(name).split("train")
    owners = train.dataset.captions["id"].to_numpy()
    for image, mean in zip(train.dataset.ids, train.mean_targets(), strict=True):
        np.testing.assert_allclose(mean, np.asarray(train.targets.vectors)[owners == image].mean(0), atol=1e-6)


def test_agreement_is_each_captions_with_the_others_of_its_image(uneven):
    vectors, owners = np.asarray(uneven.targets.vectors), uneven.dataset.captions["id"].to_numpy()
    cosines = []
    for row, owner in enumerate(owners):
        others = np.flatnonzero((owners == owner) & (np.arange(len(owners)) != row))
        cosines += [(vectors[others] @ vectors[row]).mean()] if len(others) else []
    assert len(cosines) < len(owners)  # some images have one caption
    assert uneven.agreement() == pytest.approx(np.mean(cosines), abs=1e-6)


def test_cosines_are_each_images_share_of_avg_cos(uneven):
    rows = 3 * np.random.default_rng(0).standard_normal((len(uneven.dataset), uneven.targets.vectors.shape[1])).astype(
        np.float32
    )
    each, counts = uneven.cosines(rows), np.bincount(uneven.image_of_caption)
    expected = uneven.avg_cos(Embeddings(uneven.dataset.ids, rows))
    assert len(set(counts)) > 1 and np.average(each, weights=counts) == pytest.approx(expected, abs=1e-6)


def test_image_of_caption(uneven):
    ids = uneven.dataset.ids[uneven.image_of_caption]
    assert ids.tolist() == uneven.dataset.captions["id"].tolist()


def test_drawn_captions_are_the_images_own_and_all_are_drawn(uneven):
    train, draw = uneven.split("train"), np.random.default_rng(0)
    owners = train.dataset.captions["id"].to_numpy()
    drawn = np.stack([train.drawn_captions(draw) for _ in range(60)])
    assert (owners[drawn] == train.dataset.ids).all()
    assert set(drawn.ravel()) == set(range(len(owners)))
    first = train.drawn_targets(np.random.default_rng(0))
    np.testing.assert_array_equal(first, train.targets.vectors[drawn[0]])


def test_avg_cos_over_all_pairs(data):
    valid = data.split("valid")
    own = Embeddings(valid.dataset.ids, valid.mean_targets())
    swapped = Embeddings(valid.dataset.ids, valid.mean_targets()[::-1].copy())
    lengths = np.linalg.norm(valid.mean_targets(), axis=1)  # mean cosine of unit rows with their mean
    assert valid.avg_cos(own) == pytest.approx(lengths.mean(), abs=1e-6) and valid.avg_cos(swapped) < valid.avg_cos(own)


def test_an_image_without_caption_is_refused_by_name(coloured, tiny_target_encoder, tmp_path):
    folder = shutil.copytree(coloured, tmp_path / "bare")
    lines = (folder / "captions.txt").read_text(encoding="utf-8").splitlines()
    (folder / "captions.txt").write_text(
        "\n".join([*(line for line in lines if "test02" not in line), ""]), encoding="utf-8"
    )
    bare = CaptionedDataset.read(folder, str(tiny_target_encoder), "cpu")
    assert len(bare.split("valid").targets) == 40
    with pytest.raises(ValueError, match="1 of 6 test images of bare have no caption: test02"):
        bare.split("test")


def test_a_data_set_without_a_split_gets_one_by_similar_captions(coloured, tiny_target_encoder, tmp_path, outputs):
    folder = shutil.copytree(coloured, tmp_path / "unsplit")
    for file in folder.glob("Flickr_8k.*"):
        file.unlink()
    made = CaptionedDataset.read(folder, str(tiny_target_encoder), "cpu", seed=3)
    assert made.dataset.has_splits and list((outputs / "embeddings" / "unsplit").glob("split-*-seed3.csv"))
    again = CaptionedDataset.read(folder, str(tiny_target_encoder), "cpu", seed=3)
    assert again.dataset.images["split"].tolist() == made.dataset.images["split"].tolist()


def test_images_that_cannot_be_learned_from_are_left_out_when_asked(
    coloured, colour_encoder, tmp_path, capsys, outputs, monkeypatch
):
    folder = shutil.copytree(coloured, tmp_path / "damaged")
    whole = {name: (folder / "Images" / name).read_bytes() for name in ("train03.png", "test02.png")}
    for name, data in whole.items():
        (folder / "Images" / name).write_bytes(data[:100])
    (folder / "Images" / "dev01.png").unlink()
    settings = make_dataclass("Settings", [], bases=(DataSettings, SkippingSettings), frozen=True, kw_only=True)
    options = {"data": str(folder), "target_encoder": str(colour_encoder), "device": "cpu"}
    with pytest.raises(FileNotFoundError, match="dev01.png.*--skip_unreadable leaves them out"):
        CaptionedDataset.of(settings(**options))
    data = CaptionedDataset.of(settings(**options, skip_unreadable=True))
    counts = data.dataset.images["split"].value_counts().to_dict()
    assert counts == {"train": 23, "valid": 7, "test": 5} and not {"train03", "test02"} & set(data.dataset.ids)
    assert data.targets.ids.tolist() == data.dataset.captions["caption_id"].tolist()
    printed = capsys.readouterr().out
    assert "1 files are named but not in" in printed
    assert "left out: 2 unreadable images of damaged: test02.png, train03.png, all in" in printed
    listed = (outputs / "left_out" / "damaged-unreadable.csv").read_text(encoding="utf-8")
    assert listed.startswith("path,reason\n") and "train03.png,image file is truncated" in listed

    # Those that could be read are remembered; the others are tried again, and so is one that was touched.
    decoded = []
    monkeypatch.setattr(data_images, "read_image", lambda path: decoded.append(Path(path).name) or read_image(path))
    (folder / "Images" / "train03.png").write_bytes(whole["train03.png"])
    (folder / "Images" / "dev02.png").touch()
    assert len(CaptionedDataset.of(settings(**options, skip_unreadable=True)).dataset.split("train")) == 24
    assert sorted(decoded) == ["dev02.png", "test02.png", "train03.png"]


def test_videos_are_refused_where_images_are_needed(colour_encoder, tmp_path):
    names = [f"{split}.mp4" for split in ("train", "valid")]
    (tmp_path / "v.csv").write_text(
        "video,caption,split\n" + "".join(f"{name},a red clip,{name[:5]}\n" for name in names), encoding="utf-8"
    )
    for name in names:
        (tmp_path / name).touch()
    settings = make_dataclass("Settings", [], bases=(DataSettings, SkippingSettings), frozen=True, kw_only=True)
    s = settings(data=str(tmp_path), target_encoder=str(colour_encoder), device="cpu")
    with pytest.raises(ValueError, match="holds videos, and this needs images: .* src/caption.py FOLDER"):
        CaptionedDataset.of(s)
    assert len(CaptionedDataset.of(s, text_alone=True).dataset) == 2


def test_text_alone_needs_no_picture(coloured, colour_encoder, tmp_path, capsys):
    folder = shutil.copytree(coloured, tmp_path / "partly")
    (folder / "Images" / "train03.png").unlink()
    options = {"target_encoder": str(colour_encoder), "device": "cpu"}
    whole = CaptionedDataset.read(coloured, **options)
    for _ in range(2):  # without one of them, then without any
        data = CaptionedDataset.read(folder, **options, text_alone=True)
        assert data.dataset.captions.equals(whole.dataset.captions)
        assert data.dataset.images["split"].tolist() == whole.dataset.images["split"].tolist()
        shutil.rmtree(folder / "Images", ignore_errors=True)
    assert "partly: not all of its images are there, and none is needed" in capsys.readouterr().out
