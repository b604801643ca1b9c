import unicodedata

from clipknight.data.names import ids_of, positions, variants

import pandas as pd
import pytest


def at(names, files):
    return positions(pd.Series(names, dtype="str"), pd.Series(files, dtype="str")).tolist()


def test_a_file_by_its_name_or_without_its_suffix():
    assert at(["b.png", "a", "sub/c", "d"], ["a.jpg", "b.png", "sub/c.gif"]) == [1, 0, 2, -1]
    assert at(["a"], []) == [-1] and at([], ["a.jpg"]) == []


@pytest.mark.parametrize("form, other", [("NFC", "NFD"), ("NFD", "NFC")])
def test_unicode_forms_and_capital_letters_do_not_part_a_name_from_its_file(form, other):
    name = unicodedata.normalize(form, "Café/é.jpg")
    assert at([name, "A.JPG", "b"], [unicodedata.normalize(other, name), "a.jpg", "B.png"]) == [0, 1, 2]


def test_a_name_that_fits_two_files_fits_none():
    assert at(["a.JPG", "A.jpg", "a.Jpg"], ["a.jpg", "A.jpg"]) == [-1, 1, -1]


def test_variants_of_a_name():
    assert {"é.jpg", "é.JPG", "e\u0301.jpg"} <= set(variants("é.jpg"))


def test_ids():
    assert ids_of(pd.Series(["a/b.c.jpg", "d"])).tolist() == ["a/b.c", "d"]
