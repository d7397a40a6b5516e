"""TF32 while something runs, and what was set before afterwards."""

import keras
import pytest

from keras_pointpeft.step.precision import float32_products
from keras_pointpeft.training import Recipe
from keras_pointpeft.training import train
from keras_pointpeft.training.checkpoint import LATER
from tests.conftest import small_classifier

pytestmark = pytest.mark.long


def is_set():
    """Whether the backend would use TF32 on a GPU."""
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        return torch.backends.cuda.matmul.allow_tf32
    if backend == "jax":
        import jax

        return jax.config.jax_default_matmul_precision == "tensorfloat32"
    import tensorflow as tf

    return tf.config.experimental.tensor_float_32_execution_enabled()


@pytest.fixture(autouse=True)
def off():
    """What tensorflow has on from the start."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)
    yield
    tf.config.experimental.enable_tensor_float_32_execution(True)


def test_it_is_set_and_restored():
    assert not is_set()
    with float32_products("tf32"):
        assert is_set()
        with float32_products("float32"):
            assert is_set()  # which leaves things as they are
    assert not is_set()
    with pytest.raises(KeyError):
        with float32_products("tf32"):
            raise KeyError("lost")
    assert not is_set()
    with pytest.raises(ValueError, match="must be one of"):
        with float32_products("bfloat16"):
            pass


class Watch(keras.callbacks.Callback):
    """Notes the setting in a training, and ends it by an error if asked."""

    def __init__(self, fails=False):
        super().__init__()
        self.fails, self.seen = fails, set()

    def on_train_batch_end(self, batch, logs=None):
        self.seen.add(is_set())
        if self.fails:
            raise OSError("no space left")


@pytest.mark.parametrize("precision", ("tf32", "float32"))
def test_it_holds_for_a_training(precision, make_split):
    split = make_split(8)
    recipe = Recipe(
        epochs=1, batch_size=4, precision=precision, selection="last"
    )
    watch = Watch()
    train(small_classifier(), split, split, recipe, callbacks=[watch])
    assert watch.seen == {precision == "tf32"}
    assert not is_set()
    with pytest.raises(OSError):
        failing = Watch(fails=True)
        train(small_classifier(), split, split, recipe, callbacks=[failing])
    assert not is_set()


@pytest.mark.once
def test_one_choice_of_a_recipe():
    assert (Recipe().dtype, Recipe().precision) == ("float32", "float32")
    for recipe in (Recipe(precision="tf32"), Recipe(dtype="tf32")):
        assert (recipe.dtype, recipe.precision) == ("float32", "tf32")
    half = Recipe(precision="mixed_bfloat16")
    assert (half.dtype, half.precision) == ("mixed_bfloat16", "float32")
    with pytest.raises(ValueError, match="two policies.*mixed_float16"):
        Recipe(dtype="mixed_bfloat16", precision="mixed_float16")
    with pytest.raises(ValueError, match="`precision` must be one of"):
        Recipe(precision="tf64")
    assert LATER["precision"] == Recipe().precision
