"""`train`: a task, two splits and a recipe in, figures out."""

import dataclasses
import datetime
import os

import keras
from absl import logging

from keras_pointpeft.data import FollowEpoch
from keras_pointpeft.data.contract import contract_of
from keras_pointpeft.ops import replicas
from keras_pointpeft.step.optimizer import make_optimizer
from keras_pointpeft.step.precision import float32_products
from keras_pointpeft.training import averages
from keras_pointpeft.training import parallel
from keras_pointpeft.training import stem_cache
from keras_pointpeft.training.alone import alone_in
from keras_pointpeft.training.budget import settled
from keras_pointpeft.training.budget import warn_if_short
from keras_pointpeft.training.callbacks import BestEpoch
from keras_pointpeft.training.callbacks import EpochLog
from keras_pointpeft.training.callbacks import EpochSeed
from keras_pointpeft.training.callbacks import EpochTimer
from keras_pointpeft.training.callbacks import StopOnNaN
from keras_pointpeft.training.callbacks import TensorBoardLog
from keras_pointpeft.training.checkpoint import TrainingCheckpoint
from keras_pointpeft.training.checkpoint import identity
from keras_pointpeft.training.checkpoint import schedule_of
from keras_pointpeft.training.objective import check_source
from keras_pointpeft.training.objectives import objective_of
from keras_pointpeft.training.outcome import TrainingResult
from keras_pointpeft.training.outcome import measured
from keras_pointpeft.training.recipe import Recipe
from keras_pointpeft.training.schedule import CosineOfUpdates
from keras_pointpeft.training.schedule import CosineWithWarmup
from keras_pointpeft.training.schedule import RateLog
from keras_pointpeft.training.telling import telling_epochs
from keras_pointpeft.version import __version__

STATE_FILE, LOG_FILE = "state.npz", "log.csv"


