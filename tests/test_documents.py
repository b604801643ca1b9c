"""The documents as a site."""

import re

import clipknight
from clipknight.paths import ROOT

import pytest

OTHER_HOST = re.compile(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"'](?:https?:)?//")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Built as `make docs` builds it, which refuses broken links."""
    build = pytest.importorskip("mkdocs.commands.build", reason="pip install 'clipknight[docs]'")
    pytest.importorskip("mkdocstrings_handlers.python", reason="pip install 'clipknight[docs]'")
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    build.build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True))
    return folder


def test_every_public_name_is_described(site):
    page = (site / "reference" / "index.html").read_text(encoding="utf-8")
    described = {heading.rpartition(".")[2] for heading in re.findall(r'<h2 id="(clipknight\.[\w.]+)"', page)}
    assert described == set(clipknight.__all__)


def test_no_page_loads_anything_from_elsewhere(site):
    pages = {page.relative_to(site): page.read_text(encoding="utf-8") for page in site.rglob("*.html")}
    assert len(pages) > 10 and not [name for name, page in pages.items() if OTHER_HOST.search(page)]


def test_links_out_of_the_documents_lead_to_the_repository(site):
    page = (site / "faq" / "index.html").read_text(encoding="utf-8")
    assert 'href="https://github.com/clipknight/clipknight/blob/main/input/models/starter/README.md"' in page


def test_every_page_is_in_the_menu(site):
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert not [file.name for file in (ROOT / "docs").glob("*.md") if f": {file.name}" not in menu]
