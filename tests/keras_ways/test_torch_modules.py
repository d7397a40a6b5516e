"""A task as torch's users take a module."""

import copy

import keras
import numpy as np
import pytest

from tests.keras_ways.promise import BACKEND
from tests.keras_ways.promise import clouds
from tests.keras_ways.promise import fit
from tests.keras_ways.promise import logits
from tests.keras_ways.promise import make_backbone
from tests.keras_ways.promise import make_task
from tests.keras_ways.promise import refuses

if BACKEND != "torch":
    pytest.skip("torch's own ways", allow_module_level=True)

import torch  # noqa: E402


def loop(module, parameters, steps=2):
    points, labels = map(torch.from_numpy, clouds())
    optimizer = torch.optim.AdamW(parameters, 0.01, weight_decay=0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(module(points), labels.long())
        loss.backward()
        optimizer.step()


def test_parameters_of_a_fresh_task(case):
    model = case.model
    count = {id(v.value) for v in model.weights}
    found = list(model.parameters())
    assert len({id(x) for x in found}) == len(found)
    assert len(found) >= len(model.trainable_weights)
    names = dict(model.named_parameters())
    trained = {id(v.value) for v in model.trainable_weights}
    asking = {id(x) for x in names.values() if x.requires_grad}
    assert asking == trained <= count
    state = model.state_dict()
    for variable in model.weights:
        assert any(
            x.data_ptr() == variable.value.data_ptr() for x in state.values()
        )
    assert len(list(model.backbone.parameters())) > 20


def test_a_backbone_alone():
    for peft in ("dapt", None):
        backbone = make_backbone(peft)
        asking = [x for x in backbone.parameters() if x.requires_grad]
        assert len(asking) == len(backbone.trainable_weights)
        assert len(backbone.state_dict()) >= len(backbone.weights)


def test_a_loop_over_what_asks(case):
    model = case.model
    loop(model, [x for x in model.parameters() if x.requires_grad])
    case.check(model)


def test_a_loop_over_everything(case):
    loop(case.model, case.model.parameters())
    case.check(case.model)


def test_inside_a_module(case):
    module = torch.nn.Sequential(case.model, torch.nn.Linear(3, 3))
    loop(module, module.parameters())
    case.check(case.model)


def test_train_and_eval(case):
    model = case.model
    before = [x.requires_grad for x in model.parameters()]
    expected = logits(model)
    model.train()
    model.eval()
    model.zero_grad()
    assert [x.requires_grad for x in model.parameters()] == before
    np.testing.assert_array_equal(logits(model), expected)
    case.check(model, moved=False)


def test_state_dict(case):
    fit(case.model)
    path = case.folder / "model.pt"
    torch.save(case.model.state_dict(), path)
    twin = make_task()
    found = twin.load_state_dict(torch.load(path, weights_only=True))
    assert not found.missing_keys and not found.unexpected_keys
    np.testing.assert_array_equal(logits(twin), logits(case.model))
    case.check(twin)
    other = make_task(seed=1)
    other.load_state_dict(torch.load(path, weights_only=True))
    np.testing.assert_array_equal(logits(other), logits(case.model))
    with refuses("peft=None.*remember_base"):
        with other.disable_adapters():
            pass


def test_a_whole_module(case):
    fit(case.model)
    path = case.folder / "model.pt"
    torch.save(case.model, path)
    found = torch.load(path, weights_only=False)
    np.testing.assert_array_equal(logits(found), logits(case.model))
    case.check(found)
    twin = copy.deepcopy(case.model)
    loop(twin, twin.parameters(), steps=1)
    case.check(twin)


def test_a_module_after_keras_has_changed_it(case):
    """Adapters and toggling leave torch's view as it should be."""
    model = case.model
    model.trainable = False
    assert not [x for x in model.parameters() if x.requires_grad]
    model.trainable = True
    asking = {id(x) for x in model.parameters() if x.requires_grad}
    assert asking == {id(v.value) for v in model.trainable_weights}
    fit(model)
    model.save_adapter(case.folder / "a")
    model.load_adapter(case.folder / "a")
    loop(model, model.parameters(), steps=1)
    case.check(model)


def test_gradients_asked_for_behind_keras(case):
    model = case.model
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    for act in (
        lambda: model.save_adapter(case.folder / "none"),
        lambda: fit(model),
    ):
        with refuses("requires_grad.*DAPT"):
            act()
    assert not (case.folder / "none").exists()


def test_a_plain_task_trains_whole():
    model = make_task(peft=None)
    asking = [x for x in model.parameters() if x.requires_grad]
    assert len(asking) == len(model.trainable_weights)
    before = logits(model)
    loop(model, model.parameters())
    assert not np.array_equal(logits(model), before)
    keras.utils.clear_session(free_memory=False)
