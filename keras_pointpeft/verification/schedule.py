"""Compares the learning-rate schedule with the published one."""

import json
import pathlib

import numpy as np

from keras_pointpeft.training.schedule import cosine_with_warmup

TOLERANCE = 1e-9


def verify_lr_schedule(case_dir) -> list[tuple[str, float, float]]:
    """Compares `cosine_with_warmup` with the rates of a reference case.

    Args:
        case_dir: path of a directory with `manifest.json`, whose `"settings"`
            name the schedules, and `data.npz` with one array of rates, one
            per epoch, for each of them.

    Returns:
        A list of `(what, largest difference, tolerance)`. The difference is
        relative to the schedule's peak rate.
    """
    case_dir = pathlib.Path(case_dir)
    manifest = json.loads((case_dir / "manifest.json").read_text())
    results = []
    with np.load(case_dir / "data.npz") as arrays:
        for name, settings in manifest["settings"].items():
            peak = settings["base_lr"]
            rates = [
                cosine_with_warmup(
                    epoch, peak, settings["t_initial"], settings["warmup_t"]
                )
                for epoch in range(settings["epochs_run"])
            ]
            difference = np.max(np.abs(np.array(rates) - arrays[name])) / peak
            results.append((name, float(difference), TOLERANCE))
    return results
