"""The page in a real Chromium: upload, captions and why, errors, downloads, two users; no other host is asked."""

import shutil
import sys
import threading
from types import SimpleNamespace

from clipknight.api.loading import load

import pytest
import tiny_models
from PIL import Image

gradio = pytest.importorskip("gradio", reason='no gradio: pip install "clipknight[page]"')
sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
SECONDS = 60_000  # in milliseconds: until something is seen

from clipknight.page.handlers import Handlers  # noqa: E402
from clipknight.page.limits import Limits  # noqa: E402
from clipknight.page.models import OWN, Offer, Shelf  # noqa: E402
from clipknight.page.server import listening, server_of, temporary_files  # noqa: E402

asked_by_server: list = []
_audited = SimpleNamespace(on=False)


def _note_connections(event, arguments):
    if _audited.on and event in ("socket.connect", "socket.getaddrinfo"):
        asked_by_server.append(arguments[1] if event == "socket.connect" else arguments[0])


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """The file of a plain picture of that colour."""
    folder = tmp_path_factory.mktemp("pictures")

    def file(colour: str) -> str:
        Image.new("RGB", (40, 40), tiny_models.COLOURS[colour]).save(folder / f"{colour}.png")
        return str(folder / f"{colour}.png")

    return file


@pytest.fixture(scope="module")
def server(knight_run, picture):
    """Address and temporary files of a page whose model knows colours, at most 1 MiB an upload."""
    sys.addaudithook(_note_connections)  # for good: that is why it has a switch
    _audited.on = True
    shelf = Shelf(lambda decoder, from_: load(decoder, device="cpu", precision="fp32"))
    with temporary_files() as folder, listening("127.0.0.1", 0) as port:
        from clipknight.page.layout import build

        handlers = Handlers(Offer([knight_run], [OWN]), shelf, folder, Limits(upload=1 << 20))
        examples = [picture(colour) for colour in ("red", "green", "blue") for _ in range(2)]
        served = server_of(build(handlers, examples), "127.0.0.1", handlers.limits)
        thread = threading.Thread(target=served.run, kwargs={"sockets": [port]})
        thread.start()
        yield SimpleNamespace(address=f"http://127.0.0.1:{port.getsockname()[1]}", folder=folder)
        served.should_exit = True
        thread.join()
    _audited.on = False


@pytest.fixture(scope="module")
def chromium():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def user(server, chromium):
    """Opens the page as somebody of their own; afterwards no other host was asked by any, and no script failed."""
    contexts, asked, failed = [], [], []

    def open_page(**options):
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.goto(server.address, timeout=SECONDS)
        page.wait_for_selector("input[type=file]", state="attached", timeout=SECONDS)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith((server.address, "data:", "blob:"))] == []
    assert failed == []


def drop(page, *files):
    page.set_input_files("input[type=file]", list(files))


def seen(page, selector, text):
    sync_api.expect(page.locator(selector)).to_contain_text(text, timeout=SECONDS)


def test_a_dropped_picture_is_captioned_explained_and_taken_home(user, picture):
    page = user()
    drop(page, picture("red"))
    seen(page, ".details .caption", "red")
    seen(page, ".details", "Nearest captions")
    sync_api.expect(page.locator("svg.map .picture")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Captions (CSV)").or_(page.get_by_role("button", name="Captions (CSV)")).click()
    text = open(download.value.path(), encoding="utf-8").read()
    assert text.startswith("image,caption\nred.png,") and "red" in text.splitlines()[1]


def test_bad_files_are_named_beside_the_captions_of_the_others(user, picture, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n and no more")
    page = user(viewport={"width": 320, "height": 640}, is_mobile=True)  # a small phone's
    drop(page, picture("blue"), str(tmp_path / "broken.png"))
    seen(page, "#report", "1 of 2 captioned.")
    seen(page, "#report .refused", "broken.png: ")
    seen(page, ".details .caption", "blue")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_two_users_at_once_see_their_own(user, picture):
    first, second = user(), user()
    drop(first, picture("blue"))
    drop(second, picture("red"))
    seen(first, ".details .caption", "blue")
    seen(second, ".details .caption", "red")


def test_the_server_shows_no_file_of_its_own_and_takes_no_more_than_the_limits(user, server, tmp_path):
    page = user()
    assert page.request.get(f"{server.address}/gradio_api/file={__file__}").status in (403, 404)
    assert page.request.get(server.address, headers={"Host": "elsewhere.example"}).status == 400
    too_large = {"files": {"name": "a.png", "mimeType": "image/png", "buffer": b"0" * (3 << 20)}}
    assert page.request.post(f"{server.address}/gradio_api/upload", multipart=too_large).status == 413
    assert "default-src 'self'" in page.request.get(server.address).headers["content-security-policy"]


def test_the_server_asked_no_other_host(server):
    """Runs last: what the tests above did is in the list."""
    hosts = {place[0] if isinstance(place, tuple) else place for place in asked_by_server}
    assert hosts <= {"127.0.0.1", "localhost", None}
