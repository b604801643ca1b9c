import copy

from clipknight.embedding.clip import load_clip
from clipknight.training.learning_rates import new_layer_groups, tower_groups, tower_rates

import open_clip
import pytest
from torch import nn


def open_clip_vit(layers=4):
    vision_cfg = {"image_size": 32, "layers": layers, "width": 32, "head_width": 16, "patch_size": 16}
    text_cfg = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
    return open_clip.CLIP(16, vision_cfg, text_cfg).visual


def open_clip_resnet():
    vision_cfg = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
    text_cfg = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
    return open_clip.CLIP(16, vision_cfg, text_cfg).visual


def timm_tower(name="tf_efficientnet_lite0"):
    vision_cfg = {"timm_model_name": name, "timm_model_pretrained": False, "timm_pool": "avg", "timm_proj": "linear"}
    text_cfg = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
    return open_clip.CustomTextCLIP(16, {**vision_cfg, "image_size": 32}, text_cfg).visual


def rates(tower, groups):
    """Learning rate by parameter name; a frozen parameter has None."""
    by_id = {id(p): group["lr"] for group in groups for p in group["params"]}
    return {name: by_id.get(id(p)) for name, p in tower.named_parameters()}


def test_rates_of_an_open_clip_vit():
    tower = open_clip_vit()
    lr = rates(tower, tower_groups(tower, 0.1, layer_decay=0.5, freeze_below=0, weight_decay=0.05))
    assert lr["proj"] == lr["ln_post.weight"] == 0.1
    for i, share in enumerate([1 / 8, 1 / 4, 1 / 2, 1]):
        assert lr[f"transformer.resblocks.{i}.attn.in_proj_weight"] == pytest.approx(0.1 * share)
    for name in ("conv1.weight", "class_embedding", "positional_embedding", "ln_pre.bias"):
        assert lr[name] == pytest.approx(0.1 / 16)
    assert None not in lr.values()


def test_rates_of_an_open_clip_resnet():
    tower = open_clip_resnet()
    lr = rates(tower, tower_groups(tower, 0.1, layer_decay=0.5, freeze_below=0, weight_decay=0.05))
    assert lr["attnpool.c_proj.weight"] == 0.1
    for layer, share in zip((4, 3, 2, 1), (1, 1 / 2, 1 / 4, 1 / 8), strict=True):
        assert lr[f"layer{layer}.0.conv1.weight"] == pytest.approx(0.1 * share)
    assert lr["conv1.weight"] == lr["bn3.weight"] == pytest.approx(0.1 / 16)


def test_rates_of_a_timm_trunk():
    visual = timm_tower()
    lr = rates(visual, tower_groups(visual, 0.1, layer_decay=0.5, freeze_below=0, weight_decay=0.05))
    assert lr["trunk.conv_head.weight"] == lr["trunk.bn2.weight"] == 0.1
    assert lr["trunk.blocks.6.0.conv_pw.weight"] == 0.1  # the last block counts with what follows it
    assert lr["trunk.blocks.5.3.conv_pw.weight"] == pytest.approx(0.05)
    assert lr["trunk.blocks.5.2.conv_pw.weight"] == pytest.approx(0.025)
    assert lr["trunk.conv_stem.weight"] == min(rate for rate in lr.values() if rate)
    assert [name for name, rate in lr.items() if rate is None] == ["head.proj.weight"]  # not the tower's


@pytest.mark.parametrize("tower", [open_clip_vit, timm_tower])
def test_low_layers_are_frozen(tower):
    visual = tower()
    groups = tower_groups(visual, 0.1, layer_decay=0.5, freeze_below=0.2, weight_decay=0.05)
    trained = {id(p) for group in groups for p in group["params"]}
    frozen = [name for name, p in visual.named_parameters() if not p.requires_grad]
    assert any("conv" in name for name in frozen) and not any("head" in name or name == "proj" for name in frozen)
    for name, parameter in visual.named_parameters():
        assert (id(parameter) in trained) == (name not in frozen) or name.startswith("head.")
    assert min(group["lr"] for group in groups) == pytest.approx(0.025)


def test_one_rate_for_all_without_decay():
    tower = open_clip_vit()
    lr = rates(tower, tower_groups(tower, 0.1, layer_decay=1.0, freeze_below=0.15, weight_decay=0.05))
    assert set(lr.values()) == {0.1}


def test_vectors_and_biases_do_not_decay():
    groups = tower_groups(open_clip_vit(), 0.1, 0.5, 0, weight_decay=0.05)
    for group in groups:
        assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] == 0.05}


def test_new_layers_leave_out_what_is_fixed():
    head = nn.Linear(3, 2)
    head.bias.requires_grad_(False)
    (group,) = new_layer_groups([head, nn.Linear(2, 2)], 0.5, 0.1)
    assert group["lr"] == 0.5 and group["weight_decay"] == 0.1
    assert [tuple(p.shape) for p in group["params"]] == [(2, 3), (2, 2), (2,)]


def test_a_tower_with_groups_can_still_be_copied(tiny_clip):
    encoder = load_clip(str(tiny_clip), "cpu", "fp32")
    tower_groups(encoder.visual, 0.1, 0.9, 0, 0)
    copied = copy.deepcopy(encoder.model)
    assert set(copied.state_dict()) == set(encoder.model.state_dict())


def test_rates_follow_the_kind_of_tower_unless_given(tiny_clip):
    web, imagenet = load_clip(str(tiny_clip), "cpu", "fp32"), load_clip("lite0-minilm@64", "cpu", "fp32")
    assert tower_rates(web, None, None) == {"lr_vision": 1e-5, "layer_decay": 0.7}
    assert tower_rates(imagenet, None, None) == {"lr_vision": 4e-4, "layer_decay": 0.9}
    assert tower_rates(web, 0.5, None) == {"lr_vision": 0.5, "layer_decay": 0.7}
    assert tower_rates(imagenet, None, 1) == {"lr_vision": 4e-4, "layer_decay": 1}
