"""What a decoder learns: a corpus embedded once, and the captions held out of it."""

import clipknight.embedding.corpora as corpora
import train_knight
from clipknight.captioning.training_corpus import TrainingCorpus
from clipknight.embedding.corpora import corpus_embeddings, read_corpus

import numpy as np


def test_a_corpus_is_embedded_whole_once_for_training_and_for_captioning(
    tmp_path, outputs, colour_encoder, monkeypatch
):
    file = tmp_path / "lines_of_colour.txt"
    file.write_text("".join(f"a red wall number {i}\n" for i in range(300)), encoding="utf-8")
    embedded = []
    embed = corpora.target_embeddings
    monkeypatch.setattr(
        corpora, "target_embeddings", lambda model, part, **how: embedded.append(part) or embed(model, part, **how)
    )
    read = TrainingCorpus.read(
        train_knight.Settings(corpus=[str(file)], target_encoder=str(colour_encoder), device="cpu", run="of_lines")
    )
    assert [len(part) for part in embedded] == [300] and len(read.held_out) == 3 and len(read.corpus) == 297
    whole = corpus_embeddings(read_corpus([str(file)]), "target", str(colour_encoder), "cpu")
    for part, vectors in ((read.corpus, read.vectors), (read.held_out, read.held_vectors)):
        np.testing.assert_array_equal(vectors, whole.aligned_to(part.caption_ids).vectors)
