"""AdamW as the published recipes use it."""

import contextlib
import re

import keras
from keras import ops

from keras_pointpeft.ops import accelerators
from keras_pointpeft.ops import replicas
from keras_pointpeft.serialization import serializable


def decays(variable) -> bool:
    """Whether weight decay applies to a variable.

    The published rule exempts parameters with one axis, biases, and those
    whose own name contains "token" (the class and mask tokens). The class
    token's position, prompts and every other matrix decay.
    """
    name = variable.name
    one_axis = len(variable.shape) <= 1
    return not (one_axis or name.endswith("bias") or "token" in name)


def decay_groups(model) -> tuple[list, list]:
    """Splits the trainable variables of a model for weight decay.

    A model, or its backbone, may name further exceptions as regular
    expressions of variable paths, in an attribute `undecayed`.

    Args:
        model: a built Keras model.

    Returns:
        Two lists of variables, `(decayed, not_decayed)`.

    Example:
    ```python
    from keras_pointpeft import training

    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    decayed, not_decayed = training.decay_groups(model)
    ```
    """
    exempt = list(getattr(model, "undecayed", ()))
    exempt += getattr(getattr(model, "backbone", None), "undecayed", ())
    decayed, not_decayed = [], []
    for variable in model.trainable_variables:
        path = variable.path
        spared = any(re.search(pattern, path) for pattern in exempt)
        group = decayed if decays(variable) and not spared else not_decayed
        group.append(variable)
    return decayed, not_decayed


def undecayed_paths(model):
    """Paths of a compiled model's variables that weight decay leaves alone.

    Keras saves an optimizer without them.
    """
    optimizer = _innermost(model.optimizer)
    if getattr(optimizer, "weight_decay", None) is None:
        return []
    return [
        variable.path
        for variable in model.trainable_variables
        if not optimizer._use_weight_decay(variable)
    ]


def exclude(optimizer, variables, paths):
    """Excludes variables from weight decay by path, before `build`.

    Args:
        optimizer: a `keras.optimizers.Optimizer`.
        variables: list of variables.
        paths: the paths of those to exclude, of which some may be elsewhere.
    """
    paths = set(paths)
    if spared := [v for v in variables if v.path in paths]:
        _innermost(optimizer).exclude_from_weight_decay(var_list=spared)


def _innermost(optimizer):
    return getattr(optimizer, "inner_optimizer", optimizer)


class _ClippedTogether:
    """An optimizer that clips all gradients of a batch at once.

    Torch spends less time on that. On several devices of tensorflow, Keras
    would clip what each of them found in its part of the batch before it adds
    that up, so that what is learnt would depend on how many there are.

    On torch it also adds up gradients over several batches by itself: which
    batch updates is known to the host, which need not ask the device. Its
    config has the paths of what weight decay leaves alone, which that of
    Keras' optimizers has not.
    """

    # How many batches make an update, while one of them is made.
    _every = None
    # How many batches there have been, if somebody keeps count.
    _batches = None

    def __init__(self, *args, undecayed=(), **kwargs):
        super().__init__(*args, **kwargs)
        self.undecayed = tuple(undecayed)

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        super().exclude_from_weight_decay(var_list, var_names)
        self.undecayed = tuple(variable.path for variable in var_list or ())

    def build(self, variables):
        if not self.built:
            exclude(self, variables, self.undecayed)
        super().build(variables)

    def get_config(self):
        return {**super().get_config(), "undecayed": self.undecayed}

    def apply(self, grads, trainable_variables=None):
        if self._adds_up(grads):
            self._add_up(list(grads), list(trainable_variables))
            return
        if self.global_clipnorm and replicas.sees_a_part():
            norm = self.global_clipnorm * (self.loss_scale_factor or 1.0)
            # Keras clips each share once more and finds it short enough.
            super().apply(shares(grads, norm), trainable_variables)
            return
        clip = self._fast_clip(grads)
        if clip is None:
            super().apply(grads, trainable_variables)
            return
        norm, self.global_clipnorm = self.global_clipnorm, None
        try:
            super().apply(clip(grads, norm), trainable_variables)
        finally:
            self.global_clipnorm = norm

    def _fast_clip(self, grads):
        """The function for it; None if Keras must look at them one by one."""
        plain = (
            self.global_clipnorm
            and self.gradient_accumulation_steps is None
            and self.loss_scale_factor is None
            and not any(gradient is None for gradient in grads)
        )
        return accelerators.find("clip_by_global_norm") if plain else None

    @property
    def iterations(self):
        made = super().iterations
        return made if self._every is None else made // self._every

    @property
    def batches(self):
        """int, the batches so far. Asking for it waits for the device."""
        return int(self.variables[0].numpy())

    @contextlib.contextmanager
    def counted(self, batches):
        """Within it, `apply` is told how many batches there have been."""
        self._batches = batches
        try:
            yield
        finally:
            self._batches = None

    def _adds_up(self, grads):
        return (
            self.gradient_accumulation_steps is not None
            and self.loss_scale_factor is None
            and not self.use_ema
            and accelerators.find("add_up") is not None
            and not any(gradient is None for gradient in grads)
        )

    def _add_up(self, grads, variables):
        if not self.built:
            self.build(variables)
        every = self.gradient_accumulation_steps
        sums = [
            v.value
            for v in self.variables
            if v.name.endswith("gradient_accumulator")
        ]
        before = self.batches if self._batches is None else self._batches
        if self._batches is not None:
            self._batches += 1
        add_up = accelerators.find("add_up")
        if (before + 1) % every:
            add_up(sums, grads)
            self.variables[0].assign_add(1)
            return
        means = add_up(sums, grads, every)
        self._every, self.gradient_accumulation_steps = every, None
        try:
            self.apply(means, variables)
        finally:
            self._every, self.gradient_accumulation_steps = None, every


