import csv
import random

from clipknight.data.caption_table import read_caption_table
from clipknight.data.settings import Columns
from clipknight.data.text_files import read_text
from clipknight.messages import script_has

import pandas as pd
import pytest


def table(path, text, encoding="utf-8", columns=Columns()):
    path.write_bytes(text.encode(encoding))
    return read_caption_table(path, columns)


def rows(read):
    return list(zip(read.rows["name"], read.rows["caption"], strict=True))


ALPHABET = list("ab ,\"'\t;|\n#") + [
    "\r\n",
    '""',
    "é",
    "ß",
    "漢字",
    "שלום",
    "हिन्दी",
    "🐕",
    "\u2028",
    "NA",
    "null",
    "1e5",
]


@pytest.mark.parametrize("seed", range(20))
def test_what_the_csv_module_writes_is_read_back_whole(tmp_path, seed):
    rng = random.Random(seed)
    said = ["".join(rng.choices(ALPHABET, k=rng.randint(1, 30))) for _ in range(200)]
    path = tmp_path / "captions.csv"
    delimiter, end, encoding = rng.choice(",\t;"), rng.choice(["\n", "\r\n"]), rng.choice(["utf-8", "utf-8-sig"])
    with open(path, "w", newline="", encoding=encoding) as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator=end)
        writer.writerow(["extra", "image", "caption"])
        writer.writerows([rng.choice(["", "x"]), f"{i}.jpg", caption] for i, caption in enumerate(said))
    assert rows(read_caption_table(path)) == [(f"{i}.jpg", caption) for i, caption in enumerate(said)]


def test_a_row_is_numbered_by_the_line_it_starts_on(tmp_path):
    read = table(tmp_path / "a.csv", 'image,caption\na.jpg,"two\nlines"\n\nb.jpg,one\n')
    assert rows(read) == [("a.jpg", "two\nlines"), ("b.jpg", "one")]
    assert read.rows["number"].tolist() == [2, 5] and read.place == "a.csv, line"


def test_flickr30k_bars_and_the_row_that_lacks_one(tmp_path):
    text = (
        "image_name| comment_number| comment\n"
        '1.jpg| 0| Two dogs , one " big " .\n'
        "1.jpg| 4   A dog runs across the grass .\n"
        "2.jpg| 0| Number 4   is here .\n"
    )
    read = table(tmp_path / "results.csv", text)
    assert rows(read) == [
        ("1.jpg", 'Two dogs , one " big " .'),
        ("1.jpg", "A dog runs across the grass ."),
        ("2.jpg", "Number 4   is here ."),
    ]


def test_words_that_pandas_takes_for_missing_stay_words(tmp_path):
    assert rows(table(tmp_path / "a.csv", "image,caption\n007,NA\n1e5,null\n")) == [("007", "NA"), ("1e5", "null")]


def test_named_columns_and_split(tmp_path):
    columns = Columns(image="file", caption="text", split="fold")
    read = table(tmp_path / "a.csv", "text,fold,file\nhi,train,a.jpg\n", columns=columns)
    assert rows(read) == [("a.jpg", "hi")] and read.rows["split"].tolist() == ["train"]


@pytest.mark.parametrize("columns", [Columns(image="file"), Columns(split="fold")])
@pytest.mark.parametrize("header", ["image,caption", "image_name,comment"])
def test_a_column_asked_for_by_name_must_be_there(tmp_path, columns, header):
    with pytest.raises(ValueError, match=r"a.csv: the header needs .*(file|fold).* but is 'image"):
        table(tmp_path / "a.csv", f"{header}\na.jpg,hi\n", columns=columns)


