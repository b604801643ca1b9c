"""Models come from the hub, over HTTP: what is served, what is cut off, what is refused, and what stays without it."""

import time
from pathlib import Path

import pack
import predict
from clipknight.captioning.decoders import load_decoder
from clipknight.embedding.clip import load_clip
from clipknight.embedding.embeddings import Embeddings
from clipknight.embedding.target_encoder import load_target_encoder
from clipknight.training.runs import Run

import clip_families
import huggingface_hub
import numpy as np
import open_clip
import pytest
import tiny_models
from hub_server import hub_at_hand
from huggingface_hub import constants
from safetensors.torch import save_file

NAME = "hf-hub:org/clip"


@pytest.fixture
def hub(tmp_path, tiny_clip, monkeypatch):
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    with hub_at_hand(tmp_path / "cache") as hub:
        hub.models["org/clip"] = tiny_clip
        yield hub


@pytest.fixture(scope="module")
def decoder_folder(tmp_path_factory) -> Path:
    return tiny_models.write_language_model(tmp_path_factory.mktemp("lm") / "gpt2", "gpt2")


def said(error) -> str:
    message = str(error.value)
    assert len(message) <= 500 and "\n" not in message
    return message


# What is served


def test_a_clip_of_the_hub_then_from_the_cache(hub, tiny_clip):
    served, local = load_clip(NAME, "cpu", "fp32"), load_clip(str(tiny_clip), "cpu", "fp32")
    np.testing.assert_array_equal(served.encode_captions(["a red picture"]), local.encode_captions(["a red picture"]))
    assert served.fingerprint("visual") == local.fingerprint("visual")
    hub.models.clear()
    constants.HF_HUB_OFFLINE = True
    assert load_clip(NAME, "cpu", "fp32").fingerprint("text") == local.fingerprint("text")


def test_a_name_and_tag_of_open_clip(hub, tmp_path, monkeypatch):
    """`ViT-B-32:openai` at tiny size: its weights come from the repository that open_clip names."""
    name = "ViT-B-32:openai"
    with clip_families.at_hand(name, tmp_path):
        expected = load_clip(name, "cpu", "fp32").encode_captions(["a red picture"])
        cfg = open_clip.pretrained._PRETRAINED["ViT-B-32"]["openai"]
        repository = tmp_path / "repository"
        repository.mkdir()
        (tmp_path / "ViT-B-32.safetensors").rename(repository / "open_clip_model.safetensors")
        hub.models["timm/clip.openai"] = repository
        cfg = {**{key: cfg[key] for key in cfg if key != "file"}, "hf_hub": "timm/clip.openai/"}
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED["ViT-B-32"], "openai", cfg)
        encoder = load_clip(name, "cpu", "fp32")
    assert encoder.activation == "quick_gelu"
    np.testing.assert_array_equal(encoder.encode_captions(["a red picture"]), expected)


def test_a_target_encoder(hub, tiny_target_encoder):
    hub.models["org/target"] = tiny_target_encoder
    served, local = (load_target_encoder(name, "cpu") for name in ("org/target", str(tiny_target_encoder)))
    np.testing.assert_array_equal(served.encode(["a red picture"]), local.encode(["a red picture"]))


@pytest.mark.parametrize("shards", [False, True])
def test_a_decoder_whole_or_in_shards(hub, decoder_folder, tmp_path, shards):
    local, tokenizer = load_decoder(str(decoder_folder))
    folder = tmp_path / "lm"
    local.save_pretrained(folder, max_shard_size="20KB" if shards else "1GB")
    tokenizer.save_pretrained(folder)
    assert (len(list(folder.glob("*.safetensors"))) > 2) == shards
    hub.models["openai-community/gpt2"] = folder
    served, words = load_decoder("openai-community/gpt2")
    states = local.state_dict(), served.state_dict()
    assert all(bool((states[0][name] == states[1][name]).all()) for name in states[0])
    assert words("a red picture").input_ids == tokenizer("a red picture").input_ids
    hub.models.clear()
    constants.HF_HUB_OFFLINE = True
    assert load_decoder("openai-community/gpt2")[0].config.n_positions == 48


# What breaks off


def test_a_download_that_is_cut_goes_on_where_it_stopped(hub, tiny_clip):
    hub.cuts["open_clip_model.safetensors"] = 2
    expected = load_clip(str(tiny_clip), "cpu", "fp32").fingerprint("visual")
    assert load_clip(NAME, "cpu", "fp32").fingerprint("visual") == expected
    assert hub.cuts["open_clip_model.safetensors"] == 0


def test_a_hub_that_breaks_off_each_time_is_one_line(hub):
    hub.cuts["open_clip_config.json"] = hub.cuts["open_clip_model.safetensors"] = 10**6
    with pytest.raises(ConnectionError, match="'hf-hub:org/clip' could not be had from .*Run it again") as error:
        load_clip(NAME, "cpu")
    assert hub.url in said(error)
    hub.cuts.clear()
    load_clip(NAME, "cpu")


