"""A model hub on the loopback: serves folders in the layout of the hub's files, and what is used of its API.

What is pushed to it is written into `pushed`/org/name and served from there.
"""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

COMMIT = "c0ffee" + "0" * 34


class Hub:
    """`models` maps org/name to a folder; `refused` maps org/name to (status, the hub's code of the error).

    `cuts` maps a file's name to how many of its downloads break off half-way. `asked` lists what was requested.
    """

    def __init__(self):
        self.models: dict[str, Path] = {}
        self.refused: dict[str, tuple[int, str]] = {}
        self.cuts: dict[str, int] = {}
        self.asked: list[str] = []
        self.pushed: Path | None = None
        self.url = ""


@contextmanager
def hub_at_hand(cache: Path):
    """The hub, to which the hub's client turns while this lasts, with an empty cache at `cache`."""
    from huggingface_hub import constants
    from transformers.utils import hub as transformers_hub

    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.pushed = cache.with_name("pushed")
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(constants, "ENDPOINT", hub.url)  # as HF_ENDPOINT sets it before the first import
            template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
            patched.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
            patched.setattr(constants, "HF_HUB_CACHE", str(cache))
            patched.setattr(constants, "HF_HUB_OFFLINE", False)
            patched.setattr(constants, "HF_HUB_DISABLE_XET", True)
            patched.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
            patched.setattr(transformers_hub, "_hf_api", None)  # it remembers the address
            yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_POST(self) -> None:
        """What a push asks: is the card sound, make the repository, how to send each file, and the files themselves."""
        path = unquote(urlsplit(self.path).path).strip("/")
        self.hub.asked.append(f"POST {path}")
        lines = self.rfile.read(int(self.headers["Content-Length"])).splitlines()
        words, model = path.split("/"), "/".join(path.split("/")[2:4])
        if path == "api/repos/create":
            asked = json.loads(lines[0])
            model = f"{asked['organization']}/{asked['name']}"
        if model in self.hub.refused:
            status, code = self.hub.refused[model]
            self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})
        elif path == "api/repos/create":
            (self.hub.pushed / model).mkdir(parents=True)
            self.hub.models[model] = self.hub.pushed / model
            self._send(200, json.dumps({"url": f"{self.hub.url}/{model}"}).encode())
        elif words[-2] == "preupload":
            files = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in _files(lines)]
            self._send(200, json.dumps({"files": files}).encode())
        elif words[-2] == "commit":
            for entry in map(json.loads, lines):
                if entry["key"] == "file":
                    file = self.hub.models[model] / entry["value"]["path"]
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(base64.b64decode(entry["value"]["content"]))
            about = {"commitUrl": f"{self.hub.url}/{model}/commit/{COMMIT}", "commitOid": COMMIT}
            self._send(200, json.dumps(about).encode())
        else:
            self._send(200, json.dumps({"errors": [], "warnings": []}).encode())

    def _answer(self, body: bool) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        self.hub.asked.append(f"{self.command} {path}")
        words = path.removeprefix("api/models/").split("/")
        model = "/".join(words[:2])
        if len(words) < 2:
            self._send(200, b"a hub", body=body)
        elif model in self.hub.refused:
            status, code = self.hub.refused[model]
            self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code}, body)
        elif model not in self.hub.models:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body)
        elif path.startswith("api/"):
            self._send(200, json.dumps(self._about(model, words[2:])).encode(), body=body)
        else:
            self._send_file(self.hub.models[model] / "/".join(words[4:]), body)

    def _about(self, model: str, words: list[str]) -> dict | list:
        """A model's description, or the list of its files."""
        folder = self.hub.models[model]
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        names = [str(file.relative_to(folder)) for file in files]
        if words[:1] == ["tree"]:
            inside = "/".join(words[2:])
            pairs = [pair for pair in zip(names, files, strict=True) if pair[0].startswith(inside)]
            return [{"type": "file", "path": n, "size": f.stat().st_size, "oid": _etag(f)} for n, f in pairs]
        flags = {"private": False, "gated": False, "disabled": False, "tags": [], "downloads": 0, "likes": 0}
        return {"id": model, "sha": COMMIT, "siblings": [{"rfilename": name} for name in names], **flags}

    def _send_file(self, file: Path, body: bool) -> None:
        if not file.is_file():
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, body)
            return
        content, status = file.read_bytes(), 200
        headers = {"ETag": f'"{_etag(file)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if begin := self.headers.get("Range"):
            start = int(begin.removeprefix("bytes=").partition("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            content, status = content[start:], 206
        cut = body and self.hub.cuts.get(file.name, 0) > 0
        if cut:
            self.hub.cuts[file.name] -= 1
        self._send(status, content, headers, body, len(content) // 2 if cut else None)

    def _send(self, status: int, content: bytes, headers: dict | None = None, body=True, cut_at: int | None = None):
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content[:cut_at])
        if cut_at is not None:
            self.wfile.flush()
            self.close_connection = True


def _files(lines: list[bytes]) -> list[dict]:
    return json.loads(b"".join(lines))["files"]


def _etag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()
