"""Tables of benchmarks/README.md that a command writes: each stands between two marks with the command's name."""

from pathlib import Path

from clipknight.files import atomic_file

README = Path(__file__).parent / "README.md"


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def write_between_marks(name: str, text: str) -> None:
    """Replace what stands between `<!-- name -->` and `<!-- /name -->`. ValueError where the two are not."""
    first, last = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
    before, found, rest = README.read_text(encoding="utf-8").partition(first)
    _, also_found, after = rest.partition(last)
    if not (found and also_found):
        raise ValueError(f"{README} lacks {first.strip()} and {last.strip()}, between which the table goes")
    with atomic_file(README) as temporary:
        temporary.write_text(before + first + text + last + after, encoding="utf-8")
