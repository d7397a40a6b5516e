"""A step of every method and task can be kept.

On a CPU as the list of its operators, which does what Keras' own way does, bit
for bit; and it does nothing that the capture of a CUDA graph forbids.
"""

import keras
import numpy as np
import pytest

from keras_pointpeft import from_preset
from keras_pointpeft import step_report
from keras_pointpeft.ops import disable_accelerators

if keras.config.backend() != "torch":
    pytest.skip("graphs are of torch", allow_module_level=True)

import torch

from keras_pointpeft.ops.accelerators.torch_step import Constants
from keras_pointpeft.ops.accelerators.torch_step import NewConstant
from keras_pointpeft.step import running
from keras_pointpeft.step.optimizer import make_optimizer
from keras_pointpeft.step.recorded import Forbidden
from tests.step.cases import cases
from tests.step.cases import cases_by_time

STEPS = 5
# Of a step of DAPT, views aside. The aim is 700; each block has 18 products.
MOST_OPERATORS = 1028
# Methods whose steps wait for the device within, and what says so.
EAGER = {"pointgst": "_linalg_eigh"}


def trained(name):
    keras.utils.set_random_seed(0)
    model, inputs, labels = cases()[name]()
    keras.utils.set_random_seed(1)
    logs = [
        model.train_on_batch(inputs, labels, return_dict=True)
        for _ in range(STEPS)
    ]
    return model, logs, inputs


@pytest.mark.parametrize("name", cases_by_time())
def test_a_recorded_step_is_the_step(name, monkeypatch):
    with disable_accelerators("recording"):
        plain, plain_logs, _ = trained(name)

    def read():
        raise AssertionError("The state of a generator is read.")

    monkeypatch.setattr(torch, "get_rng_state", read)
    model, logs, inputs = trained(name)
    rows = step_report(model)["train"]
    if name in EAGER:
        assert {row["runs"] for row in rows} == {"eager"}, rows
        assert EAGER[name] in rows[0]["why"]
    else:
        assert {row["runs"] for row in rows} <= {"recorded", "warming up"}, rows
    assert logs == plain_logs
    for ours, theirs in zip(model.weights, plain.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), ours.path)
    found = [model.predict_on_batch(inputs) for _ in range(4)]
    if name not in ("masked", "masked_blocks", "generative", "hierarchical"):
        with disable_accelerators("recording"):
            expected = keras.tree.flatten(plain.predict_on_batch(inputs))
        for ours, theirs in zip(keras.tree.flatten(found[-1]), expected):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.once
def test_a_step_has_few_operators():
    """The full twelve blocks; their widths do not change the number."""
    model = from_preset(
        "dapt_pointmae_scanobjectnn",
        load_weights=False,
        dim=24,
        encoder_dims=(8, 16, 32),
        num_groups=8,
        group_size=4,
    )
    model.compile(make_optimizer(model))
    clouds = np.random.default_rng(0).uniform(-1, 1, (2, 32, 3))
    with disable_accelerators("recording"):
        model.train_on_batch(clouds, np.arange(2))
        with Forbidden() as looking:
            model.train_on_batch(clouds, np.arange(2))
    assert 500 < looking.count <= MOST_OPERATORS


def test_reading_values_is_found():
    x = torch.arange(4.0)
    with Forbidden() as looking:
        float(x[0])
        x[x > 1]
        torch.nonzero(x)
        x[torch.tensor([0, 1])] + 1
        torch.linalg.eigh(torch.eye(2))
    assert sum(looking.found.values()) == 5
    assert "_local_scalar_dense" in looking.reason()


def test_constants_are_made_once():
    array = np.arange(3.0)
    with Constants() as constants:
        first = torch.as_tensor(array), torch.as_tensor(0.5), torch.tensor([1])
        second = torch.as_tensor(array), torch.as_tensor(0.5), torch.tensor([1])
    assert all(a is b for a, b in zip(first, second))
    array[:] = 7.0
    assert first[0].tolist() == [0.0, 1.0, 2.0]
    with Constants(constants.made, fixed=True):
        assert torch.as_tensor(0.5) is first[1]
        assert float(torch.as_tensor(0.25)) == 0.25
        with pytest.raises(NewConstant, match="Received"):
            torch.as_tensor(array)


