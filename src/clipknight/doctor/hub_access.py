"""The model hub: whether it answers, or why not, and what was downloaded from it."""

import urllib.request
from urllib.parse import urlsplit

from clipknight.doctor.finding import Finding
from clipknight.doctor.kept import shown_size, size_of
from clipknight.hub import why_unreachable

from huggingface_hub import constants


def hub() -> Finding:
    """Within seconds; nothing is asked where an offline switch is set."""
    if constants.HF_HUB_OFFLINE:
        value = f"{constants.ENDPOINT} is not asked, for HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set"
        return Finding("hub", value, "unset it to download models; those in packages, folders and the hub's cache load")
    proxy = urllib.request.getproxies().get(urlsplit(constants.ENDPOINT).scheme, "")
    through = f" through {urlsplit(proxy).hostname}" if proxy else ""  # without the password that may be in it
    if why := why_unreachable():
        value = f"{constants.ENDPOINT} cannot be reached{through}: {why}"
        remedy = "HTTPS_PROXY names a proxy, HF_ENDPOINT a mirror, HF_HUB_OFFLINE=1 spares the wait"
        return Finding("hub", value, remedy, "missing")
    return Finding("hub", f"{constants.ENDPOINT} answers{through}")


def hub_cache() -> Finding:
    """It is the hub's own, for all programs: its own command clears it."""
    size = size_of(constants.HF_HUB_CACHE)
    remedy = "hf cache ls lists the models, hf cache rm deletes them" if size else ""
    return Finding("hub cache", f"{shown_size(size)} in {constants.HF_HUB_CACHE}", remedy)
