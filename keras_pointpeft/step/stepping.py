"""What a model needs so that its steps run as this room decides."""

import keras

from keras_pointpeft.step.running import Running
from keras_pointpeft.step.running import why_eager


class Stepping:
    """Mixed into a Keras model before it; see `keras_pointpeft.step_report`.

    On torch, `fit`, `evaluate`, `predict` and the functions for one batch
    replay each step after it ran three times with the same shapes: on a GPU as
    one CUDA graph, on a CPU as the list of its operators.
    `compile(run_eagerly=True)`, or the environment with
    `KERAS_POINTPEFT_DISABLE=cudagraph,recording`, turns that off.
    """

    def make_train_function(self, force=False):
        return self._make("train", super().make_train_function, force)

    def make_test_function(self, force=False):
        return self._make("test", super().make_test_function, force)

    def make_predict_function(self, force=False):
        return self._make("predict", super().make_predict_function, force)

    def _make(self, kind, make, force):
        made = make(force)
        name = f"{kind}_function"
        function = getattr(self, name)
        if keras.config.backend() != "torch":
            return made
        if isinstance(function, Running):
            function.refresh()
        else:
            setattr(self, name, Running(self, kind, function))
        return made

    def train_step(self, *args, **kwargs):
        if keras.config.backend() != "torch":
            return super().train_step(*args, **kwargs)
        from keras_pointpeft.step.train_step import train_step

        return train_step(self, *args, **kwargs)


def step_report(model) -> dict:
    """How the steps of a model run, as far as they ran.

    Args:
        model: a task or a model for pre-training.

    Returns:
        dict from `"train"`, `"test"` and `"predict"` to a list of dicts, one
        for each shape of a batch: `"shapes"`, `"runs"` (`"graph"` on a GPU,
        `"recorded"` on a CPU, `"eager"`, or `"warming up"` while the first
        steps run as they are) and `"why"`, a string, for what is eager. A
        model none of whose steps are kept, as on other backends, has one such
        dict under `"all"`.

    Example:

    >>> keras_pointpeft.step_report(model)
    {'all': [{'shapes': None, 'runs': 'eager', 'why': 'the backend is jax'}]}
    """
    reason = why_eager(model)
    if reason is not None:
        return {"all": [{"shapes": None, "runs": "eager", "why": reason}]}
    report = {}
    for kind in ("train", "test", "predict"):
        running = getattr(model, f"{kind}_function", None)
        if isinstance(running, Running):
            report[kind] = running.report()
    return report
