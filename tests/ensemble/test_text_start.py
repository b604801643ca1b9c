from clipknight.embedding.captioned_dataset import CaptionedDataset
from clipknight.embedding.embeddings import Embeddings, unit
from clipknight.ensemble.text_start import text_to_target
from clipknight.training.runs import Run
from train_a import main

import numpy as np
import pytest
import torch

D, T = 12, 7


def test_the_map_is_found_and_the_gap_closed():
    """Images lie where captions do, but for a gap; the map learnt from captions is right for images."""
    draw = np.random.default_rng(0)
    true, gap = draw.standard_normal((D, T)), 0.3 * draw.standard_normal(D)
    captions = unit(draw.standard_normal((4000, D)) + 0.5)
    weight, bias = text_to_target(captions, captions @ true, captions.mean(0) + gap)
    assert weight.shape == (T, D) and bias.shape == (T,)
    images = (captions[:50] + gap) * D**0.5
    np.testing.assert_allclose(images @ weight.T + bias, captions[:50] @ true, atol=0.02)


@pytest.fixture
def argv(coloured, colour_clip, colour_encoder):
    def words(run, *more):
        options = {"data": coloured, "encoder": colour_clip, "target_encoder": colour_encoder, "run": f"start/{run}"}
        options |= {"epochs": 0, "head_epochs": 0, "precision": "fp32", "device": "cpu", "workers": 0}
        return [f"--{name}={value}" for name, value in options.items()] + list(more)

    return words


@pytest.mark.parametrize("head", ["che", "linear"])
def test_images_are_told_by_what_captions_alone_have_taught(argv, coloured, colour_encoder, capsys, head):
    score = main(argv(head, f"--head={head}", "--init_head", str(coloured)))
    assert "head started from 120 captions" in capsys.readouterr().out
    data = CaptionedDataset.read(coloured, target_encoder=str(colour_encoder))
    train, valid = data.split("train"), data.split("valid")
    constant = np.tile(train.mean_targets().mean(axis=0), (len(valid.dataset), 1))
    possible = valid.avg_cos(Embeddings(valid.dataset.ids, valid.mean_targets()))
    constant = valid.avg_cos(Embeddings(valid.dataset.ids, constant))
    assert score > constant + 0.6 * (possible - constant)
    with pytest.raises(SystemExit, match="leave nothing to train"):
        main(argv(f"{head}-untaught", f"--head={head}"))


def test_the_start_is_learnt_on(argv, coloured):
    start = ["--init_head", str(coloured)]
    main(argv("begun", *start))
    main(argv("learnt", *start, "--head_epochs=3"))
    begun, learnt = (
        torch.from_numpy(np.array(Run.open(f"start/{n}").predictions("valid").vectors)) for n in ("begun", "learnt")
    )
    assert not torch.equal(begun, learnt)


def test_mistakes_end_with_one_line(argv, coloured, tmp_path):
    with pytest.raises(SystemExit, match="--init_head starts heads that can be a linear map: --head che or linear"):
        main(argv("wide", "--head=wide", "--init_head", str(coloured)))
    with pytest.raises(SystemExit, match="--init_head needs captions and images in one space"):
        main(argv("pooled", "--encoder=lite0-minilm@64", "--init_head", str(coloured)))
    with pytest.raises(SystemExit, match="nowhere"):
        main(argv("nowhere", "--init_head", str(tmp_path / "nowhere.txt")))
    assert not any(Run.at(f"start/{name}").exists for name in ("wide", "pooled", "nowhere"))