def train(
    model,
    train_split,
    test_split,
    recipe: Recipe,
    log_dir=None,
    resume: bool = True,
    callbacks=(),
    tensorboard: bool = False,
    cache=None,
    about=None,
) -> TrainingResult:
    """Trains a task by a recipe and measures it on the test split.

    In data-parallel training (`keras_pointpeft.training.parallel`) every
    process calls it with the same arguments; `recipe.batch_size` is that of
    all together, the first process alone writes, and all of them read the
    state, so that `log_dir` must be a folder that they share.

    The model is compiled anew. Afterwards it has the weights of the selected
    epoch, and its `contract` says what it was trained on. A rate that moves by
    update (`recipe.schedule`) has then come to its end: compile it once more
    before a `fit` of your own. What a recipe leaves open, `"auto"`, `updates`
    and `"balanced"`, is decided by the training split. The test split decides
    nothing, unless the recipe says `selection="best_on_test"`.

    Args:
        model: a classifier that returns logits, such as a
            `keras_pointpeft.models.PointCloudClassifier`, or a
            `keras_pointpeft.models.PartSegmenter` or `SemanticSegmenter`.
        train_split: `keras_pointpeft.data.Split`; of scenes, a list of
            `keras_pointpeft.data.Room`.
        test_split: the same, with the same classes.
        recipe: `Recipe`.
        log_dir: optional directory for `log.csv`, one line per epoch, and
            `state.npz`, the state of the run after its last whole epoch. A
            finished run is extended by a recipe with more epochs; its rate
            then follows the longer schedule from there on.
        resume: bool. Whether to go on from the `state.npz` in `log_dir`, if
            there is one. False starts over.
        callbacks: further Keras callbacks. Their own state is not kept over
            an interruption. Those that set the learning rate need
            `Recipe(schedule="epoch")`.
        tensorboard: bool. Whether to write event files to `log_dir`.
        cache: None, `"memory"` or a directory. What training leaves as it is
            of a cloud, such as neighbours and the patch tokens of a frozen
            encoder, is then computed once per cloud and kept in memory, or in
            memory-mapped files, which later runs find. The recipe must show
            the same clouds in each epoch: `augmentation="none"` and
            `sampling="fps"` or `"first"`.
        about: optional dict of arguments of `keras_pointpeft.data.Contract`,
            what clouds and recipe do not say. A state of a run from another
            `"backbone"`, where both say theirs, is of another run.

    Returns:
        A `TrainingResult`.

    Raises:
        ValueError: if model, recipe and splits do not fit each other, the
            state in `log_dir` is of another run, another run is writing
            there, or the recipe leaves nothing to keep in a cache.
        NotANumber: if the loss becomes NaN or infinite.

    Example:
    ```python
    from keras_pointpeft import training

    model = keras_pointpeft.from_preset(
        "dapt_pointmaetiny_shapes", load_weights="backbone"
    )
    shapes = keras_pointpeft.data.load_shapes
    result = training.train(
        model,
        shapes(num_clouds=40),
        shapes(num_clouds=40, split="test"),
        training.Recipe(epochs=10),
    )
    model.save_adapter("my_task")
    ```
    """
    _check(model, train_split, test_split, recipe, log_dir, tensorboard)
    about = about or {}
    with alone_in(log_dir), float32_products(recipe.precision):
        recipe = settled(recipe, model, train_split)
        state_path = os.path.join(log_dir or "", STATE_FILE)
        recipe = _paced(recipe, state_path if log_dir and resume else None)
        _check_callbacks(recipe, callbacks)
        objective = objective_of(model)
        learned, watched = _parts(objective, train_split, test_split, recipe)
        batches = objective.training_batches(learned, recipe)
        compile_for(model, recipe, objective, len(batches))
        warn_if_short(recipe, len(batches))
        if replicas.count() > 1:
            batches.shard = (replicas.rank(), replicas.count())
        shown = objective.fixed_batches(watched, recipe) if watched else None
        fitted = model
        if cache is not None:
            model.make_ready(training=True)
            fitted, batches, shown = stem_cache.apply(
                model, batches, shown, cache
            )
            compile_for(fitted, recipe, objective, len(batches))
        best = None if watched is None else BestEpoch(objective.figure)
        state = TrainingCheckpoint(
            state_path,
            identity(fitted, recipe, train_split, about.get("backbone")),
            best,
        )
        start = 0
        if log_dir is not None:
            start = state.restore(fitted) if resume else 0
            if replicas.mean_of_numbers([start]) != [start]:
                raise ValueError(
                    "The processes do not see the same state to go on from; "
                    "`log_dir` must be a folder that they share. "
                    f"Received: log_dir={str(log_dir)!r}"
                )
        if start:
            logging.info("Going on after epoch %d of %d", start, recipe.epochs)
        model.contract = contract_of(
            train_split,
            recipe,
            version=__version__,
            date=datetime.date.today().isoformat(),
            **about,
        )
        if start < recipe.epochs:
            steps = len(batches) * (recipe.epochs - start)
            with (
                parallel.synchronized(fitted),
                telling_epochs(recipe.epochs, steps) as telling,
            ):
                others = [*callbacks, *([telling] if parallel.writes() else ())]
                fitted.fit(
                    batches,
                    epochs=recipe.epochs,
                    initial_epoch=start,
                    validation_data=shown,
                    shuffle=False,  # the data set shuffles clouds, not batches
                    verbose=0,
                    callbacks=_callbacks(
                        recipe,
                        batches,
                        best,
                        state,
                        log_dir,
                        others,
                        tensorboard,
                    ),
                )
        return measured(
            objective,
            learned,
            test_split,
            recipe,
            best,
            state.history,
            fitted.variables,
            lambda: _settle(fitted, batches, recipe),
        )


def compile_for(model, recipe: Recipe, objective=None, steps=None):
    """Compiles a task with a recipe's optimizer and loss.

    Args:
        model: the task, or the rest of one behind a cache.
        recipe: `Recipe`.
        objective: optional `Objective` of the task. Needed for its rest.
        steps: int or None, batches of an epoch. With them, the rate of a
            recipe that moves it by update is a schedule; else it is the peak
            rate until a callback sets another.
    """
    parallel.check(recipe)
    objective = objective or objective_of(model)
    model.compile(
        optimizer=make_optimizer(
            objective.model,
            _rate(recipe, steps),
            recipe.weight_decay,
            recipe.clip_norm,
            recipe.gradient_accumulation,
            recipe.beta_1,
            recipe.beta_2,
            recipe.epsilon,
            recipe.double_step,
        ),
        loss=objective.loss(recipe),
        metrics=objective.metrics(),
    )


