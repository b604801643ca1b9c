"""A pack on the hub: pushed there as it lies in its folder, and loaded again by `hf-hub:org/name`."""

from pathlib import Path

from clipknight.messages import shortened
from clipknight.packs import check_pack

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, LocalTokenNotFoundError


def push_pack(pack: Path, repository: str) -> str:
    """Upload a whole pack to `org/name`, made private if it is new; the address. ValueError, ConnectionError."""
    manifest = check_pack(pack, every_byte=True)
    message = f"{manifest['run']}, packed by clipknight {manifest['clipknight']}"
    api = huggingface_hub.HfApi(endpoint=constants.ENDPOINT)
    try:
        api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=pack, commit_message=message)
    except HFValidationError as error:
        raise ValueError(f"--push {shortened(repository)} is no name on the hub: give org/name") from error
    except (HfHubHTTPError, LocalTokenNotFoundError) as error:
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else 401
        if status in (401, 403, 404):
            raise ValueError(
                f"{constants.ENDPOINT} lets nobody push to {repository!r} without a token that may write there "
                f"({status}): hf auth login, or HF_TOKEN, and check the name"
            ) from error
        raise _not_reached(repository, error) from error
    except (HTTPError, OSError) as error:
        raise _not_reached(repository, error) from error
    return f"{constants.ENDPOINT}/{repository}"


def _not_reached(repository: str, error: Exception) -> ConnectionError:
    words = shortened(" ".join(str(error).split()), 160)
    return ConnectionError(f"{repository!r} could not be pushed to {constants.ENDPOINT} ({words}): push it again")
