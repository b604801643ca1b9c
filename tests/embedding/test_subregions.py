from dataclasses import replace

from clipknight.data.images import UnreadableImage
from clipknight.embedding.clip import load_clip
from clipknight.embedding.clip_encoder import ClipEncoder
from clipknight.embedding.subregions import encode_subregions, subregion_features
from clipknight.embedding.tower_cells import outputs_of, seen_by

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg
from PIL import Image
from timm.models.swin_transformer import SwinTransformer

TEXT = {"context_length": 16, "vocab_size": 100, "width": 16, "heads": 2, "layers": 1}
TIMM = {"timm_model_pretrained": False, "image_size": 160}
VIT = {"image_size": 64, "layers": 3, "width": 32, "head_width": 16, "patch_size": 16}
TOWERS = {
    "vit": VIT,
    "vit_avg": VIT | {"pool_type": "avg"},
    "resnet": {"image_size": 96, "layers": [1, 1, 1, 1], "width": 8, "head_width": 64},
    "resnet_one_head": {"image_size": 96, "layers": [1, 1, 1, 1], "width": 8, "head_width": 256},
    "efficientnet": TIMM | {"timm_model_name": "test_efficientnet", "timm_pool": "avg", "timm_proj": "linear"},
    "convnext": TIMM | {"timm_model_name": "test_convnext", "timm_pool": "", "timm_proj": "mlp"},
    "timm_vit": TIMM | {"timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": None},
    "timm_vit_latent": TIMM | {"timm_model_name": "test_vit3", "timm_pool": "map", "timm_proj": "linear"},
}
WITH_ATTENTION = ("vit", "resnet", "timm_vit")
WITHOUT = ("vit_avg", "efficientnet", "convnext", "timm_vit_latent")
GRIDS = {"vit": (4, 4), "vit_avg": (4, 4), "resnet": (3, 3), "resnet_one_head": (3, 3), "efficientnet": (5, 5)}
GRIDS |= {"convnext": (5, 5), "timm_vit": (10, 10), "timm_vit_latent": (10, 10)}


def encoder_of(name: str, model, cfg) -> ClipEncoder:
    parts = {"model": model, "preprocess_cfg": cfg, "tokenizer": None}
    return ClipEncoder(name=name, root=name, **parts, joint=True, projected=True)


@pytest.fixture(scope="module")
def tower():
    """A random CLIP of 16 numbers a row with one of TOWERS, built once each."""
    made = {}

    def get(name: str) -> ClipEncoder:
        if name not in made:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                model = open_clip.CLIP(embed_dim=16, vision_cfg=TOWERS[name], text_cfg=TEXT)
                for part, parameter in model.visual.named_parameters():
                    parameter.data += 0.05 * torch.randn_like(
                        parameter
                    )  # some start as zeros, which hides what they do
                    parameter.data += part.endswith("bn3.weight")  # and the residual layers as nothing at all
                    if part in ("attnpool.q_proj.weight", "attnpool.k_proj.weight"):
                        parameter.data *= 20  # attention far from even
            cfg = PreprocessCfg(size=TOWERS[name]["image_size"], mean=(0.5,) * 3, std=(0.5,) * 3)
            made[name] = encoder_of(name, model, cfg)
        return made[name]

    return get


def pictures(encoder: ClipEncoder, count: int = 3) -> torch.Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, encoder.image_size, encoder.image_size, generator=draw)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def plain_loop(whole, cells, attention, rows, regions, temperature):
    """The aggregation one picture, one region, one cell at a time."""
    features, picked = [], []
    for b in range(len(whole)):
        order = sorted(range(len(cells[b])), key=lambda i: -attention[b][i])[:regions]
        picked.append(order)
        for i in order:
            weights = [np.exp(float(rows[b][i][j]) / temperature) for j in range(len(cells[b]))]
            total = sum(w / sum(weights) * unit(cells[b][j]) for j, w in enumerate(weights))
            features.append(unit(total))
    return np.array(features).reshape(len(whole), regions, -1), np.array(picked)


# All towers


