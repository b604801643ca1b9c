"""The page as gradio has it."""

import asyncio

from clipknight.page.handlers import Handlers
from clipknight.page.models import OWN, Offer, Shelf

import pytest

gradio = pytest.importorskip("gradio", reason='no gradio: pip install "clipknight[page]"')


@pytest.fixture
def page(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    from clipknight.page.layout import build

    return build(Handlers(Offer(["starter"], [OWN]), Shelf(), tmp_path), [])


def test_a_request_that_names_a_url_is_refused_and_nothing_is_fetched(page, no_internet):
    (files,) = (block for block in page.blocks.values() if isinstance(block, gradio.File))
    with pytest.raises(gradio.Error, match="from your own disk alone"):
        asyncio.run(files.async_move_resource_to_block_cache("http://127.0.0.1:9/a.png"))


def test_no_program_can_call_the_handlers_by_a_name(page):
    assert page.get_api_info()["named_endpoints"] == {}


def test_models_compute_one_request_at_a_time_and_few_wait(page):
    functions = page.fns.values()
    assert {function.concurrency_id for function in functions} == {"model"}
    assert {function.concurrency_limit for function in functions} == {1}
    assert page.max_size == 16 if hasattr(page, "max_size") else page._queue.max_size == 16
