"""Any table, JSON or submission reads to the same rows however it is written, or is refused in one short line."""

import csv
import io
import json

from clipknight.data.caption_table import read_caption_table
from clipknight.data.result_files import read_captions
from clipknight.ensemble.submission import read_submission

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FEW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
NAMES = st.text(st.characters(categories=["L", "N"], include_characters="._- "), min_size=1, max_size=8)
ROWS = st.lists(st.tuples(NAMES, TEXT), min_size=1, max_size=6)


def written(rows, header, delimiter, quoting, end, encoding):
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end)
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode(encoding)


@pytest.mark.slow
@FEW
@given(
    rows=ROWS,
    delimiter=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig"]),
    order=st.permutations(["image", "caption", "more"]),
)
def test_a_table_reads_to_the_same_rows_however_it_is_written(tmp_path_factory, rows, delimiter, end, encoding, order):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    records = [{"image": name, "caption": caption, "more": ""} for name, caption in rows]
    cells = [[record[name] for name in order] for record in records]
    path.write_bytes(written(cells, order, delimiter, csv.QUOTE_ALL, end, encoding))
    read = read_caption_table(path).rows
    assert list(zip(read["name"], read["caption"], strict=True)) == rows


@FEW
@given(rows=ROWS)
def test_parquet_and_json_read_to_the_same_rows(tmp_path_factory, rows):
    folder = tmp_path_factory.getbasetemp()
    pd.DataFrame(rows, columns=["image", "caption"]).to_parquet(folder / "any.parquet")
    entries = [{"image_id": name, "caption": caption} for name, caption in rows]
    (folder / "any.json").write_text(json.dumps(entries), encoding="utf-8")
    for file in ("any.parquet", "any.json"):
        read = read_captions(folder / file)
        assert list(zip(read["name"], read["caption"], strict=True)) == rows


@FEW
@given(data=st.binary(max_size=200) | TEXT.map(str.encode), suffix=st.sampled_from(["csv", "json", "parquet", "txt"]))
@pytest.mark.parametrize("read", [read_captions, read_submission])
def test_any_bytes_are_read_or_refused_in_one_short_line(tmp_path_factory, read, data, suffix):
    path = tmp_path_factory.getbasetemp() / f"a.{suffix}"
    path.write_bytes(data)
    refused_shortly(read, path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=200),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["images", "annotations", "sentences", "image_id", "caption", "a.jpg"]), inner
        )
    ),
    max_leaves=8,
)


@FEW
@given(data=JSON)
def test_any_json_is_read_or_refused_in_one_short_line(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "a.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    refused_shortly(read_captions, path)


def refused_shortly(read, path):
    try:
        read(path)
    except ValueError as error:
        message = str(error).replace(str(path), path.name)
        assert path.name in message and "\n" not in message and len(message) <= 420, message


@FEW
@given(
    ids=st.lists(NAMES, min_size=1, max_size=4, unique=True),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    end=st.sampled_from(["\n", "\r\n"]),
    seed=st.integers(0, 99),
)
def test_a_submission_reads_to_the_same_vectors_in_any_order(tmp_path_factory, ids, quoting, end, seed):
    draw = np.random.default_rng(seed)
    vectors = draw.standard_normal((len(ids), 3)).astype(np.float32)
    rows = [(f"{id}_{n}", repr(float(value))) for id, vector in zip(ids, vectors) for n, value in enumerate(vector)]
    path = tmp_path_factory.getbasetemp() / "s.csv"
    shuffled = [rows[i] for i in draw.permutation(len(rows))]
    path.write_bytes(written(shuffled, ["imgId_eId", "val"], ",", quoting, end, "utf-8"))
    np.testing.assert_array_equal(read_submission(path).aligned_to(ids).vectors, vectors)
