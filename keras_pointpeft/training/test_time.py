"""An update for each cloud at test time, without labels."""

import keras
import numpy as np
from keras import ops

from keras_pointpeft.files.progress import Progress
from keras_pointpeft.peft.freezing import by_value
from keras_pointpeft.peft.lott import ViewAgreement
from keras_pointpeft.peft.lott import num_seen
from keras_pointpeft.serialization import positive_integer


class TestTimeUpdate:
    """Predicts each cloud after an update by its own masked view.

    Of a cloud, the backbone sees a view without some of the patches; what its
    method trains takes a step of Adam that brings view and whole closer. The
    cloud is then predicted, and everything is put back as it was: what is
    predicted of a cloud does not depend on the others. The views of all
    clouds lack the same patches, by number, which `seed` says.

    As in LoTT-PC (CVPR 2026), of which there is no published code: the
    optimizer and its rate are this package's choice.

    Args:
        task: a classifier with `keras_pointpeft.peft.LoTT`.
        masked: float in `(0, 1)`. Share of the patches that a view lacks.
        learning_rate: float. Rate of the update.
        updates: int. How many for each cloud.
        reset: bool. Whether everything is put back after each cloud, or the
            updates of all clouds add up, in their order.
        seed: int. Of the views.

    Raises:
        ValueError: if the task's method is another one, or `masked` or
            `updates` is out of range.

    Example:
    ```python
    from keras_pointpeft import training

    model = keras_pointpeft.from_preset(
        "lott_pointmaetiny_shapes", load_weights="backbone"
    )
    logits = training.TestTimeUpdate(model).predict(points)
    ```
    """

    __test__ = False  # It is no test, whatever its name.

    def __init__(
        self,
        task,
        masked=0.1,
        learning_rate=1e-4,
        updates=1,
        reset=True,
        seed=0,
    ):
        found = [
            layer
            for layer in task.backbone.layers
            if isinstance(layer, ViewAgreement)
        ]
        if not found:
            raise ValueError(
                "Updates at test time compare a cloud with views of it, which "
                "the method `keras_pointpeft.peft.LoTT` makes. "
                f"Received: a task with peft={task.backbone.peft!r}"
            )
        if not 0.0 < masked < 1.0:
            raise ValueError(
                f"`masked` must lie in (0, 1). Received: masked={masked!r}"
            )
        self.task = task
        self.masked = masked
        self.learning_rate = learning_rate
        self.updates = positive_integer("updates", updates)
        self.reset = reset
        self.seed = seed
        self._learner = _Learner(task.backbone, found[0])
        self._learner.compile(keras.optimizers.Adam(learning_rate))
        self._learner.optimizer.build(self._learner.trainable_variables)

    def predict(self, points):
        """The logits of each cloud after its update.

        Args:
            points: array `(clouds, points, 3)`.

        Returns:
            float32 array `(clouds, classes)`.
        """
        task = self.task
        task.make_ready()
        points = task.door.points(points)
        groups = task.backbone.num_groups
        rng = np.random.default_rng(self.seed)
        keep = rng.permutation(groups)[: num_seen(groups, self.masked)]
        keep = np.sort(keep)[None].astype("int32")
        state = [
            *self._learner.trainable_variables,
            *self._learner.optimizer.variables,
        ]
        before = [by_value(variable) for variable in state]
        logits = []
        with Progress("updates at test time", len(points)) as progress:
            for i in range(len(points)):
                cloud = np.asarray(points[i : i + 1], "float32")
                try:
                    for _ in range(self.updates):
                        self._learner.train_on_batch((cloud, keep))
                    logits.append(np.array(task.predict_on_batch(cloud)))
                finally:
                    if self.reset:
                        for variable, value in zip(state, before):
                            variable.assign(value)
                progress.advance()
        return np.concatenate(logits)


class _Learner(keras.Model):
    """The disagreement of views and wholes as a model's loss."""

    def __init__(self, backbone, layer):
        # TensorFlow wants no name with an underscore in front.
        super().__init__(name="test_time_learner")
        self.until = keras.Model(backbone.input, list(layer.input))
        self.layer = layer
        self.built = True

    def call(self, inputs, training=False):
        points, keep = inputs
        # As in inference: nothing is dropped, no statistics move.
        whole, tokens, positions = self.until(points, training=False)
        return self.layer.disagreement(whole, tokens, positions, keep)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        return ops.mean(y_pred)
