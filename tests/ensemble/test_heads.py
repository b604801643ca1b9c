from clipknight.embedding.scaling import root_scaled
from clipknight.ensemble.heads import CheHead, LinearHead, head_class, head_description, make_head
from clipknight.ensemble.settings import HEADS

import numpy as np
import pytest
import torch

ROWS = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))


def numbers(tensor):
    return tensor.detach().numpy().astype(np.float64)


def by_hand(head, norms=True):
    def layer(fc, ln, x):
        x = x @ numbers(fc.weight).T + numbers(fc.bias)
        if not norms:
            return x
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        return x * numbers(ln.weight) + numbers(ln.bias)

    e = numbers(ROWS)
    e = e / np.linalg.norm(e, axis=1, keepdims=True) * np.sqrt(8)
    h1 = layer(head.fc1, head.ln1, e)
    h2 = layer(head.fc2, head.ln2, h1)
    alpha = head.alpha.item()
    return alpha * h1 + (1 - alpha) * h2


@pytest.mark.parametrize("norms", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_che_formula(alpha, norms):
    torch.manual_seed(1)
    head = CheHead(8, 6, alpha=alpha, layer_norm=norms).eval()
    for parameter in (head.ln1, head.ln2) if norms else ():
        torch.nn.init.normal_(parameter.weight)
        torch.nn.init.normal_(parameter.bias)
    np.testing.assert_allclose(numbers(head(ROWS)), by_hand(head, norms), atol=1e-5)


@pytest.mark.parametrize("learn", [True, False])
def test_alpha_is_learnt_or_fixed_and_saved_either_way(learn):
    head = CheHead(8, 6, alpha=0.3, learn_alpha=learn)
    trained = [p for p in head.parameters() if p.requires_grad]
    head(ROWS).square().mean().backward()
    torch.optim.SGD(trained, 0.1).step()
    assert (head.alpha.item() != pytest.approx(0.3)) == learn
    assert "alpha" in head.state_dict()


def test_without_layer_norm_there_are_no_norm_parameters():
    assert not any(name.startswith("ln") for name in CheHead(8, 6, layer_norm=False).state_dict())


def test_linear_head():
    head = LinearHead(8, 6)
    expected = numbers(root_scaled(ROWS)) @ numbers(head.fc.weight).T + numbers(head.fc.bias)
    np.testing.assert_allclose(numbers(head(ROWS)), expected, atol=1e-5)


@pytest.mark.parametrize("kind", HEADS)
def test_the_length_of_the_image_embedding_does_not_matter(kind):
    head = head_class(kind)(dim=8, target_dim=6).eval()
    torch.testing.assert_close(head(ROWS * 100), head(ROWS))
    torch.testing.assert_close(root_scaled(ROWS).square().mean(1), torch.ones(5))


@pytest.mark.parametrize("kind", HEADS)
def test_dropout_acts_in_training_only(kind):
    head = head_class(kind)(dim=8, target_dim=6, dropout=0.5)
    assert not torch.equal(head(ROWS), head(ROWS))
    head.eval()
    assert torch.equal(head(ROWS), head(ROWS))


@pytest.mark.parametrize(("kind", "own"), [("che", {"alpha": 0.3, "layer_norm": False}), ("linear", {}), ("wide", {})])
def test_a_head_takes_the_options_that_it_names(kind, own):
    options = {"alpha": 0.3, "layer_norm": False, "dropout": 0.25, "seed": 7}
    description = head_description(kind, 8, 6, options)
    assert description == {"head": kind, "dim": 8, "target_dim": 6, "dropout": 0.25, **own}
    assert make_head(description)(ROWS).shape == (5, 6)


@pytest.mark.parametrize("kind", HEADS)
def test_a_description_saved_by_0_3_0_makes_the_head_still(kind):
    saved = {"head": kind, "dim": 8, "target_dim": 6, "alpha": 0.5, "learn_alpha": True, "dropout": 0.3}
    head = make_head(saved | {"layer_norm": True})
    assert isinstance(head, head_class(kind))
    assert {module.p for module in head.modules() if isinstance(module, torch.nn.Dropout)} >= {0.3}