@pytest.mark.parametrize("name", GRIDS)
def test_shapes_unit_rows_and_the_image_embedding(tower, name):
    encoder = tower(name)
    found = subregion_features(encoder, pictures(encoder), 4)
    assert found.whole.shape == (3, 16) and found.regions.shape == (3, 4, 16) and found.cells.shape == (3, 4)
    assert found.attention.shape == (3, *GRIDS[name])
    assert found.whole.dtype == found.regions.dtype == found.attention.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found.regions, axis=-1), 1, atol=1e-6)
    np.testing.assert_allclose(found.whole, encoder.encode_pixels(pictures(encoder)), atol=1e-6)


@pytest.mark.parametrize("name", GRIDS)
def test_the_most_attended_cells_come_first(tower, name):
    encoder = tower(name)
    found = subregion_features(encoder, pictures(encoder), 5)
    flat = found.attention.reshape(3, -1)
    for b in range(3):
        np.testing.assert_array_equal(flat[b, found.cells[b]], np.sort(flat[b])[::-1][:5])
        assert len(set(found.cells[b])) == 5
    assert np.abs(flat - flat[0]).max() > 1e-4  # it is the picture that is attended to, not the place alone


@pytest.mark.parametrize("name", GRIDS)
def test_a_picture_does_not_depend_on_its_batch_nor_on_chance(tower, name):
    encoder = tower(name)
    pixels = pictures(encoder)
    together, again = subregion_features(encoder, pixels, 4), subregion_features(encoder, pixels, 4)
    alone = subregion_features(encoder, pixels[2:], 4)
    np.testing.assert_array_equal(together.regions, again.regions)
    np.testing.assert_array_equal(together.cells[2], alone.cells[0])
    np.testing.assert_allclose(together.regions[2], alone.regions[0], atol=1e-5)


@pytest.mark.parametrize("name", WITH_ATTENTION)
def test_the_attention_is_one(tower, name):
    encoder = tower(name)
    attention = subregion_features(encoder, pictures(encoder), 2).attention
    assert (attention > 0).all() and (attention.sum(axis=(1, 2)) < 1).all()  # the rest goes to the class token


@pytest.mark.parametrize("name", ["vit", "timm_vit"])
def test_the_encoder_is_left_as_it_was(tower, name):
    encoder = tower(name)
    before = encoder.encode_pixels(pictures(encoder))
    subregion_features(encoder, pictures(encoder), 2)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in encoder.visual.modules())
    np.testing.assert_array_equal(encoder.encode_pixels(pictures(encoder)), before)
    if name == "timm_vit":
        assert encoder.visual.trunk.blocks[-1].attn.fused_attn


def test_the_class_token_changes_nothing_but_a_cells_row_does(tower):
    encoder = tower("vit")
    even = subregion_features(encoder, pictures(encoder), 4, temperature=1e6).regions
    np.testing.assert_allclose(even, even[:, :1].repeat(4, axis=1), atol=1e-5)
    sharp = subregion_features(encoder, pictures(encoder), 4, temperature=0.001).regions
    assert np.abs(sharp - sharp[:, :1]).max() > 0.01


# Against the sums written out