def _paced(recipe, state_path):
    """A recipe whose schedule is decided: a run that goes on keeps its own."""
    pace = recipe.moves_by
    if recipe.schedule == "auto" and state_path is not None:
        pace = schedule_of(state_path) or pace
    return dataclasses.replace(recipe, schedule=pace)


def _rate(recipe, steps):
    """What the optimizer begins with: a number, or a schedule of its own."""
    if steps is None or recipe.moves_by == "epoch":
        return recipe.learning_rate
    if recipe.double_step:
        steps *= 2
    return CosineOfUpdates(
        recipe.learning_rate,
        steps * (recipe.cosine_epochs or recipe.epochs),
        steps * recipe.warmup_epochs,
        recipe.warmup_learning_rate,
        recipe.min_learning_rate,
    )


def _settle(model, batches, recipe):
    """What a short run needs before it is measured."""
    if recipe.moves_by == "epoch":
        return
    renewed = averages.RenewedAverages(batches, _seed(recipe))
    renewed.settle(model, recipe.epochs)


def _seed(recipe):
    return EpochSeed(recipe.seed, replicas.rank())


def _parts(objective, train_split, test_split, recipe):
    """What is trained on, and what is watched to select an epoch."""
    if recipe.selection == "held_out":
        parts = objective.hold_out(train_split, recipe)
        if len(parts[1]) == 0:
            raise ValueError(
                "The training split is too small to hold a part out. Use "
                "selection='last' or a larger `held_out_fraction`. Received: "
                f"{len(train_split)} clouds, "
                f"held_out_fraction={recipe.held_out_fraction}"
            )
        return parts
    if recipe.selection == "best_on_test":
        return train_split, test_split
    return train_split, None


def _callbacks(recipe, batches, best, state, log_dir, others, tensorboard):
    found = [
        _rate_callback(recipe),
        FollowEpoch(batches),
        _seed(recipe),
        EpochTimer(),
        parallel.MeanOfReplicas(),
        StopOnNaN(state.path if log_dir is not None else None),
    ]
    if best is not None:
        if recipe.moves_by == "update":
            found.append(averages.RenewedAverages(batches, _seed(recipe)))
        found.append(best)
    found.extend(others)
    if tensorboard and parallel.writes():
        found.append(TensorBoardLog(log_dir))
    if log_dir is None or not parallel.writes():
        # No state is written, but the epochs' figures are collected.
        collect = keras.callbacks.LambdaCallback(on_epoch_end=state.note)
        return [*found, collect]
    log = EpochLog(os.path.join(log_dir, LOG_FILE), state.history)
    return [*found, state, log]


def _rate_callback(recipe):
    if recipe.moves_by == "update":
        return RateLog()
    return CosineWithWarmup(
        recipe.learning_rate,
        recipe.cosine_epochs or recipe.epochs,
        recipe.warmup_epochs,
        recipe.warmup_learning_rate,
        recipe.min_learning_rate,
    )


def _check_callbacks(recipe, callbacks):
    setting = (
        keras.callbacks.LearningRateScheduler,
        keras.callbacks.ReduceLROnPlateau,
    )
    names = [type(x).__name__ for x in callbacks if isinstance(x, setting)]
    if names and recipe.moves_by == "update":
        raise ValueError(
            "The learning rate of this run moves at every update, and cannot "
            "be set by a callback; use Recipe(schedule='epoch'). Received: "
            f"callbacks={names}"
        )


def _check(model, train_split, test_split, recipe, log_dir, tensorboard):
    objective_of(model).check(train_split, test_split)
    check_source(train_split, test_split)
    policies = {part.dtype_policy.name for part in model.layers if part.weights}
    if recipe.dtype not in policies:
        raise ValueError(
            f"The dtype policies of the model are {sorted(policies)}; build "
            f"it with `dtype={recipe.dtype!r}` or change the recipe. "
            f"Received: dtype={recipe.dtype!r}"
        )
    if tensorboard and log_dir is None:
        raise ValueError(
            "TensorBoard logs need a `log_dir`. Received: log_dir=None"
        )
