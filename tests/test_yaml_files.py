from clipknight import yaml_files
from clipknight.yaml_files import MOST, read_yaml

import pytest


def bomb() -> str:
    lines, before = ["a: &a [x,x,x,x,x,x,x,x,x,x]"], "a"
    for name in "bcdefghi":
        lines.append(f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]")
        before = name
    return "\n".join(lines)


def test_settings_and_lists_are_read(tmp_path):
    file = tmp_path / "f.yaml"
    file.write_text("a: 1\nb: [x, 1.5, true, null]\nc: {d: 2020-01-01}\n", encoding="utf-8")
    assert read_yaml(file) == {"a": 1, "b": ["x", 1.5, True, None], "c": {"d": "2020-01-01"}}
    file.write_text("a: &shared {x: 1}\nb: {<<: *shared, y: 2}\n", encoding="utf-8")
    assert read_yaml(file)["b"] == {"x": 1, "y": 2}
    file.write_text("- ä: 1\n", encoding="utf-8")
    assert read_yaml(file, list) == [{"ä": 1}]


@pytest.mark.parametrize(
    "text, problem",
    [
        (bomb(), "line 5, cannot be read as YAML: it has more than 50,000 values"),
        ("a: &a [*a]", r"line 1, cannot be read as YAML: an alias \(\*\) stands for what it is in"),
        ("a: " + "[" * 5000, "line 1, cannot be read as YAML: it is nested too deep"),
        ("run: !!python/object/apply:os.system ['touch made']", "line 1, cannot be read as YAML: "),
        ("run: !!python/object:os.path {}", "line 1, cannot be read as YAML: "),
        ("a: !!binary aGVsbG8=", "binary is no number, word, list or mapping"),
        ("a: !!set {x}", "set is no number, word, list or mapping"),
        ("a: !!float x", "could not convert"),
        (f"a: {'9' * 5000}", "cannot be read as YAML"),
        ("a: 1\na: 2", "'a' stands there twice"),
        ("a:\tb\n\t", "line 1, cannot be read as YAML"),
        ("a: \x00", "cannot be read as YAML"),
        ("? [a]\n: 1", "cannot be read as YAML"),
        ("a\n" * 400_000, "bytes: too many for settings"),
        ("", "holds nothing, not a mapping of names to values"),
        ("- a", r"holds a list, \['a'\], not a mapping"),
        ("word", "holds text, word, not a mapping"),
    ],
)
def test_anything_else_is_refused_in_one_line_after_bounded_work(tmp_path, monkeypatch, text, problem):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "f.yaml"
    file.write_text(text, encoding="utf-8")
    compose, composed = yaml_files._PlainLoader.compose_node, []
    monkeypatch.setattr(yaml_files._PlainLoader, "compose_node", lambda *given: composed.append(1) or compose(*given))
    with pytest.raises(ValueError, match=problem) as refused:
        read_yaml(file)
    assert len(composed) <= min(len(text), MOST)  # what aliases stand for is counted, not made
    message = str(refused.value)
    assert message.startswith(str(file)[:40]) and "\n" not in message and len(message) <= 500
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.yaml"]


def test_what_is_no_file_of_text_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no file {tmp_path}"):
        read_yaml(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("a: ä".encode("latin-1"))
    with pytest.raises(ValueError, match="latin.yaml cannot be read as YAML"):
        read_yaml(tmp_path / "latin.yaml")
