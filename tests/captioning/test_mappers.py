from clipknight.captioning.mappers import QueryMapper

import pytest
import torch

DIM, WIDTH = 24, 10


@pytest.fixture
def mapper():
    torch.manual_seed(0)
    mapper = QueryMapper(DIM, WIDTH, queries=5).eval()
    with torch.no_grad():
        for parameter in mapper.parameters():
            parameter += 0.1 * torch.randn_like(parameter)  # norms start as ones and zeros, which hides what they do
    return mapper


@pytest.fixture
def vectors():
    return torch.randn(3, 4, DIM, generator=torch.Generator().manual_seed(1))


def attention(block, asking, asked, heads):
    """Multi-head attention of one row of queries (q, D) over vectors (n, D), head by head."""
    weights = block.in_proj_weight.chunk(3), block.in_proj_bias.chunk(3)
    query, key, value = (x @ w.T + b for x, w, b in zip((asking, asked, asked), *weights, strict=True))
    size, parts = DIM // heads, []
    for h in range(heads):
        own = slice(h * size, (h + 1) * size)
        parts.append((query[:, own] @ key[:, own].T / size**0.5).softmax(dim=-1) @ value[:, own])
    return block.out_proj(torch.cat(parts, dim=-1))


@torch.no_grad()
def test_against_a_plain_loop(mapper, vectors):
    layer, expected = mapper.layer, []
    for own in vectors:
        own = own / own.norm(dim=-1, keepdim=True) * DIM**0.5
        x = layer.norm1(mapper.queries + attention(layer.self_attn, mapper.queries, mapper.queries, 8))
        x = layer.norm2(x + attention(layer.multihead_attn, x, own, 8))
        x = layer.norm3(x + layer.linear2(layer.linear1(x).relu()))
        expected.append(mapper.mlp(mapper.norm(x)))
    torch.testing.assert_close(mapper(vectors), torch.stack(expected), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_any_number_of_vectors_in_any_order_and_at_any_length(mapper, vectors):
    assert mapper(vectors[:, :1]).shape == mapper(vectors).shape == (3, 5, WIDTH)
    torch.testing.assert_close(mapper(vectors.flip(1)), mapper(vectors), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mapper(7 * vectors), mapper(vectors))
    torch.testing.assert_close(mapper(vectors[:, :1].expand(-1, 6, -1)), mapper(vectors[:, :1]), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(mapper(vectors[:, :1]), mapper(vectors), atol=0.01)
    assert not torch.allclose(mapper(vectors)[:, 0], mapper(vectors)[:, 1], atol=0.01)  # each query asks something else


@pytest.mark.parametrize("dim, heads", [(24, 8), (20, 4), (9, 1), (384, 8)])
def test_as_many_heads_as_divide_the_numbers(dim, heads):
    mapper = QueryMapper(dim, WIDTH, 2)
    assert mapper.layer.self_attn.num_heads == mapper.layer.multihead_attn.num_heads == heads
    assert mapper.sizes == {"dim": dim, "queries": 2}


def test_all_of_it_learns(mapper, vectors):
    mapper(vectors).square().mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in mapper.parameters())