@pytest.mark.parametrize(
    "header, named",
    [
        ("file_name,text", Columns()),
        ("prompt,id,image_name", Columns()),
        ("picture,prompt", Columns()),
        ("filepath,title", Columns("bild", "wort").for_another()),
        ("imgId,prompt", Columns("bild", "wort", "teil").for_another()),
        ("caption,image,bild,wort", Columns("bild", "wort").for_another()),
    ],
)
def test_columns_are_found_where_none_is_asked_for(tmp_path, header, named):
    wanted = "wort" if "wort" in header else next(n for n in header.split(",") if n in ("text", "prompt", "title"))
    cells = ["hi" if name == wanted else "a.jpg" for name in header.split(",")]
    assert rows(table(tmp_path / "a.csv", f"{header}\n{','.join(cells)}\n", columns=named)) == [("a.jpg", "hi")]


def test_splits_of_another_table_go_by_either_name(tmp_path):
    for split in ("teil", "split"):
        text = f"image,caption,{split}\na.jpg,hi,train\n"
        read = table(tmp_path / "a.csv", text, columns=Columns(split="teil").for_another())
        assert read.rows["split"].tolist() == ["train"]


def test_advice_names_flags_that_are_there(tmp_path):
    script_has(["data", "run"])
    with pytest.raises(ValueError, match="but is 'picture', 'words'; rename them so$"):
        table(tmp_path / "a.csv", "picture,words\na.jpg,hi\n")


@pytest.mark.parametrize(
    "text, message",
    [
        ("image,caption\na.jpg,hi\nb.jpg,a dog, running\n", r"line 3: 3 fields \(the header has 2\).*double quotes"),
        ('image,caption\na.jpg,"x\ny"\nb.jpg\n', r"line 4: 1 fields"),
        ('image,caption\na.jpg,hi\nb.jpg,"never closed\nc.jpg,x\n', r"starts on line 3 is broken"),
        ('image,caption\na.jpg,"hi" there\n', r"starts on line 2 is broken"),
        ("picture,words\na.jpg,hi\n", r"image,caption.*but is 'picture', 'words'.*--image_column, --caption_column"),
        ("image,caption,caption\na.jpg,hi,ho\n", r"2 columns named 'caption'"),
        ("image,caption\n", r"no rows"),
        ("", r"the header needs"),
    ],
)
def test_a_malformed_table_says_where(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as error:
        table(tmp_path / "a.csv", text)
    assert str(tmp_path / "a.csv") in str(error.value)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_text_that_is_not_utf8_says_where(tmp_path, encoding):
    line = {"latin-1": 3, "utf-16": 1}[encoding]
    with pytest.raises(ValueError, match=rf"a.csv, line {line}: byte 0x.* is not UTF-8"):
        table(tmp_path / "a.csv", "image,caption\na.jpg,fine\nb.jpg,café\n", encoding)


def test_an_empty_header_is_called_so(tmp_path):
    (tmp_path / "t.csv").write_text("\n", encoding="utf-8")
    with pytest.raises(ValueError, match="video_id,sentence, but is empty"):
        read_caption_table(tmp_path / "t.csv")


def test_byte_order_mark_is_no_part_of_the_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfhi\r\n")
    assert read_text(tmp_path / "a.txt") == "hi\r\n"


def test_parquet(tmp_path):
    frame = pd.DataFrame({"image": ["a.jpg", "b.jpg"], "caption": ['x, "y"\nz', None], "split": ["train", None]})
    frame.to_parquet(tmp_path / "a.parquet")
    read = read_caption_table(tmp_path / "a.parquet")
    assert rows(read) == [("a.jpg", 'x, "y"\nz'), ("b.jpg", "")]
    assert read.rows["split"].tolist() == ["train", ""] and read.rows["number"].tolist() == [1, 2]


def test_parquet_of_other_content_is_refused(tmp_path):
    pd.DataFrame({"image": ["a"], "caption": [["x", "y"]]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="a.parquet: the column 'caption' holds .*, not text"):
        read_caption_table(tmp_path / "a.parquet")
    pd.DataFrame({"url": ["a"]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(ValueError, match="b.parquet: the header needs"):
        read_caption_table(tmp_path / "b.parquet")
    (tmp_path / "c.parquet").write_text("image,caption", encoding="utf-8")
    with pytest.raises(ValueError, match="c.parquet is not a Parquet file"):
        read_caption_table(tmp_path / "c.parquet")
