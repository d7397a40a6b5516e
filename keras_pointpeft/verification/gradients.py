"""Outputs, loss and gradients of any model, the same way on every backend."""

import keras
from keras import ops


def forward(model, *inputs):
    """What a built model computes, in inference.

    On jax as one program: to compile its operations one by one takes several
    times as long.

    Args:
        model: a built `keras.Model`.
        *inputs: what it is called with.

    Returns:
        What it returns.
    """
    if keras.config.backend() != "jax":
        return model(*inputs, training=False)
    import jax

    def run(trainable, state, *inputs):
        outputs, _ = model.stateless_call(
            trainable, state, *inputs, training=False
        )
        return outputs

    return jax.jit(run)(*_values(model), *inputs)


def value_and_gradients(model, loss_fn, training=False):
    """Evaluates a loss and its gradients.

    What the model's layers add to the loss is added here too.
    Batch statistics that move in training are left moved, as in `fit`.

    Args:
        model: a built `keras.Model`.
        loss_fn: function of `call(inputs)`, the model bound to the mode, that
            returns a scalar: `lambda call: mse(y, call(x))`.
        training: bool. The mode.

    Returns:
        The loss as a float, and a dict from variable path to gradient, as
        numpy arrays, for every trainable variable that has one.
    """
    variables = model.trainable_variables
    backend = keras.config.backend()
    if backend == "torch":
        for variable in variables:
            variable.value.grad = None
        loss = loss_fn(lambda *x: model(*x, training=training))
        loss = loss + sum(model.losses)
        loss.backward()
        gradients = [variable.value.grad for variable in variables]
    elif backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = loss_fn(lambda *x: model(*x, training=training))
            loss = loss + sum(model.losses)
        gradients = tape.gradient(loss, [v.value for v in variables])
    elif backend == "jax":
        loss, gradients = _jax_gradients(model, loss_fn, training)
    else:
        raise ValueError(
            "Gradients need the torch, tensorflow or jax backend. "
            f"Received: {backend}"
        )
    return float(ops.convert_to_numpy(loss)), {
        variable.path: ops.convert_to_numpy(gradient)
        for variable, gradient in zip(variables, gradients)
        if gradient is not None
    }


def _jax_gradients(model, loss_fn, training):
    import jax

    def run(trainable, state):
        moved, added = [], []

        def call(*inputs):
            outputs, after, losses = model.stateless_call(
                trainable,
                state,
                *inputs,
                training=training,
                return_losses=True,
            )
            moved.append(after)
            added.extend(losses)
            return outputs

        loss = loss_fn(call) + sum(added)
        return loss, (moved[-1] if moved else state)

    run = jax.jit(jax.value_and_grad(run, has_aux=True))
    (loss, state), gradients = run(*_values(model))
    for variable, value in zip(model.non_trainable_variables, state):
        variable.assign(value)
    return loss, gradients


def _values(model):
    """Those of the trainable variables and of the others."""
    return (
        [v.value for v in model.trainable_variables],
        [v.value for v in model.non_trainable_variables],
    )
