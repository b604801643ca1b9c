import average_towers
import train_a
from clipknight.embedding.clip import load_clip
from clipknight.training.runs import Run

import pytest
import torch


@pytest.fixture(scope="module")
def argv(coloured, tiny_clip, tiny_target_encoder):
    """Flags of train_a.py for a short run; two of them are there already."""

    def words(run, *more):
        named = {"data": coloured, "encoder": tiny_clip, "target_encoder": tiny_target_encoder, "run": f"soup/{run}"}
        options = {"epochs": 1, "batch_size": 8, "precision": "fp32", "device": "cpu", "workers": 0, "head_epochs": 1}
        return [*(f"--{name}={value}" for name, value in {**named, **options}.items()), *more]

    train_a.main(words("a"))
    train_a.main(words("b", "--seed=1", "--lr_vision=1e-2"))
    return words


def weights(run):
    return load_clip(str(Run.open(run).folder), "cpu", "fp32").visual.state_dict()


def test_the_mean_of_two_towers_is_an_encoder(argv, capsys):
    average_towers.main(["--runs", "soup/a", "soup/b", "--run=soup/mean"])
    assert "mean of 2 towers" in capsys.readouterr().out
    a, b, mean = weights("soup/a"), weights("soup/b"), weights("soup/mean")
    assert any(not torch.equal(a[name], b[name]) for name in a)
    for name in a:
        torch.testing.assert_close(mean[name], (a[name] + b[name]) / 2)
    encoder = load_clip(str(Run.open("soup/mean").folder), "cpu")
    assert encoder.projected and not encoder.joint
    train_a.main(argv("head", f"--encoder={Run.open('soup/mean').folder}", "--epochs=0"))
    assert weights("soup/head").keys() == a.keys() and torch.equal(
        weights("soup/head")["conv1.weight"], mean["conv1.weight"]
    )


def test_a_timm_towers_projection_is_left_behind(tmp_path):
    packaged = load_clip("lite0-minilm@64", "cpu", "fp32")
    packaged.joint = packaged.projected = True
    mean = average_towers.average([packaged, load_clip("lite0-minilm@64", "cpu", "fp32")])
    assert not mean.projected and not mean.joint
    root = load_clip("lite0-minilm@64", "cpu", "fp32")
    torch.testing.assert_close(mean.visual.trunk.state_dict(), root.visual.trunk.state_dict())


def test_mistakes_end_with_one_line(argv):
    with pytest.raises(SystemExit, match="a mean needs two runs or more, each once: --runs soup/a soup/a"):
        average_towers.main(["--runs", "soup/a", "soup/a", "--run=soup/none"])
    with pytest.raises(SystemExit, match="a mean needs two runs or more"):
        average_towers.main(["--runs", "soup/a", "--run=soup/none"])
    train_a.main(argv("other", "--encoder=lite0-minilm@64", "--epochs=0"))
    with pytest.raises(SystemExit, match="of one pretrained model can be averaged, these are of .*lite0-minilm@64"):
        average_towers.main(["--runs", "soup/a", "soup/other", "--run=soup/none"])
    assert not Run.at("soup/none").exists
