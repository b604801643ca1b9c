"""What docs/security.md promises of the source as a whole."""

import ast
from pathlib import Path

import clipknight

SOURCE = Path(clipknight.__file__).parents[1]
RUNS_CODE = {"eval", "exec", "compile", "pickle", "marshal", "dill"}
UNSAFE = {("allow_pickle", True), ("weights_only", False), ("trust_remote_code", True), ("shell", True)}


def test_nothing_that_is_read_can_run():
    for file in SOURCE.rglob("*.py"):
        calls = [n for n in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
        for call in calls:
            dotted = ast.unparse(call.func).split(".")
            given = {(word.arg, getattr(word.value, "value", None)) for word in call.keywords}
            where = f"{file}, line {call.lineno}"
            assert not given & UNSAFE, where
            assert dotted[0] not in RUNS_CODE, where  # a model's own eval() is another
            if dotted == ["torch", "load"]:
                assert ("weights_only", True) in given, where
            if dotted[-1] == "from_pretrained":
                assert ("trust_remote_code", False) in given or any(word.arg is None for word in call.keywords), where