def shares(grads, norm):
    """Shares of gradients that are clipped by the norm of the whole batch's.

    Args:
        grads: list of tensors or None, what a device of tensorflow found in
            its part of the batch.
        norm: float. The most that the sums over all devices may have.

    Returns:
        list of tensors or None, the same on each device, of which Keras takes
        the sums.
    """
    sums = replicas.sums([g for g in grads if g is not None])
    squares = [ops.sum(ops.square(ops.cast(x, "float32"))) for x in sums]
    length = ops.maximum(ops.sqrt(sum(squares)), norm)
    factor = norm / (length * replicas.sharing())
    clipped = iter([x * ops.cast(factor, x.dtype) for x in sums])
    return [None if g is None else next(clipped) for g in grads]


def _made_class(optimizer):
    """The class of the instances that Keras makes of a class.

    On torch they are of another one, which updates all variables together.
    What is derived from the class itself goes through them one by one, and
    takes eight times as long. The instance here gets no variables: those would
    settle the backend's devices when the package is imported.
    """
    return type(optimizer.__new__(optimizer))


_Adam = _made_class(keras.optimizers.Adam)
_AdamW = _made_class(keras.optimizers.AdamW)


@serializable
class Adam(_ClippedTogether, _Adam):
    """`keras.optimizers.Adam`; torch spends less time on clipping."""


@serializable
class AdamW(_ClippedTogether, _AdamW):
    """`keras.optimizers.AdamW`; torch spends less time on clipping."""


@serializable
class TwiceAdamW(AdamW):
    """AdamW that makes two steps with the gradients of a batch.

    The first without clipping, the second with it: what the published loops
    of Point-MAE, ACT, ReCon, PointGPT, IDPT and PPT for segmentation do.
    """

    def apply(self, grads, trainable_variables=None):
        clip, self.global_clipnorm = self.global_clipnorm, None
        try:
            super().apply(grads, trainable_variables)
        finally:
            self.global_clipnorm = clip
        super().apply(grads, trainable_variables)


def make_optimizer(
    model,
    learning_rate=5e-4,
    weight_decay=0.05,
    clip_norm=10.0,
    gradient_accumulation=1,
    beta_1=0.9,
    beta_2=0.999,
    epsilon=1e-8,
    double_step=False,
) -> keras.optimizers.Optimizer:
    """AdamW with the decay groups and the clipping of the published recipes.

    The groups are those of the model's trainable variables now: make the
    optimizer after everything that freezes or unfreezes.

    Args:
        model: a built Keras model.
        learning_rate: float, the rate until somebody sets another; or a
            `keras.optimizers.schedules.LearningRateSchedule`.
        weight_decay: float or None. Decoupled weight decay.
        clip_norm: float or None. The gradients of all variables together are
            scaled down to this norm.
        gradient_accumulation: int. How many batches make one update; their
            gradients are averaged.
        beta_1: float. Decay of the first moment.
        beta_2: float. Decay of the second moment.
        epsilon: float. Added to the root of the second moment.
        double_step: bool. Whether every batch makes two steps, see
            `keras_pointpeft.step.optimizer.TwiceAdamW`.

    Returns:
        A `keras.optimizers.AdamW`; a `keras.optimizers.Adam`, which is the
        same without decay, if nothing decays. Both are of classes of this
        module.

    Raises:
        ValueError: if nothing in the model is trainable.

    Example:
    ```python
    from keras_pointpeft import training

    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    optimizer = training.make_optimizer(model, learning_rate=1e-3)
    model.compile(optimizer, loss="auto")
    ```
    """
    decayed, not_decayed = decay_groups(model)
    if not decayed and not not_decayed:
        raise ValueError(
            "The model has no trainable variable, so there is nothing to "
            f"optimize. Received: model={model.name!r}"
        )
    if gradient_accumulation < 1:
        raise ValueError(
            "`gradient_accumulation` must be at least 1. "
            f"Received: gradient_accumulation={gradient_accumulation}"
        )
    arguments = {
        "learning_rate": learning_rate,
        "beta_1": beta_1,
        "beta_2": beta_2,
        "epsilon": epsilon,
        "global_clipnorm": clip_norm,
        "gradient_accumulation_steps": (
            gradient_accumulation if gradient_accumulation > 1 else None
        ),
    }
    # The torch backend decays all variables in one operation, which fails if
    # there are none.
    decays_nothing = not weight_decay or not decayed
    if double_step:
        optimizer = TwiceAdamW(weight_decay=weight_decay or 0.0, **arguments)
    elif decays_nothing:
        return Adam(**arguments)
    else:
        optimizer = AdamW(weight_decay=weight_decay, **arguments)
    optimizer.exclude_from_weight_decay(var_list=not_decayed)
    return optimizer
