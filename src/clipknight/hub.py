"""The model hub: whether it can be reached, and what a user is told when a model cannot be loaded."""

import os
import threading
from collections.abc import Iterator

from clipknight.messages import shortened
from clipknight.packs import MANIFEST

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, HfHubHTTPError, HTTPError

HUB = "hf-hub:"  # begins the name of what is on the hub
PROBE_SECONDS = 6.0
NO_WAY_THROUGH = (502, 503, 504)  # what a proxy answers that cannot reach the hub


def prepare_loading(source: str) -> None:
    """Called before anything is loaded from `source`, a folder or a name on the hub.

    Nothing is asked on the keyboard, and no program that comes with a model is run.
    """
    from transformers import dynamic_module_utils

    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0  # "run the custom code?" counts as answered: no
    if not os.path.isdir(source):
        go_offline_if_unreachable()


def download_pack(name: str) -> str:
    """The folder, in the hub's cache, of the pack `hf-hub:org/name`. ConnectionError, and ValueError for no pack."""
    repository = name.removeprefix(HUB)
    go_offline_if_unreachable()
    try:
        huggingface_hub.hf_hub_download(repository, MANIFEST)  # first: whatever else is there may be large
        return huggingface_hub.snapshot_download(repository)
    except Exception as error:  # the hub's client has many of its own
        raise hub_failure(name, error, "a pack of src/pack.py in a folder") from error


def go_offline_if_unreachable() -> None:
    """Fail fast without internet: the hub client would retry each file for half a minute. Cached files still load."""
    if not constants.HF_HUB_OFFLINE:
        constants.HF_HUB_OFFLINE = bool(why_unreachable())


def why_unreachable() -> str:
    """Why the hub, at HF_ENDPOINT and through whatever proxy, does not answer within PROBE_SECONDS; "" if it does."""
    reasons = []

    def ask() -> None:
        try:
            status = huggingface_hub.get_session().head(constants.ENDPOINT, timeout=PROBE_SECONDS).status_code
            reasons.append(f"the proxy answers {status}" if status in NO_WAY_THROUGH else "")
        except (HTTPError, OSError) as error:
            reasons.append(_on_one_line(error) or type(error).__name__)

    # In a thread, since no timeout bounds the look-up of a host's name.
    probe = threading.Thread(target=ask, daemon=True)
    probe.start()
    probe.join(PROBE_SECONDS + 1)
    return reasons[0] if reasons else f"no answer within {PROBE_SECONDS:.0f} seconds"


def hub_failure(name: str, error: Exception, offline: str) -> Exception:
    """What to raise when loading `name` failed with `error`; `offline` names what loads without a hub."""
    remedy = f"Works offline: {offline}"
    if "trust_remote_code" in str(error):
        return ValueError(
            f"{name!r} comes with a program of its own, which is never run here: take a model of an architecture that "
            f"the libraries have. {remedy}"
        )
    if "Weights only load failed" in str(error):
        return ValueError(
            f"{name!r} has weights in a pickle of more than tensors, which could run a program and is not read: take "
            f"weights in safetensors. {remedy}"
        )
    if os.path.isdir(name):
        return ValueError(f"{name!r} could not be loaded: {_on_one_line(error)}. {remedy}")
    if constants.HF_HUB_OFFLINE:
        return ConnectionError(f"{name!r} is not on this machine and the model hub cannot be reached. {remedy}")
    causes = [cause for cause in _causes(error) if isinstance(cause, HTTPError | EntryNotFoundError)]
    cause = next((cause for cause in causes if isinstance(cause, HfHubHTTPError)), causes[0] if causes else None)
    if cause is None:
        return ValueError(f"{name!r} could not be loaded: {_on_one_line(error)}. {remedy}")
    if isinstance(cause, GatedRepoError):
        return ValueError(f"{name!r} is gated: accept its terms at {constants.ENDPOINT}, then hf auth login. {remedy}")
    status = cause.response.status_code if isinstance(cause, HfHubHTTPError) else None
    if isinstance(cause, EntryNotFoundError) and status == 404:
        return ValueError(f"{name!r} on the hub lacks a file that is needed: {_on_one_line(cause)}. {remedy}")
    if status in (401, 403, 404):
        return ValueError(
            f"{constants.ENDPOINT} shows no {name!r} ({status}): check the name; a private one needs hf auth login, "
            f"and a token that has run out (HF_TOKEN) a new one. {remedy}"
        )
    return ConnectionError(
        f"{name!r} could not be had from {constants.ENDPOINT}: {_on_one_line(cause)}. "
        f"Run it again: files that came whole are kept. {remedy}"
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and what led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _on_one_line(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"its configuration lacks {error}"
    return shortened(" ".join(str(error).split()).rstrip("."), 200)
