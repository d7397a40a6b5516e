"""What lies on a hub, as a folder on this machine."""

import os
import pathlib


def download(handle):
    """Fetches a preset directory from a hub.

    Args:
        handle: string, `"hf://owner/name"` or
            `"kaggle://owner/model/keras/variation"`.

    Returns:
        string, the path of the local copy.

    Raises:
        ValueError: for another kind of handle.
        ImportError: if the hub's client is not installed.
    """
    scheme, _, name = handle.partition("://")
    if scheme == "hf" and name.count("/") == 1:
        import huggingface_hub

        # Configs and weights alone: nothing that could run is fetched.
        return huggingface_hub.snapshot_download(
            name, allow_patterns=["*.json", "*.h5"]
        )
    if scheme == "kaggle" and name.count("/") in (3, 4):
        import kagglehub

        return kagglehub.model_download(name)
    raise ValueError(
        "A handle has the form 'hf://owner/name' or "
        "'kaggle://owner/model/keras/variation[/version]'. "
        f"Received: {handle!r}"
    )


def download_file(handle):
    """Fetches one file from a hub.

    Args:
        handle: string, `"hf://owner/name/file"`, where the file may be in a
            folder.

    Returns:
        string, the path of the local copy.

    Raises:
        ValueError: for another kind of handle.
        ImportError: if the hub's client is not installed.
    """
    scheme, _, name = handle.partition("://")
    parts = name.split("/", 2)
    if scheme != "hf" or len(parts) < 3 or not all(parts):
        raise ValueError(
            "The handle of a file has the form 'hf://owner/name/file'. "
            f"Received: {handle!r}"
        )
    import huggingface_hub

    return huggingface_hub.hf_hub_download("/".join(parts[:2]), parts[2])


def local_directory(path):
    """The directory of an adapter, fetched if it is on a hub.

    Args:
        path: path, or `"hf://owner/name"`.

    Returns:
        `pathlib.Path`.
    """
    if "://" in os.fspath(path):
        path = download(os.fspath(path))
    return pathlib.Path(path)
