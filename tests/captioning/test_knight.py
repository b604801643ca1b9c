import copy

from clipknight.captioning.decoders import load_decoder
from clipknight.captioning.knight import Knight, load_knight, load_mapper, save_knight

import pytest
import torch
from run_folders import files
from safetensors.torch import load_file, save
from torch import nn

DIM, K, END = 8, 3, 0


@pytest.fixture
def loaded(language_model):
    torch.manual_seed(1)
    decoder, tokenizer = load_decoder(str(language_model))
    model = Knight(decoder, DIM).eval()
    with torch.no_grad():
        for parameter in model.mapper.parameters():
            parameter.normal_(0, 0.5)
    return model, tokenizer


@pytest.fixture
def model(loaded):
    return loaded[0]


@pytest.fixture(scope="module")
def vectors():
    return torch.randn(5, K, DIM, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def captions():
    """Token ids of captions of 1 to 9 tokens, the end token among them."""
    draw = torch.Generator().manual_seed(0)
    return [torch.cat([torch.randint(1, 300, (n,), generator=draw), torch.tensor([END])]) for n in (8, 3, 0, 5, 1)]


def batch(captions, filling=END):
    tokens = nn.utils.rnn.pad_sequence(captions, batch_first=True, padding_value=filling)
    mask = nn.utils.rnn.pad_sequence([torch.ones_like(c) for c in captions], batch_first=True)
    return tokens, mask


def next_logits(model, vectors, tokens):
    """(B, V) of what follows the prefix and `tokens` (B, T), read off the whole sequence."""
    embedded = torch.cat([model.prefix(vectors), model.decoder.get_input_embeddings()(tokens)], dim=1)
    return model.decoder(inputs_embeds=embedded).logits[:, -1]


# Alignment of prefix and tokens


@torch.no_grad()
def test_the_loss_is_that_of_saying_each_token_after_those_before(model, vectors, captions):
    for row, tokens in enumerate(captions):
        own = vectors[row : row + 1]
        said = [next_logits(model, own, tokens[None, :i]).log_softmax(-1)[0, tokens[i]] for i in range(len(tokens))]
        loss = model(own, tokens[None], torch.ones(1, len(tokens), dtype=torch.long))
        torch.testing.assert_close(loss, -torch.stack(said).mean(), atol=1e-4, rtol=1e-5)


@torch.no_grad()
def test_greedy_generation_takes_the_likeliest_token_each_time(model, vectors):
    expected = torch.zeros(5, 0, dtype=torch.long)
    for _ in range(12):
        chosen = next_logits(model, vectors, expected).argmax(-1)
        over = (expected == END).any(dim=1)
        expected = torch.cat([expected, chosen.masked_fill(over, END)[:, None]], dim=1)
    generated = model.generate(vectors, END, num_beams=1, max_new_tokens=12)
    assert len(set(map(tuple, expected.tolist()))) == 5 and expected.unique().numel() > 8  # says various things
    torch.testing.assert_close(generated, expected[:, : generated.shape[1]])


def test_generation_ends_at_the_end_token(model, vectors):
    said = model.generate(vectors, END, num_beams=1, max_new_tokens=6)
    end = said[0, 2].item()
    cut = model.generate(vectors[:1], end, num_beams=1, max_new_tokens=6)[0].tolist()
    first = said[0].tolist().index(end)
    assert cut == said[0, : first + 1].tolist()


def test_beams_find_what_is_likelier(model, vectors):
    def log_likelihood(tokens):
        ones = torch.ones_like(tokens)
        return -torch.stack([model(v[None], t[None], m[None]) for v, t, m in zip(vectors, tokens, ones, strict=True)])

    never = 1000  # no such token: all become equally long
    with torch.no_grad():
        greedy, beam = (log_likelihood(model.generate(vectors, never, n, 5)) for n in (1, 8))
    assert (beam >= greedy - 1e-4).all() and (beam > greedy + 1e-3).any()


def test_options_go_to_the_decoder(model, vectors):
    torch.manual_seed(0)
    drawn = [model.generate(vectors, END, 1, 6, do_sample=True, temperature=2.0) for _ in range(2)]
    assert not torch.equal(*drawn)


# Masking


@torch.no_grad()
def test_a_padded_batch_weighs_every_token_alike(model, vectors, captions):
    losses = [model(vectors[i : i + 1], c[None], torch.ones_like(c)[None]) for i, c in enumerate(captions)]
    lengths = torch.tensor([float(len(c)) for c in captions])
    expected = (torch.stack(losses) * lengths).sum() / lengths.sum()
    torch.testing.assert_close(model(vectors, *batch(captions)), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_padding_tells_nothing(model, vectors, captions):
    assert torch.equal(model(vectors, *batch(captions)), model(vectors, *batch(captions, filling=17)))


@torch.no_grad()
def test_the_end_token_is_learnt(model, vectors, captions):
    tokens, mask = batch(captions)
    without_end = mask.clone()
    without_end[torch.arange(5), mask.sum(1) - 1] = 0
    assert not torch.isclose(model(vectors, tokens, mask), model(vectors, tokens, without_end))


# Noise


def test_noise_is_for_training_alone(model, vectors):
    model.mapper, model.noise = nn.Identity(), 0.5
    many = vectors[:1].expand(4000, K, DIM)
    plain = model.prefix(many)
    torch.testing.assert_close(plain.norm(dim=-1), torch.full((4000, K), DIM**0.5))
    torch.testing.assert_close(plain[0], vectors[0] / vectors[0].norm(dim=-1, keepdim=True) * DIM**0.5)
    torch.manual_seed(3)
    noisy = model.train().prefix(many)
    torch.manual_seed(3)
    expected = plain + 0.5 * torch.randn(4000, K, DIM)
    torch.testing.assert_close(noisy, expected / expected.norm(dim=-1, keepdim=True) * DIM**0.5)
    model.noise = 0.0
    assert torch.equal(model.prefix(many), plain)


@pytest.mark.parametrize("noisy", [None, 1])
@pytest.mark.parametrize("noise", [0.5, 2.5])
def test_inputs_are_as_long_in_training_as_at_inference(model, vectors, noise, noisy):
    model.mapper, model.noise, model.noisy = nn.Identity(), noise, noisy
    at_inference, in_training = (model.train(mode).prefix(vectors) for mode in (False, True))
    torch.testing.assert_close(in_training.norm(dim=-1), at_inference.norm(dim=-1))
    moved = (in_training - at_inference).norm(dim=-1) > 0.1
    assert moved[:, :noisy].all() and not moved[:, K if noisy is None else noisy :].any()


def test_the_published_noise_turns_an_embedding_alike_in_any_space(model):
    """Variance v on each of D numbers of a unit row: the cosine to it is about 1 / sqrt(1 + v D)."""
    model.mapper = nn.Identity()
    for dim in (384, 768):
        model.noise = (0.016 * dim) ** 0.5
        rows = torch.randn(500, 1, dim)
        cosines = nn.functional.cosine_similarity(model.train().prefix(rows), rows, dim=-1)
        assert abs(cosines.mean().item() - (1 + 0.016 * dim) ** -0.5) < 0.01


def test_generation_from_a_model_in_evaluation_is_repeatable(model, vectors):
    model.noise = 5.0
    assert torch.equal(model.generate(vectors, END, 1, 6), model.generate(vectors, END, 1, 6))


# Gradients


@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_reach_the_mapper_and_the_decoder_unless_frozen(model, vectors, captions, frozen):
    model.train().decoder.requires_grad_(not frozen)
    model(vectors, *batch(captions)).backward()
    assert all(p.grad.abs().sum() > 0 for p in model.mapper.parameters())
    for name, parameter in model.decoder.named_parameters():
        assert (parameter.grad is None) if frozen else (parameter.grad.abs().sum() > 0), name


# On disk


def test_saved_and_loaded(loaded, vectors, tmp_path):
    model, tokenizer = loaded
    save_knight(model, tokenizer, {"n_neighbors": 3, "space": ["target", "x"]}, tmp_path / "best")
    again, its_tokenizer, description = load_knight(tmp_path / "best")
    saved = {"dim": DIM, "n_neighbors": 3, "space": ["target", "x"]}
    assert description == {**saved, "method": "knight"} and not again.training  # as early runs, which name none
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert torch.equal(model.generate(vectors, END, 5, 8), again.generate(vectors, END, 5, 8))
    assert its_tokenizer("A red dog.").input_ids == tokenizer("A red dog.").input_ids
    assert {"knight.json", "mapper.safetensors", "decoder/model.safetensors"} <= set(files(tmp_path / "best"))


def test_a_mapper_of_queries(loaded, vectors, tmp_path):
    decoder, tokenizer = loaded[0].decoder, loaded[1]
    model = Knight(decoder, DIM, queries=6).eval()
    save_knight(model, tokenizer, {"method": "maccap"}, tmp_path / "best")
    again, _, description = load_knight(tmp_path / "best")
    assert description == {"dim": DIM, "queries": 6, "method": "maccap"} and not again.training
    assert again.mapper.state_dict().keys() == model.mapper.state_dict().keys()
    assert again.prefix(vectors).shape == (5, 6, 32) and torch.equal(again.prefix(vectors), model.prefix(vectors))
    assert torch.equal(model.generate(vectors, END, 2, 6), again.generate(vectors, END, 2, 6))
    with pytest.raises(ValueError, match="a prefix of 6 vectors and 43 tokens exceed"):
        model.generate(vectors, END, 1, 43)
    with pytest.raises(ValueError, match="best has a mapper of 6 queries, not of 0"):
        load_mapper(Knight(decoder, DIM), tmp_path / "best")
    with pytest.raises(ValueError, match="best maps vectors of 8 numbers, the corpus has vectors of 9"):
        load_mapper(Knight(decoder, 9, queries=6), tmp_path / "best")


def test_in_half_precision(loaded, captions, vectors, tmp_path):
    model, tokenizer = loaded
    before = copy.deepcopy(model.state_dict())
    for half in (False, True):
        save_knight(model, tokenizer, {}, tmp_path / str(half), half)
    whole, half = (load_file(tmp_path / kind / "decoder" / "model.safetensors") for kind in ("False", "True"))
    assert half.keys() == whole.keys() and {t.dtype for t in half.values()} == {torch.float16}  # tied weights: once
    assert {t.dtype for t in load_file(tmp_path / "True" / "mapper.safetensors").values()} == {torch.float16}
    again, _, _ = load_knight(tmp_path / "True")
    assert {p.dtype for p in [*again.parameters(), *model.parameters()]} == {torch.float32}
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    for ours, theirs in zip(again.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)
        assert torch.equal(ours, theirs.half().float())


def test_a_mapper_of_another_dimension_is_refused(loaded, tmp_path):
    model, tokenizer = loaded
    save_knight(model, tokenizer, {}, tmp_path / "best")
    other = Knight(model.decoder, DIM + 1)
    with pytest.raises(ValueError, match="best maps vectors of 8 numbers, the corpus has vectors of 9"):
        load_mapper(other, tmp_path / "best")
    same = Knight(model.decoder, DIM)
    load_mapper(same, tmp_path / "best")
    assert torch.equal(same.mapper[4].weight, model.mapper[4].weight)


def test_a_run_without_a_finished_epoch(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no Knight: the run has not finished its first epoch"):
        load_knight(tmp_path)


def test_files_of_a_knight_that_are_not_as_they_were_written(loaded, tmp_path):
    save_knight(*loaded, {"n_neighbors": K}, tmp_path / "best")
    model, description = tmp_path / "best" / "decoder" / "model.safetensors", tmp_path / "best" / "knight.json"
    mapper, tensors = tmp_path / "best" / "mapper.safetensors", load_file(model)
    first = next(name for name, tensor in tensors.items() if tensor.ndim == 2 and "embed" not in name)
    odd_weights = {
        "holds NaN or infinity": {**tensors, first: tensors[first] * torch.nan},
        "holds no whole decoder": {**tensors, first: tensors[first][:1]},
        "lacks weights of its decoder": {name: tensor for name, tensor in tensors.items() if name != first},
    }
    odd = [(model, save(weights, {"format": "pt"}), f"decoder {wrong}") for wrong, weights in odd_weights.items()]
    odd += [(model, model.read_bytes()[:3000], "decoder holds no whole decoder")]
    odd += [(model.parent / "tokenizer.json", b"{", "decoder holds no whole decoder")]
    odd += [(mapper, mapper.read_bytes()[:300], "mapper.safetensors cannot be read as weights")]
    odd += [(mapper, save({"w": torch.ones(1)}), "mapper.safetensors does not fit")]
    odd += [(description, b"{}", "knight.json says nothing of 'dim'"), (description, b'{"dim": "8"}', "has dim: '8'")]
    for file, content, wrong in odd:
        whole = file.read_bytes()
        file.write_bytes(content)
        with pytest.raises(ValueError, match=f"{wrong}.*: train the run again, with --overwrite") as refused:
            load_knight(tmp_path / "best")
        assert len(str(refused.value)) < 500 and "\n" not in str(refused.value)
        file.write_bytes(whole)
    load_knight(tmp_path / "best")


def test_more_tokens_than_the_decoder_has_places_for(model, vectors):
    assert model.generate(vectors, END, 1, 45).shape[0] == 5  # 48 places in all
    with pytest.raises(ValueError, match="a prefix of 3 vectors and 46 tokens exceed the decoder's 48 positions"):
        model.generate(vectors, END, 1, 46)
