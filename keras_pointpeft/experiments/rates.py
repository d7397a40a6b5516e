"""A learning rate for each method: the same few are tried for all."""

import dataclasses
import math

from keras_pointpeft.experiments import runs
from keras_pointpeft.presets import results
from keras_pointpeft.training import objectives
from keras_pointpeft.training import trainer


def chosen(
    entrant,
    recipe,
    factors,
    train_split,
    dataset,
    path,
    weights="backbone",
    backbone_dir=None,
    num_classes=None,
    limit=None,
) -> float:
    """The learning rate with the best figure on held-out clouds.

    Each rate is tried once, on the training split without a held-out part,
    with the recipe's epochs and seed; the last epoch's figure on that part
    decides, and of equal ones the rate that is nearest to the recipe's. The
    test split has no say.

    Args:
        entrant: `keras_pointpeft.experiments.comparison.Entrant`.
        recipe: `Recipe`, whose rate the factors multiply.
        factors: tuple of floats, the same for all methods.
        train_split: `keras_pointpeft.data.Split`, or a list of rooms.
        dataset: string, the data set's name in the rows.
        path: CSV file of `results.RATES`, to which what was tried is added;
            what it has already is not tried again.
        weights: see `runs.build_model`.
        backbone_dir: likewise.
        num_classes: optional int, see `runs.task_arguments`.
        limit: int or None, what the split was limited to, for the rows.

    Returns:
        float.

    Raises:
        ValueError: if there are no factors, one is not positive and finite,
            or nothing is left to hold out.
    """
    if not factors or not all(0 < x < math.inf for x in factors):
        raise ValueError(
            "The factors of the learning rate must be positive numbers. "
            f"Received: {factors}"
        )
    tried = []
    for factor in factors:
        rate = float(f"{factor * recipe.learning_rate:.6g}")
        run = dataclasses.replace(recipe, learning_rate=rate, selection="last")
        about = {
            "preset": entrant.preset.name,
            "changes": entrant.changes_text,
            "dataset": dataset,
            "seed": run.seed,
            "epochs": run.epochs,
            "factor": factor,
            "learning_rate": rate,
            "protocol": runs.protocol_of(recipe, entrant.preset, limit),
            "weights": backbone_dir or weights,
        }
        row = results.find(results.read(path, results.RATES), about)
        if row is None:
            found = _try(
                entrant, run, train_split, weights, backbone_dir, num_classes
            )
            row = {**about, **found}
            results.append_row(path, row, results.RATES)
        far = abs(math.log(factor))
        tried.append((float(row["held_out"]), -far, rate))
    return max(tried)[-1]


def _try(entrant, recipe, train_split, weights, backbone_dir, num_classes):
    model = entrant.model(
        recipe, train_split, train_split, weights, backbone_dir, num_classes
    )
    objective = objectives.objective_of(model)
    learned, held = objective.hold_out(train_split, recipe)
    if len(held) == 0:
        raise ValueError(
            "The training split is too small to hold a part out, by which a "
            f"learning rate could be chosen. Received: {len(train_split)} "
            "clouds or rooms"
        )
    runs.prepare(model, learned, recipe)
    result = trainer.train(model, learned, held, recipe)
    return {
        "held_out": round(100 * result.figures[objective.figure], 2),
        "figure": objective.figure,
        "train_clouds": len(learned),
        "held_out_clouds": len(held),
        "seconds": round(sum(e["seconds"] for e in result.history), 1),
        **runs.origin(),
    }
