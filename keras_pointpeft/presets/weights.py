"""Where the weights of built-in presets are, and how they are loaded."""

import urllib.parse

from absl import logging

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


def load_pretrained(backbone, description):
    """Loads the pre-trained weights under whatever a method added.

    Args:
        backbone: a backbone, with or without a method.
        description: the `PresetDescription` that it was built from.

    Raises:
        WeightsNotFound: if the backbone has no pre-trained weights.
    """
    from keras_pointpeft.adapters.copying import copy_weights

    entry = cards.read_weights().get(description.pretrained)
    if entry is None:
        raise not_found(description.pretrained)
    changes = {"peft": None}
    if hasattr(backbone, "use_class_token"):
        changes["use_class_token"] = True  # as it was pre-trained
    if getattr(backbone, "extra_channels", 0):
        changes["extra_channels"] = 0
    plain = backbone.clone(weights=False, **changes)
    load_file(plain, entry, description.pretrained)
    copy_weights(plain, backbone)


def load_file(model, entry, name):
    """Loads a built-in preset's weights, wherever they are.

    Args:
        model: the model, built.
        entry: dict, what `weights.json` says of the weights.
        name: string, the preset.
    """
    path = find_file(entry)
    logging.info("%s: loading %s", name, path)
    if entry["format"] == "pth":
        from keras_pointpeft import checkpoints

        report = checkpoints.load_into(model, path)
        logging.info("%s: %s", name, report)
    elif entry["format"] == "adapter":
        load_pretrained(model.backbone, resolve(name))
        model.load_adapter(path)
    else:
        model.load_weights(path)


def find_file(entry):
    """Returns the path of published weights, downloading them if needed.

    Args:
        entry: dict, what `weights.json` says of the weights.

    Returns:
        `pathlib.Path`.

    Raises:
        WeightsNotFound: if a file that the zoo should ship is not there.
        DownloadError: if a file cannot be downloaded, or is not the right
            one.
    """
    if "browser" in entry:
        raise WeightsNotFound(
            "The authors publish these weights where only a browser gets "
            "them. Download the file, convert it with\n"
            "  python scripts/convert_checkpoint.py --checkpoint=FILE "
            "--output=DIR\nand give `from_preset` the directory. "
            f"Received: {entry['browser']}"
        )
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
    location = urllib.parse.urlsplit(url).path.lstrip("/")
    cached = downloads.cache_directory() / location
    return downloads.fetch(url, cached, entry.get("sha256"))


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
    return WeightsNotFound(
        f"No weights are published for {name!r}. Ways on:\n"
        "1) convert a checkpoint (.pth) that you have with "
        "scripts/convert_checkpoint.py, and give `from_preset` the folder\n"
        "2) start from random weights: `load_weights=False`\n"
        f"3) take a preset that has weights: {published}\n"
        f"Received: preset={name!r}"
    )
