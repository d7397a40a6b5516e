"""Where the weights of built-in presets are, and how they are loaded."""

import os
import urllib.parse

from keras_pointpeft.files import downloads
from keras_pointpeft.presets import cards
from keras_pointpeft.presets.names import resolve


class WeightsNotFound(FileNotFoundError):
    """A preset has no weights to load.

    Example:
    ```python
    try:
        model = keras_pointpeft.from_preset("pointmaetiny_shapes")
    except keras_pointpeft.presets.WeightsNotFound as error:
        print(error)  # what is missing, and the ways on
    ```
    """


def plain_backbone(backbone):
    """The backbone without its method, as it was pre-trained."""
    changes = {"peft": None}
    if hasattr(backbone, "use_class_token"):
        changes["use_class_token"] = True
    if getattr(backbone, "extra_channels", 0):
        changes["extra_channels"] = 0
    return backbone.clone(weights=False, **changes)


def find_file(entry, name):
    """Returns the path of published weights, downloading them if needed.

    Args:
        entry: dict, what `weights.json` says of the weights.
        name: string, the preset.

    Returns:
        `pathlib.Path`.

    Raises:
        WeightsNotFound: if a file that the zoo should ship is not there, or
            only a browser gets it.
        DownloadError: if a file cannot be downloaded, or is not the right
            one.
    """
    if "browser" in entry:
        return _find_by_hand(entry, name)
    if "file" in entry:
        paths = [
            folder / "weights" / entry["file"] for folder in cards.folders()
        ]
        path = next((path for path in paths if path.exists()), paths[0])
        if not path.exists():
            raise WeightsNotFound(
                "The zoo's card names weights that this installation does "
                f"not have. Received: {path}"
            )
        _check_shipped(path, entry.get("sha256"))
        return path
    url = entry["url"]
    location = urllib.parse.urlsplit(url).path.strip("/")
    cached = downloads.cache_directory() / location
    try:
        return downloads.fetch(url, cached, entry.get("sha256"))
    except downloads.DownloadError as error:
        source = entry.get("source")
        if source is None:
            raise
        raise downloads.DownloadError(
            f"{error}\n4) if the release has moved, its authors' page may say "
            f"where to: {source}"
        ) from error


def _find_by_hand(entry, name):
    """Weights that somebody has put into the cache, or that a mirror has."""
    cached = downloads.cache_directory() / "by_hand" / f"{name}.pth"
    page = entry["browser"]
    if os.environ.get(downloads.MIRROR_VARIABLE) and not cached.exists():
        url = f"https://{downloads.BY_HAND}/by_hand/{name}.pth"
        return downloads.fetch(url, cached, entry.get("sha256"))
    if cached.exists():
        return downloads.fetch(page, cached, entry.get("sha256"))
    raise WeightsNotFound(
        f"Only a browser gets these weights: {page}\nWays on, with the file:\n"
        f"1) put it at {cached}\n"
        f"2) name it: from_preset({name!r}, load_weights=FILE)\n"
        "3) convert it: python scripts/convert_checkpoint.py "
        f"--checkpoint=FILE --preset={name} --output=DIR\n"
        f"4) set {downloads.MIRROR_VARIABLE} to a mirror that has it as "
        f"by_hand/{name}.pth\n"
        f"Received: preset={name!r}"
    )


def _check_shipped(path, sha256):
    if sha256 and (found := downloads.sha256_of(path)) != sha256:
        raise ValueError(
            f"{path} has been changed since it was published. "
            f"Expected: sha256 {sha256}. Received: {found}"
        )


def not_found(name):
    published = ", ".join(
        name
        for name, entry in sorted(cards.read_weights().items())
        if "browser" not in entry
    )
    card = cards.read_cards("backbones").get(resolve(name).backbone, {})
    note = f" {card['note']}" if "note" in card else ""
    return WeightsNotFound(
        f"No weights are published for {name!r}.{note} Ways on:\n"
        "1) name a file (.pth, .safetensors) that you have, "
        "`load_weights=FILE`, or convert it to a preset of your own with "
        "scripts/convert_checkpoint.py\n"
        "2) start from random weights: `load_weights=False`\n"
        f"3) take a preset that has weights: {published}\n"
        f"Received: preset={name!r}"
    )
