"""Captioners of a random language model of words, which nothing conditions, and a space in which words have places."""

from clipknight.captioning.caption_index import CaptionIndex
from clipknight.captioning.captioner import Captioner, CaptionOptions, ImageVectors
from clipknight.captioning.decoding import Decoder
from clipknight.captioning.knight import Knight
from clipknight.captioning.retriever import Retriever
from clipknight.embedding.corpora import Corpus
from clipknight.embedding.embeddings import unit

import numpy as np
import pandas as pd
import torch
from tiny_models import CAPTIONS, COLOURS
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

END = "<end>"
WORDS = [END, *COLOURS, *sorted({word for caption in CAPTIONS for word in caption.split()} - {"{}"})]
DIM = 16
PLACES = dict(zip(WORDS, np.random.default_rng(3).standard_normal((len(WORDS), DIM - 1)), strict=True))
KINDS = ("gpt2", "llama")


def encode(texts):
    """(N, DIM): the sum of the places of a text's words, and the square of how many they are."""
    rows = np.zeros((len(texts), DIM))
    for row, text in zip(rows, texts, strict=True):
        words = text.lower().split()
        row[:-1] = sum((PLACES[word] for word in words), np.zeros(DIM - 1))
        row[-1] = len(words) ** 2 / 2
    return rows.astype(np.float32)


def blind(method, kind, precision=torch.float32, batch_size=64, encode=encode, **options):
    """A way to caption by `method`, around a random GPT-2 or Llama of two layers with 48 positions."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token=END))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=END, eos_token=END, pad_token=END)
    sizes = {"vocab_size": len(WORDS), "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    if kind == "gpt2":
        decoder = GPT2LMHeadModel(GPT2Config(n_positions=48, n_embd=32, n_layer=2, n_head=2, **sizes))
    else:
        sizes |= {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "max_position_embeddings": 48}
        decoder = LlamaForCausalLM(LlamaConfig(num_attention_heads=2, num_key_value_heads=1, **sizes))
    model, draw = Knight(decoder, DIM), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.4, generator=draw)
        for layer in list(model.mapper)[::2]:
            layer.bias.normal_(0, 0.5, generator=draw)  # all that is left of the zero vector
    texts = np.array([f"a {colour} square" for colour in COLOURS], dtype=object)
    ids = list(COLOURS)
    corpus = Corpus("c", pd.DataFrame({"source": "c", "id": ids, "caption": texts, "caption_id": ids}))
    retriever = Retriever(corpus, CaptionIndex(of_words(*texts)), encode)
    return method(Decoder(model.eval(), tokenizer, precision, batch_size), retriever, **options)


def caption(method, images, num_beams=5, max_new_tokens=40, rerank=1, rerank_by="consensus"):
    """Captions of images or videos by a way to caption."""
    options = CaptionOptions(num_beams, max_new_tokens, rerank, rerank_by)
    return Captioner(method.retriever, method).caption(images, options)


def candidates(method, images, count, num_beams, max_new_tokens):
    """Those of each image, one after the other."""
    return method.candidates(ImageVectors(images), CaptionOptions(num_beams, max_new_tokens, count))


def of_words(*texts):
    """(N, DIM) unit rows of images that show just what the texts say."""
    return unit(encode(texts))


def shown(*shape, seed=0):
    """(*shape, DIM) unit rows of images that no text tells."""
    return unit(np.random.default_rng(seed).standard_normal((*shape, DIM))).astype(np.float32)


def mean_likeness(texts, images):
    """Mean cosine of each text with its own image (N, DIM)."""
    return (unit(encode(texts)) * images).sum(axis=1).mean()


def greedy(captioner, count, tokens):
    """Token ids (count, tokens) of the language model's own likeliest text."""
    with torch.no_grad():
        return captioner.model.generate(torch.zeros(count, 1, DIM), captioner.end, 1, tokens)


@torch.no_grad()
def whole(captioner, tokens):
    """(last hidden states (t + 1, W), logits (t + 1, V)) of the prefix and `tokens` (t), without a cache."""
    prefix = captioner.model.prefix(torch.zeros(1, 1, DIM))
    words = captioner.model.decoder.get_input_embeddings()(torch.tensor([tokens], dtype=torch.long))
    out = captioner.model.decoder(inputs_embeds=torch.cat([prefix, words], dim=1), output_hidden_states=True)
    return out.hidden_states[-1][0], out.logits[0]
