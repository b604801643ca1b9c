"""The model hub: whether it can be reached, and what a user is told when it cannot."""

import os
import socket

import huggingface_hub


def go_offline_if_unreachable() -> None:
    """Fail fast without internet: the hub client would retry each file for half a minute. Cached files still load."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return
    host = huggingface_hub.constants.ENDPOINT.split("//")[-1].split("/")[0].split(":")[0]
    try:
        socket.create_connection((host, 443), timeout=5).close()
    except OSError:
        huggingface_hub.constants.HF_HUB_OFFLINE = True


def hub_failure(name: str, error: Exception, offline: str) -> Exception:
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return ConnectionError(
            f"{name!r} is not on this machine and the model hub cannot be reached. Works offline: {offline}"
        )
    return ValueError(f"{name!r} could not be loaded: {error}. Works offline: {offline}")
