"""Depthwise convolutions learn in fp32 where all else does in bf16."""

import copy

from clipknight.training.mixed_precision import train_depthwise_in_fp32

import pytest
import torch
from torch import nn


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 5, groups=8), nn.Conv2d(8, 4, 1))


def precisions(model, images):
    """Of what each layer gives under bf16."""
    seen = []
    hooks = [layer.register_forward_hook(lambda layer, x, y: seen.append(y.dtype)) for layer in model]
    with torch.autocast("cpu", torch.bfloat16):
        model(images)
    for hook in hooks:
        hook.remove()
    return seen


def test_only_they_and_only_while_learning(model):
    images = torch.rand(2, 3, 8, 8)
    assert precisions(model, images) == [torch.bfloat16] * 3
    train_depthwise_in_fp32(model)
    train_depthwise_in_fp32(model)
    assert precisions(model, images) == [torch.bfloat16, torch.float32, torch.bfloat16]
    with torch.no_grad():
        assert precisions(model, images) == [torch.bfloat16] * 3


def test_their_gradients_are_those_of_fp32(model):
    layer, x = model[1], torch.rand(2, 8, 8, 8)
    layer(x).square().sum().backward()
    exact = layer.weight.grad.clone()
    layer.weight.grad = None
    train_depthwise_in_fp32(model)
    with torch.autocast("cpu", torch.bfloat16):
        layer(x).square().sum().backward()
    assert torch.equal(layer.weight.grad, exact)


def test_a_copy_has_its_own_weights_and_the_same_names(model):
    names = list(model.state_dict())
    train_depthwise_in_fp32(model)
    copied = copy.deepcopy(model)
    assert list(copied.state_dict()) == names
    nn.init.zeros_(copied[1].weight)
    assert not torch.equal(copied[1](torch.ones(1, 8, 5, 5)), model[1](torch.ones(1, 8, 5, 5)))
