"""YAML files of settings and steps: numbers, words, lists and mappings, read without making any object.

Steps may share settings by an alias (<<: *small). What aliases stand for is counted, since a few lines of nested ones
can stand for gigabytes.
"""

from pathlib import Path

from clipknight.messages import KINDS, shortened

import yaml

LARGEST = 500_000  # bytes
DEEPEST = 20  # mappings and lists in one another
MOST = 50_000  # values, those that aliases stand for included
TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}


class _PlainLoader(yaml.SafeLoader):
    """Refuses whatever is more than numbers, words, lists and mappings."""

    def __init__(self, stream):
        super().__init__(stream)
        self.depth, self.count = 0, 0
        self.counts = {}  # values in each node that is complete

    def compose_node(self, parent, index):
        mark, before = self.peek_event().start_mark, self.count
        self.depth += 1
        alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index) if self.depth <= DEEPEST else None
        self.depth -= 1
        if node is None:
            raise yaml.MarkedYAMLError(problem="it is nested too deep", problem_mark=mark)
        if alias and node not in self.counts:
            raise yaml.MarkedYAMLError(problem="an alias (*) stands for what it is in", problem_mark=mark)
        if node.tag not in TAGS:
            problem = f"{node.tag.rpartition(':')[2]} is no number, word, list or mapping"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
        self.count += self.counts[node] if alias else 1
        if self.count > MOST:
            raise yaml.MarkedYAMLError(problem=f"it has more than {MOST:,} values", problem_mark=mark)
        self.counts.setdefault(node, self.count - before)
        return node

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        if twice := [key for i, key in enumerate(keys) if isinstance(key, str) and key in keys[:i]]:
            raise yaml.MarkedYAMLError(problem=f"{twice[0]!r} stands there twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


# A word that looks like a date stays a word.
_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(path: str | Path, kind: type = dict):
    """What the file holds. ValueError, with its line where there is one, for anything but a plain `kind`."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {shortened(path)}")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{shortened(path)} has {path.stat().st_size:,} bytes: too many for settings")
    content = parse_yaml(path.read_bytes(), shortened(path))
    if not isinstance(content, kind):
        found = (
            "nothing"
            if content is None
            else f"{KINDS.get(type(content), type(content).__name__)}, {shortened(content)}"
        )
        raise ValueError(f"{shortened(path)} holds {found}, not {KINDS[kind]}")
    return content


def parse_yaml(text: str | bytes, source: str):
    """What YAML text says. ValueError that begins with `source`, for anything but numbers, words, lists, mappings."""
    try:
        return yaml.load(text, _PlainLoader)
    except (yaml.YAMLError, ValueError, TypeError) as error:  # numbers may overflow, keys may be lists
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}," if mark else ""
        problem = getattr(error, "problem", None) or error
        raise ValueError(f"{source}{line} cannot be read as YAML: {shortened(problem, 200)}") from None
