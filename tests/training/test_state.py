import copy

from clipknight.embedding.clip import load_clip
from clipknight.training.state import TrainingState, freeze_batch_norm, mixed, new_layer_groups, tower_groups

import open_clip
import pytest
import torch
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


def test_batch_norm_keeps_its_statistics():
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Dropout())
    before = model[1].running_mean.clone()
    model.train()
    freeze_batch_norm(model)
    model(torch.randn(8, 3, 4, 4) + 5)
    assert torch.equal(model[1].running_mean, before) and model[2].training and model[1].weight.requires_grad


def test_accelerates_names_for_precisions():
    assert [mixed(d) for d in (torch.float32, torch.bfloat16, torch.float16)] == ["no", "bf16", "fp16"]


def a_state(ema=0.5, steps=10, warmup=0.2):
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    return TrainingState(model, new_layer_groups([model], 0.1, 0.05), steps, warmup, ema)


def steps(state, count):
    learning_rates = []
    for _ in range(count):
        torch.manual_seed(state.steps_done)
        state.model(torch.randn(4, 3)).square().mean().backward()
        learning_rates.append(state.optimizer.param_groups[0]["lr"])
        state.step(1.0)
    return learning_rates


def test_the_rate_rises_then_falls_to_zero():
    state = a_state()
    learning_rates = steps(state, 10)
    assert learning_rates[0] == 0 and learning_rates[2] == pytest.approx(0.1) == max(learning_rates)
    assert sorted(learning_rates[2:], reverse=True) == learning_rates[2:]
    assert state.optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9) and state.steps_done == 10


def test_long_gradients_are_cut():
    state, same = a_state(warmup=0), a_state(warmup=0)
    for s, scale in ((state, 1e6), (same, 1e7)):
        (s.model(torch.ones(1, 3)).sum() * scale).backward()
        s.step(1.0)
        norms = s.optimizer.state[s.model.weight]["exp_avg"].norm()
        assert norms < 0.11  # a tenth of a gradient of length 1
    torch.testing.assert_close(state.model.weight, same.model.weight)


def test_ema_follows_behind():
    state = a_state(ema=0.9)
    steps(state, 1)
    start = state.averaged.weight.clone()
    history = [start]
    for _ in range(6):
        steps(state, 1)
        history.append(state.model.weight.detach().clone())
    moved, averaged = (history[-1] - start).norm(), (state.averaged.weight - start).norm()
    assert 0 < averaged < moved and state.averaged is not state.model
    assert not state.averaged.weight.requires_grad or state.averaged.weight.grad is None


def test_without_ema_the_model_itself_is_kept():
    state = a_state(ema=0)
    assert state.averaged is state.model


@pytest.mark.parametrize("ema", [0, 0.5])
def test_saved_and_loaded_it_goes_on_alike(tmp_path, ema):
    unbroken, broken = a_state(ema), a_state(ema)
    steps(unbroken, 7)
    steps(broken, 3)
    broken.position, broken.best = (1, 2), 0.25
    broken.save(tmp_path / "last" / "state.pt")
    resumed = a_state(ema)
    resumed.load(tmp_path / "last" / "state.pt")
    assert (resumed.steps_done, resumed.position, resumed.best) == (3, (1, 2), 0.25)
    steps(resumed, 4)
    for a, b in ((resumed.model, unbroken.model), (resumed.averaged, unbroken.averaged)):
        assert torch.equal(a.weight, b.weight)
    assert resumed.schedule.get_last_lr() == unbroken.schedule.get_last_lr()


def test_a_tower_with_groups_can_still_be_copied(tiny_clip):
    encoder = load_clip(str(tiny_clip), "cpu", "fp32")
    tower_groups(encoder.visual, 0.1, 0.9, 0, 0)
    copied = copy.deepcopy(encoder.model)
    assert set(copied.state_dict()) == set(encoder.model.state_dict())
