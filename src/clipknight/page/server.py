"""The page on a port: nothing is fetched from elsewhere, too much is refused, temporary files go with the server."""

import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from clipknight.page.limits import MEBIBYTE, Limits

if TYPE_CHECKING:
    import gradio
    import uvicorn

LOCAL = ("127.0.0.1", "localhost")
OWN_ALONE = (  # the browser asks no other host, whatever gradio's files name
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
HEADERS = [
    (b"content-security-policy", OWN_ALONE.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


@contextmanager
def temporary_files() -> Iterator[Path]:
    """The folder of all that the page keeps for a while, gradio's files too, deleted in the end, by SIGTERM too."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        with tempfile.TemporaryDirectory(prefix="clipknight-page-") as folder:
            os.environ["GRADIO_TEMP_DIR"] = folder
            yield Path(folder)
    finally:
        os.environ.pop("GRADIO_TEMP_DIR", None)
        signal.signal(signal.SIGTERM, before)


def listening(host: str, port: int) -> socket.socket:
    """A socket on that port, 0 for any that is free. OSError says what to do where it is taken."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise OSError(f"{host}:{port} cannot be listened on ({error.strerror}): choose another --port") from error


def server_of(page: "gradio.Blocks", host: str, limits: Limits = Limits()) -> "uvicorn.Server":
    """The server of a page; `run(sockets=[…])` serves until it is stopped."""
    from clipknight.page.layout import STYLE, THEME

    import gradio
    import uvicorn
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app = FastAPI(openapi_url=None)
    if host in LOCAL:  # a page of another site cannot reach this one by a name of its own
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(LOCAL))
    app.add_middleware(Guarded, largest=limits.upload)
    app = gradio.mount_gradio_app(
        app,
        page,
        "/",
        max_file_size=limits.upload,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        theme=THEME,
        css=STYLE,
        show_error=True,
        enable_monitoring=False,
        mcp_server=False,
    )
    return uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))


class Guarded:
    """ASGI middleware: requests that are too large are refused, answers forbid the browser to ask other hosts."""

    def __init__(self, app, largest: int):
        self.app, self.largest = app, largest

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        length = dict(scope["headers"]).get(b"content-length", b"0")
        sent_in_parts = b"transfer-encoding" in dict(scope["headers"])
        if sent_in_parts or not length.isdigit() or int(length) > self.largest + MEBIBYTE:
            text = f"more than {self.largest // MEBIBYTE} MB at once: send less"
            await send({"type": "http.response.start", "status": 413, "headers": [(b"content-type", b"text/plain")]})
            return await send({"type": "http.response.body", "body": text.encode()})

        async def send_guarded(message):
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *HEADERS]}
            await send(message)

        await self.app(scope, receive, send_guarded)
