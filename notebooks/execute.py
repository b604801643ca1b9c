"""Execute the notebooks in place, with outputs that are fit to be committed: `make notebooks`.

Pictures are small, no path is of this machine, and what libraries say on stderr is left out.
"""

import base64
import io
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).resolve().parent
ROOT = f"{FOLDER.parent}/"
WIDTHS, LARGE, COLOURS = (900, 640), 45_000, 48  # pixels: the second where the file would have so many bytes


def executed(path: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs of a kernel of its own."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=None, record_timing=False, resources={"metadata": {"path": str(FOLDER)}})
    client.execute()
    notebook.metadata = {name: notebook.metadata[name] for name in ("kernelspec",)} | {
        "language_info": {"name": "python"}
    }
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [fit(output) for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


def fit(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """One output, with small pictures, and paths from the project's root."""
    if "text" in output:
        output.text = output.text.replace(ROOT, "")
    for kind, content in output.get("data", {}).items():
        if kind == "image/png":
            output.data[kind] = small(content)
        elif isinstance(content, str):
            output.data[kind] = content.replace(ROOT, "")
    return output


def small(png: str) -> str:
    """A picture in base64, in a palette, less wide than it was."""
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    for width in WIDTHS:
        image.thumbnail((width, width))
        image.quantize(COLOURS).save(buffer := io.BytesIO(), "PNG", optimize=True)
        if buffer.tell() < LARGE:
            break
    return base64.b64encode(buffer.getvalue()).decode()


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:] or sorted(FOLDER.glob("*.ipynb"))):
        nbformat.write(executed(path), path)
        print(f"{path.name}: {path.stat().st_size:,} bytes")
