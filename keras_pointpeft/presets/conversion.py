"""Turns a published checkpoint into a preset directory, and proves it."""

import pathlib

import numpy as np
from keras import ops

from keras_pointpeft.checkpoints.layouts.registry import FINE_TUNED
from keras_pointpeft.checkpoints.loading import build
from keras_pointpeft.checkpoints.loading import load_into
from keras_pointpeft.checkpoints.reader import read_checkpoint
from keras_pointpeft.checkpoints.sources import identify
from keras_pointpeft.checkpoints.transfer import CheckpointMismatch
from keras_pointpeft.checkpoints.writer import published_state
from keras_pointpeft.files.progress import telling
from keras_pointpeft.files.whole import whole_folder
from keras_pointpeft.peft.method import weights_of
from keras_pointpeft.presets.construction import build as build_preset
from keras_pointpeft.presets.directory import load
from keras_pointpeft.presets.names import resolve
from keras_pointpeft.presets.published import published_mode


@telling("converting")
def convert(path, output, preset=None):
    """Converts a published checkpoint to a directory for `from_preset`.

    The directory appears under its name only after it has been read back and
    compared: every weight bit by bit, the outputs for random clouds, and
    what the model writes back in the published layout with the file itself.

    Args:
        path: path of the file, see `read_checkpoint`.
        output: directory to write; must not exist, or be empty.
        preset: optional string. The preset that the file belongs to; by
            default the model is told from the file.

    Returns:
        The model and the `TransferReport`.

    Raises:
        CheckpointRefused: if the file cannot be read as tensors.
        CheckpointMismatch: if it does not fit, or comes back changed.
        FileExistsError: if `output` is there already.
    """
    output = pathlib.Path(output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FileExistsError(
            f"The output is there already. Received: {str(output)!r}"
        )
    state = read_checkpoint(path)
    if preset is None:
        model, report = build(state)
    else:
        model = _model_of(preset, state)
        report = load_into(model, state)
    _compare_with_file(model, report, state)
    with whole_folder(output) as made:
        model.save_to_preset(made)
        _compare_with_directory(model, made)
    return model, report


def _model_of(preset, state):
    description = resolve(preset)
    source, state = identify(state, description.backbone_class)
    if source.stage != FINE_TUNED and description.method is not None:
        raise CheckpointMismatch(
            f"The file is {source.title}: a backbone alone. Convert it as "
            f"{description.pretrained!r}; tuned presets start from that. "
            f"Received: preset={preset!r}"
        )
    if description.method is not None:
        description = published_mode(description, source, state)
    return build_preset(description)


def _compare_with_file(model, report, state):
    backbone = getattr(model, "backbone", model)
    source, state = identify(state, type(backbone).__name__)
    written = published_state(model)
    changed = [
        name
        for name in report.used
        if not np.array_equal(
            written[name.removeprefix(source.prefix)],
            np.asarray(state[name], "float32"),
        )
    ]
    if changed:
        raise CheckpointMismatch(
            f"{len(changed)} tensors come back changed. Received: "
            f"{changed[:8]}"
        )


def _compare_with_directory(model, directory):
    again = load(directory)
    weights = weights_of(again)
    changed = [
        path
        for path, variable in weights_of(model).items()
        if path not in weights
        or not np.array_equal(
            ops.convert_to_numpy(variable),
            ops.convert_to_numpy(weights[path]),
        )
    ]
    backbone = getattr(model, "backbone", model)
    count = 4 * backbone.fewest_points
    rng = np.random.default_rng(0)
    points = rng.uniform(-1.0, 1.0, (2, count, 3)).astype("float32")
    for ours, theirs in zip(_flat(model(points)), _flat(again(points))):
        if not (np.all(np.isfinite(ours)) and np.allclose(ours, theirs, 1e-5)):
            changed.append("the outputs for random clouds")
    if changed:
        raise CheckpointMismatch(
            "What was written does not come back as it was. Received: "
            f"{changed[:8]}"
        )


def _flat(outputs):
    if isinstance(outputs, dict):
        outputs = [outputs[name] for name in sorted(outputs)]
    else:
        outputs = [outputs]
    return [ops.convert_to_numpy(value) for value in outputs]