@torch.no_grad()
def vit_parts(encoder, pixels):
    """Image embedding, projected cells, and the last layer's attention of a ViT, from its weights."""
    visual = encoder.visual
    *layers, last = visual.transformer.resblocks
    tokens = visual._embeds(pixels)
    for layer in layers:
        tokens = layer(tokens)
    heads, width = last.attn.num_heads, tokens.shape[-1]
    query, key, _ = (last.ln_1(tokens) @ last.attn.in_proj_weight.T + last.attn.in_proj_bias).split(width, dim=-1)
    attention = 0
    for h in range(heads):
        part = slice(h * width // heads, (h + 1) * width // heads)
        logits = query[..., part] @ key[..., part].mT / (width / heads) ** 0.5
        attention = attention + logits.softmax(dim=-1) / heads
    projected = visual.ln_post(last(tokens)) @ visual.proj
    return projected[:, 0].numpy(), projected[:, 1:].numpy(), attention.numpy()


@pytest.mark.parametrize("temperature", [1.0, 0.05])
def test_a_vit_against_a_plain_loop(tower, temperature):
    encoder = tower("vit")
    found = subregion_features(encoder, pictures(encoder), 4, temperature)
    whole, cells, attention = vit_parts(encoder, pictures(encoder))
    features, picked = plain_loop(whole, cells, attention[:, 0, 1:], attention[:, 1:, 1:], 4, temperature)
    np.testing.assert_array_equal(found.cells, picked)
    np.testing.assert_allclose(found.regions, features, atol=1e-5)
    np.testing.assert_allclose(found.attention.reshape(3, -1), attention[:, 0, 1:], atol=1e-6)


@torch.no_grad()
def test_a_timm_vit_against_a_plain_loop(tower):
    encoder = tower("timm_vit")
    trunk, pixels = encoder.visual.trunk, pictures(encoder)
    found = subregion_features(encoder, pixels, 4, 0.05)
    tokens = trunk.norm_pre(trunk._pos_embed(trunk.patch_embed(pixels)))
    *layers, last = trunk.blocks
    for layer in layers:
        tokens = layer(tokens)
    query, key, _ = last.attn.qkv(last.norm1(tokens)).unflatten(-1, (3, last.attn.num_heads, -1)).unbind(2)
    logits = torch.einsum("bqhd,bkhd->bhqk", query, key) / query.shape[-1] ** 0.5
    attention = logits.softmax(dim=-1).mean(dim=1).numpy()
    projected = trunk.head(trunk.norm(last(tokens))).numpy()
    features, picked = plain_loop(projected[:, 0], projected[:, 1:], attention[:, 0, 1:], attention[:, 1:, 1:], 4, 0.05)
    np.testing.assert_array_equal(found.cells, picked)
    np.testing.assert_allclose(found.regions, features, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_a_convolutional_tower_against_a_plain_loop(tower, temperature):
    encoder = tower("efficientnet")
    maps = encoder.visual.trunk.forward_features(pictures(encoder)).numpy()
    cells = np.array([[m[:, r, c] for r in range(5) for c in range(5)] for m in maps])
    cells = cells @ encoder.visual.head.proj.weight.numpy().T
    whole = cells.mean(axis=1)  # the head is linear and has no bias
    likeness = np.array([unit(own) @ unit(w) for own, w in zip(cells, whole)])
    rows = np.array([unit(own) @ unit(own).T for own in cells])
    features, picked = plain_loop(whole, cells, likeness, rows, 4, temperature)
    found = subregion_features(encoder, pictures(encoder), 4, temperature)
    np.testing.assert_allclose(found.whole, unit(whole), atol=1e-5)
    np.testing.assert_array_equal(found.cells, picked)
    np.testing.assert_allclose(found.regions, features, atol=1e-5)


@pytest.mark.parametrize("name", WITHOUT)
def test_at_temperature_zero_a_region_is_its_own_cell(tower, name):
    encoder = tower(name)
    found = subregion_features(encoder, pictures(encoder), 4, temperature=1e-6)
    likeness = np.take_along_axis(found.attention.reshape(3, -1), found.cells, axis=1)
    np.testing.assert_allclose(np.einsum("bd,bnd->bn", found.whole, found.regions), likeness, atol=1e-5)


@torch.inference_mode()
def test_a_resnets_image_embedding_is_its_cells_weighed_by_its_attention(tower):
    encoder = tower("resnet_one_head")  # several heads weigh a part of the numbers each
    seen, pool = seen_by(encoder, pictures(encoder)), encoder.visual.attnpool
    with outputs_of(encoder.visual.layer4) as outputs:
        encoder.encode_pixels(pictures(encoder))
    asking = outputs[0].mean(dim=(2, 3)) + pool.positional_embedding[0]  # the mean cell is attended to as well
    tokens = torch.cat([pool.c_proj(pool.v_proj(asking))[:, None], seen.cells], dim=1)
    weighed = torch.einsum("bn,bnd->bd", seen.attention[:, 0], tokens)
    np.testing.assert_allclose(weighed.numpy(), seen.whole.numpy(), atol=1e-5)


def test_a_trunk_with_channels_last(tower):
    model = open_clip.CLIP(embed_dim=16, vision_cfg=TOWERS["efficientnet"], text_cfg=TEXT)
    layers = {"depths": (1, 1), "num_heads": (1, 2), "embed_dim": 8, "window_size": 2}
    model.visual.trunk = SwinTransformer(img_size=32, num_classes=0, **layers)
    model.visual.head = torch.nn.Linear(16, 16)
    encoder = encoder_of("swin", model, PreprocessCfg(size=32))
    found = subregion_features(encoder, pictures(encoder), 5, temperature=1e-6)
    with torch.no_grad():
        maps = model.visual.trunk.forward_features(pictures(encoder))
        cells = unit(model.visual.head(maps).flatten(1, 2).numpy())
    assert found.attention.shape == (3, 4, 4)
    np.testing.assert_allclose(found.regions, cells[np.arange(3)[:, None], found.cells], atol=1e-5)
    np.testing.assert_allclose(found.whole, encoder.encode_pixels(pictures(encoder)), atol=1e-6)


# What is refused, and options


def test_more_regions_than_cells(tower):
    encoder = tower("vit")
    assert subregion_features(encoder, pictures(encoder), 16).cells.shape == (3, 16)
    for regions in (17, 0):
        with pytest.raises(ValueError, match=f"'vit' sees 4 x 4 cells, of which {regions} regions cannot be taken"):
            subregion_features(encoder, pictures(encoder), regions)
    with pytest.raises(ValueError, match="a temperature is above 0, not 0"):
        subregion_features(encoder, pictures(encoder), 2, temperature=0)


def test_patches_that_a_latent_query_mixes_are_refused():
    cfg = VIT | {"attentional_pool": True, "attn_pooler_heads": 2}
    model = open_clip.CLIP(embed_dim=16, vision_cfg=cfg, text_cfg=TEXT)
    encoder = encoder_of("coca", model, PreprocessCfg(size=64))
    with pytest.raises(ValueError, match="'coca' have no known way into the joint space"):
        subregion_features(encoder, pictures(encoder), 2)


def test_features_before_the_projection(tower):
    encoder = replace(tower("efficientnet"), projected=False)
    found = subregion_features(encoder, pictures(encoder), 4)
    assert found.regions.shape == (3, 4, encoder.visual.trunk.num_features)
    np.testing.assert_allclose(found.whole, encoder.encode_pixels(pictures(encoder)), atol=1e-6)


@pytest.mark.parametrize("name", ["vit", "resnet", "efficientnet", "timm_vit"])
def test_reduced_precision(tower, name):
    encoder = tower(name)
    half = replace(encoder, precision=torch.bfloat16)
    full, reduced = (subregion_features(e, pictures(encoder), 4) for e in (encoder, half))
    assert reduced.regions.dtype == reduced.attention.dtype == np.float32
    assert 0 < np.abs(reduced.whole - full.whole).max()
    assert (np.einsum("bd,bd->b", full.whole, reduced.whole) > 0.99).all()
    np.testing.assert_allclose(np.linalg.norm(reduced.regions, axis=-1), 1, atol=1e-5)


def test_joined_with_the_image_embedding(tower):
    encoder = tower("vit")
    found = subregion_features(encoder, pictures(encoder), 4)
    by_hand = [[unit(w + 0.5 * r) for r in regions] for w, regions in zip(found.whole, found.regions)]
    np.testing.assert_allclose(found.joined(0.5), by_hand, atol=1e-6)
    np.testing.assert_allclose(found.joined(0), found.whole[:, None].repeat(4, axis=1), atol=1e-6)
    assert found.joined().dtype == np.float32


# Files


def test_files_in_batches(tiny_clip, coloured):
    encoder = load_clip(f"{tiny_clip}@64", "cpu", "fp32")
    paths = sorted((coloured / "Images").glob("dev*.png"))[:5]
    found = encode_subregions(encoder, paths, 6, batch_size=2)
    pixels = torch.stack([encoder.preprocess(Image.open(path).convert("RGB")) for path in paths])
    expected = subregion_features(encoder, pixels, 6)
    assert found.regions.shape == (5, 6, 16) and found.attention.shape == (5, 4, 4)
    np.testing.assert_allclose(found.regions, expected.regions, atol=1e-5)
    np.testing.assert_array_equal(found.cells, expected.cells)


def test_a_file_that_cannot_be_read(tiny_clip, coloured, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    paths = [next((coloured / "Images").glob("dev*.png")), tmp_path / "broken.jpg"]
    with pytest.raises(UnreadableImage, match="broken.jpg: not an image"):
        encode_subregions(load_clip(str(tiny_clip), "cpu", "fp32"), paths, 2)
