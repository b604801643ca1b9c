from clipknight.data.datasets import read_dataset
from clipknight.embedding import splits
from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.embedding.splits import grouped_split, similarity_groups, with_made_split

import numpy as np
import pandas as pd
import pytest


def naive_components(vectors, image_ids, threshold):
    """Each image's component as a frozenset of images, by joining sets until nothing changes."""
    components = [{image} for image in dict.fromkeys(image_ids)]
    for i, a in enumerate(vectors):
        for j, b in enumerate(vectors):
            if a @ b >= threshold:
                touched = [c for c in components if image_ids[i] in c or image_ids[j] in c]
                components = [c for c in components if c not in touched] + [set().union(*touched)]
    return {image: frozenset(c) for c in components for image in c}


def captions(n_images=60, per_image=2, seed=0):
    draw = np.random.default_rng(seed)
    vectors = unit(draw.normal(size=(n_images * per_image, 6))).astype(np.float32)
    image_ids = draw.permutation(np.repeat([f"i{i}" for i in range(n_images)], per_image)).astype(object)
    return Embeddings([f"c{i}" for i in range(len(vectors))], vectors), image_ids


@pytest.mark.parametrize("threshold", [0.7, 0.85, 0.95])
def test_groups_are_the_connected_components(threshold):
    targets, image_ids = captions()
    groups = similarity_groups(targets, image_ids, threshold)
    expected = naive_components(targets.vectors, image_ids, threshold)
    assert {i: frozenset(groups.index[groups == groups[i]]) for i in groups.index} == expected
    assert 1 < groups.nunique() < 60 or threshold == 0.7


def test_groups_over_several_blocks_of_queries():
    twins = unit(np.random.default_rng(0).normal(size=(1500, 24))).astype(np.float32)
    vectors = np.concatenate([twins, twins])  # row i + 1500 is the twin of row i, in another block
    ids = np.array([f"i{i}" for i in range(3000)], dtype=object)
    groups = similarity_groups(Embeddings(ids, vectors), ids, 0.99)
    assert groups.nunique() == 1500
    np.testing.assert_array_equal(groups.to_numpy()[:1500], groups.to_numpy()[1500:])


@pytest.mark.parametrize("held", [1, 500, 2**23])
def test_groups_do_not_depend_on_how_many_pairs_are_held(held, monkeypatch):
    monkeypatch.setattr(splits, "HELD_PAIRS", held)
    targets, image_ids = captions()
    groups = similarity_groups(targets, image_ids, 0.85)
    assert groups.index.tolist() == list(dict.fromkeys(image_ids))
    assert groups.tolist() == pd.factorize(groups)[0].tolist()  # numbered as they first appear
    expected = naive_components(targets.vectors, image_ids, 0.85)
    assert {i: frozenset(groups.index[groups == groups[i]]) for i in groups.index} == expected


def test_no_more_pairs_are_asked_for_than_are_held(monkeypatch):
    """Of captions that are all alike, each pair is one."""
    asked, search = [], splits.faiss.IndexFlatIP.range_search
    monkeypatch.setattr(
        splits.faiss.IndexFlatIP, "range_search", lambda i, x, t: asked.append(len(x)) or search(i, x, t)
    )
    monkeypatch.setattr(splits, "HELD_PAIRS", 2000)
    ids = np.array([f"i{i}" for i in range(100)], dtype=object)
    assert similarity_groups(Embeddings(ids, np.ones((100, 1), np.float32)), ids).nunique() == 1
    assert asked == [20] * 5


def groups_of_sizes(sizes):
    numbers = np.repeat(np.arange(len(sizes)), sizes)
    return pd.Series(numbers, index=[f"i{i}" for i in range(len(numbers))])


def test_no_group_is_cut_and_shares_are_met():
    groups = groups_of_sizes(np.random.default_rng(0).integers(1, 6, 200))
    split = grouped_split(groups)
    assert (split.groupby(groups).nunique() == 1).all()
    shares = split.value_counts(normalize=True)
    assert shares.to_dict() == pytest.approx({"train": 0.8, "valid": 0.1, "test": 0.1}, abs=0.01)


def test_a_group_too_large_to_hold_out_is_trained_on():
    split = grouped_split(groups_of_sizes([60, *[1] * 40]))
    assert set(split[:60]) == {"train"}
    assert split.value_counts().to_dict() == {"train": 80, "valid": 10, "test": 10}


@pytest.mark.parametrize("sizes", [[40], [39, 1], [38, 1, 1], [1, 1, 1], [2, 1], [1] * 7, [3, 3], [20, 20]])
def test_no_split_is_empty(sizes):
    """All captions alike, as those of radiographs; seven images, as the competition has in public; three."""
    split = grouped_split(groups_of_sizes(sizes))
    counts = split.value_counts().to_dict()
    held_out = max(1, round(0.1 * sum(sizes)))
    assert set(counts) == {"train", "valid", "test"} and counts["train"] >= sum(sizes) - 2 * held_out - 1
    pd.testing.assert_series_equal(split, grouped_split(groups_of_sizes(sizes)))