def test_a_step_that_reads_runs_eagerly_and_says_why():

    class Reads(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return y_pred * float(y_pred.sum() > 0)

    model, inputs, labels = cases()["linear"]()
    model.compile("adam", Reads())
    for _ in range(4):
        model.train_on_batch(inputs, labels)
    (row,) = step_report(model)["train"]
    assert row["runs"] == "eager" and "_local_scalar_dense" in row["why"]


def test_shapes_have_graphs_of_their_own(monkeypatch):
    monkeypatch.setattr(running, "MAX_GRAPHS", 1)
    model, inputs, labels = cases()["linear"]()
    for size in (4, 4, 4, 4, 3, 3):
        model.train_on_batch(inputs[:size], labels[:size])
    rows = step_report(model)["train"]
    assert [row["runs"] for row in rows] == ["recorded", "eager"]
    assert rows[0]["shapes"] == [(4, 64, 3), (4,)]
    assert "1 other shapes" in rows[1]["why"]
    # Compiled anew, it starts anew.
    model.compile("adam", "auto")
    model.train_on_batch(inputs, labels)
    assert len(step_report(model)["train"]) == 1


def test_variables_that_moved_make_another_record():
    model, inputs, _ = cases()["linear"]()
    for _ in range(4):
        before = model.predict_on_batch(inputs)
    assert step_report(model)["predict"][0]["runs"] == "recorded"
    variable = model.trainable_variables[-1]
    data = variable.value.data
    # Not the same for all channels: a norm would take that away.
    change = torch.linspace(0.0, 1.0, data.numel()).reshape(data.shape)
    variable.value.data = data + change
    after = model.predict_on_batch(inputs)
    assert step_report(model)["predict"][0]["runs"] == "warming up"
    assert np.abs(after - before).max() > 1e-3


def test_what_trains_may_change():
    model, inputs, labels = cases()["linear"]()
    for _ in range(5):
        model.train_on_batch(inputs, labels)
    assert step_report(model)["train"][0]["runs"] == "recorded"
    layer = model.get_layer("head")
    variables = layer.trainable_variables
    layer.trainable = False
    before = [variable.numpy().copy() for variable in variables]
    model.train_function([(inputs, labels)])
    for variable, value in zip(variables, before):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_tensors_from_nowhere_are_found():
    from keras_pointpeft.step.recorded import Recorded

    def function(inputs):
        return [inputs[0] + torch.from_numpy(np.ones(2, "float32"))]

    recorded = Recorded(function, [torch.zeros(2)], [])
    assert "no operator made" in recorded.reason
    assert recorded()[0].tolist() == [1.0, 1.0]


def test_a_record_of_several_tensors_names_and_changes():
    """What an operator gives: two tensors, a list, the same one, and none."""
    from keras_pointpeft.step.recorded import Recorded

    def function(inputs):
        top, places = inputs[0].topk(2)
        _, second = inputs[0].detach().split(2)
        torch._foreach_add_([top], 1.0)
        return [top.mul_(second), places, second.detach()]

    inputs = [torch.tensor([1.0, 4.0, 2.0, 3.0])]
    expected = function(inputs)
    recorded = Recorded(function, inputs, [])
    assert recorded.reason is None
    for ours, theirs in zip(recorded(), expected, strict=True):
        assert torch.equal(ours, theirs)
    inputs[0].copy_(torch.tensor([5.0, 1.0, 7.0, 0.5]))
    for ours, theirs in zip(recorded(), function(inputs), strict=True):
        assert torch.equal(ours, theirs)


def test_a_draw_that_nobody_reads_is_drawn():
    from keras_pointpeft.step.recorded import Recorded

    def function(inputs):
        torch.rand(3)
        return [inputs[0] * torch.rand(2)]

    inputs = [torch.ones(2)]
    recorded = Recorded(function, inputs, [])
    recorded()  # what recording gave
    torch.manual_seed(0)
    found = recorded()[0]
    torch.manual_seed(0)
    assert torch.equal(found, function(inputs)[0])


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: x + float(x.sum()), "gives the host a value"),
        (
            lambda x: x + torch.rand(2, generator=torch.Generator()),
            "an operator is given a Generator",
        ),
    ],
)
def test_what_a_record_cannot_hold(function, reason):
    from keras_pointpeft.step.recorded import Recorded

    recorded = Recorded(lambda xs: [function(xs[0])], [torch.ones(2)], [])
    assert reason in recorded.reason


def test_it_can_be_turned_off():
    model, inputs, labels = cases()["linear"]()
    with disable_accelerators("recording"):
        model.train_on_batch(inputs, labels)
        (row,) = step_report(model)["all"]
    assert row["runs"] == "eager" and "recording" in row["why"]
    model.compile("adam", "auto", run_eagerly=True)
    assert "run_eagerly" in step_report(model)["all"][0]["why"]