def test_weights_that_are_half_a_file(hub, tiny_clip, tmp_path):
    half = tmp_path / "half"
    half.mkdir()
    for file in tiny_clip.iterdir():
        content = file.read_bytes()
        (half / file.name).write_bytes(content[: len(content) // 2] if file.suffix == ".safetensors" else content)
    hub.models["org/half"] = half
    for name in ("hf-hub:org/half", str(half)):
        with pytest.raises(ValueError, match="could not be loaded: .*Works offline") as error:
            load_clip(name, "cpu")
        said(error)


# What is refused


@pytest.mark.parametrize(
    "answer, words",
    [
        ((404, "RepoNotFound"), r"shows no .*\(404\): check the name"),
        ((401, "RepoNotFound"), r"shows no .*\(401\).*hf auth login"),
        ((403, "Forbidden"), r"shows no .*\(403\)"),
        ((403, "GatedRepo"), "is gated: accept its terms"),
        ((500, "Internal"), "could not be had from"),
    ],
)
def test_each_refusal_has_its_line(hub, answer, words, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    hub.refused["org/secret"] = answer
    for load, name in (
        (load_clip, "hf-hub:org/secret"),
        (load_target_encoder, "org/secret"),
        (load_decoder, "org/secret"),
    ):
        with pytest.raises((ValueError, ConnectionError), match=words) as error:
            load(name)
        assert repr(name) in said(error)


def test_a_repository_without_weights(hub, tiny_clip, tmp_path):
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "open_clip_config.json").write_bytes((tiny_clip / "open_clip_config.json").read_bytes())
    hub.models["org/bare"] = tmp_path / "bare"
    with pytest.raises(ValueError, match="on the hub lacks a file .*open_clip_pytorch_model.bin") as error:
        load_clip("hf-hub:org/bare", "cpu")
    said(error)


def test_no_program_of_a_tokenizer_is_run(hub, tiny_clip, tmp_path):
    hub.models["org/program"] = tmp_path
    save_file({}, tmp_path / "open_clip_model.safetensors")
    config = (tiny_clip / "open_clip_config.json").read_text(encoding="utf-8")
    trusted = '"text_cfg": {"hf_tokenizer_name": "org/program", "tokenizer_kwargs": {"trust_remote_code": true}, '
    (tmp_path / "open_clip_config.json").write_text(config.replace('"text_cfg": {', trusted), encoding="utf-8")
    with pytest.raises(ValueError, match="a program of its own, which is never run"):
        load_clip("hf-hub:org/program", "cpu")


# What is not there


@pytest.mark.parametrize("proxy", [False, True])
def test_without_a_hub_one_line_at_once(hub, monkeypatch, proxy):
    """Nobody listens at port 9: as the hub itself, or as a proxy on the way to one that is well."""
    if proxy:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        monkeypatch.setattr(constants, "ENDPOINT", "http://hub.example")
    else:
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    huggingface_hub.close_session()  # the client reads proxies when it is made
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    try:
        with pytest.raises(ConnectionError, match="the model hub cannot be reached. Works offline") as error:
            load_clip("hf-hub:org/never", "cpu")
    finally:
        huggingface_hub.close_session()
    assert not waits and not hub.asked
    said(error)


def test_a_hub_that_never_answers_is_given_up(hub, monkeypatch):
    monkeypatch.setattr("clipknight.hub.PROBE_SECONDS", 0.2)
    with pytest.MonkeyPatch.context() as patched:
        import socket

        silent = socket.create_server(("127.0.0.1", 0))
        patched.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(ConnectionError, match="cannot be reached"):
            load_clip("hf-hub:org/never", "cpu")
        silent.close()


# What is pushed


@pytest.fixture(scope="module")
def packed(image_run, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("packs") / "b"
    return pack.main([f"--run={image_run}", f"--out={out}", "--device=cpu"])


def test_a_pack_is_pushed_and_loaded_again(hub, packed, coloured, image_run, tmp_path):
    pack.main([f"--check={packed}", "--push=org/b"])
    assert "POST api/repos/create" in hub.asked and (hub.pushed / "org/b/pack.json").is_file()
    words = ["--run=hf-hub:org/b", f"--images={coloured / 'Images'}", f"--out={tmp_path / 'rows'}", "--device=cpu"]
    rows = Embeddings.load(predict.main([*words, "--workers=0"]))
    saved = Run.open(image_run).predictions("test")
    ids = [f"{name}.png" if f"{name}.png" in rows.ids else name for name in saved.ids]
    np.testing.assert_array_equal(rows.aligned_to(ids).vectors, saved.vectors)
    hub.models.clear()
    constants.HF_HUB_OFFLINE = True
    assert Run.open("hf-hub:org/b").kind == "model_b"


def test_nobody_pushes_without_a_token_that_may(hub, packed):
    hub.refused["org/b"] = (403, "Forbidden")
    with pytest.raises(SystemExit, match=r"lets nobody push to 'org/b' .*\(403\): hf auth login") as error:
        pack.main([f"--check={packed}", "--push=org/b"])
    said(error)
    with pytest.raises(SystemExit, match="is no name on the hub: give org/name"):
        pack.main([f"--check={packed}", "--push=not a name"])


def test_what_is_no_pack_is_not_loaded_as_one(hub):
    with pytest.raises(ValueError, match="'hf-hub:org/clip' on the hub lacks a file .*pack.json") as error:
        Run.open("hf-hub:org/clip")
    said(error)