def test_too_few_images_are_refused_with_a_way_out():
    with pytest.raises(ValueError, match="1 images with captions are too few to make train and valid of: two are"):
        grouped_split(groups_of_sizes([1]))


@pytest.mark.parametrize("sizes", [[1, 1], [2]])
def test_two_images_are_one_to_learn_from_and_one_to_score(sizes):
    assert grouped_split(groups_of_sizes(sizes)).value_counts().to_dict() == {"train": 1, "valid": 1}


def test_that_alike_captions_are_parted_is_said(tmp_path, capsys):
    dataset = unsplit(tmp_path / "data", [f"{i:02d}" for i in range(21)])
    targets = Embeddings(dataset.captions["caption_id"], np.tile(unit(np.ones((1, 8))), (20, 1)))
    counts = with_made_split(dataset, targets, tmp_path / "made").images["split"].value_counts().to_dict()
    assert counts == {"train": 16, "valid": 2, "test": 3}  # one of them has no caption
    printed = capsys.readouterr().out
    assert "captions of 20 of 20 images are alike" in printed
    assert "(train 16, valid 2, test 2) by 1 groups of similar captions, the largest of 20 images, 0 of one" in printed


def test_images_of_one_report_stay_together_even_so():
    groups = groups_of_sizes([40])
    twins = pd.Series(np.arange(40) // 2, index=groups.index)
    split = grouped_split(groups, twins=twins)
    assert (split.groupby(twins).nunique() == 1).all() and set(split) == {"train", "valid", "test"}
    all_one = grouped_split(groups, twins=pd.Series(0, index=groups.index))
    pd.testing.assert_series_equal(all_one, grouped_split(groups))


def test_the_seed_decides():
    groups = groups_of_sizes([2] * 50)
    pd.testing.assert_series_equal(grouped_split(groups, seed=3), grouped_split(groups, seed=3))
    assert (grouped_split(groups, seed=3) != grouped_split(groups, seed=4)).any()


def unsplit(folder, names):
    (folder / "Images").mkdir(parents=True)
    for name in names:
        (folder / "Images" / f"{name}.jpg").touch()
    lines = [f"{name}.jpg,caption of {name}" for name in names[:-1]]  # the last has none
    (folder / "captions.txt").write_text("\n".join(["image,caption", *lines, ""]), encoding="utf-8")
    return read_dataset(folder)


def test_a_made_split_is_saved_and_used_again(tmp_path, capsys):
    names = ["null", "NA", *(f"{i:02d}" for i in range(30)), "bare"]
    dataset = unsplit(tmp_path / "data", names)
    targets = Embeddings(dataset.captions["caption_id"], unit(np.random.default_rng(0).normal(size=(32, 64))))
    made = with_made_split(dataset, targets, tmp_path / "made", seed=5)
    assert "32 groups of similar captions, the largest of 1, 1, 1 images, 32 of one alone" in capsys.readouterr().out
    counts = made.images["split"].value_counts()
    assert counts["train"] > counts["test"] >= 1 and counts["valid"] >= 1
    by_id = dict(zip(made.images["id"], made.images["split"], strict=True))
    assert by_id["bare"] == "test"

    (file,) = (tmp_path / "made").glob("split-*-seed5.csv")
    saved = file.read_text(encoding="utf-8").splitlines()
    assert len(saved) == 33 and f"null,{by_id['null']}" in saved
    swap = {"null": "valid", "NA": "valid"}
    file.write_text(
        "\n".join(f"{i},{swap.get(i, s)}" for i, s in (line.split(",") for line in saved)), encoding="utf-8"
    )
    again = with_made_split(dataset, targets, tmp_path / "made", seed=5)
    assert dict(zip(again.images["id"], again.images["split"], strict=True)) == by_id | swap
    assert capsys.readouterr().out == ""
    for odd in (
        "",
        "a\0",
        "\n".join(saved[:9]),
        "\n".join([*saved, saved[3]]),
        "\n".join(saved).replace("test", "exam"),
    ):
        file.write_text(odd, encoding="utf-8")
        with pytest.raises(ValueError, match="-seed5.csv does not give each image one of train, .*: delete it to make"):
            with_made_split(dataset, targets, tmp_path / "made", seed=5)


def test_a_split_of_its_own_is_kept(coloured, tmp_path):
    dataset = read_dataset(coloured)
    assert with_made_split(dataset, None, tmp_path) is dataset
    assert list(tmp_path.iterdir()) == []
