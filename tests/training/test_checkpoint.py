import dataclasses
import json
import zlib

import keras
import numpy as np
import pytest

from keras_pointpeft.data import Room
from keras_pointpeft.data import Split
from keras_pointpeft.peft import DAPT
from keras_pointpeft.training import Recipe
from keras_pointpeft.training import TrainingCheckpoint
from keras_pointpeft.training import train
from keras_pointpeft.training.checkpoint import data_digest
from keras_pointpeft.training.checkpoint import identity
from tests.conftest import small_classifier
from tests.faults import inject
from tests.faults import report

RECIPE = Recipe(
    epochs=4,
    batch_size=8,
    learning_rate=1e-2,
    warmup_epochs=1,
    num_points=12,
    held_out_fraction=0.25,
    seed=7,
)


class Kill(keras.callbacks.Callback):
    """Stops the run in the middle of an epoch, as a signal would."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.where = (epoch, batch)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.where:
            raise KeyboardInterrupt


def values(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [np.array(keras.ops.convert_to_numpy(v)) for v in variables]


def killed_after(epochs, make_model, make_split, recipe, log_dir):
    split = make_split()
    with pytest.raises(KeyboardInterrupt):
        train(
            make_model(),
            split,
            make_split(seed=1),
            recipe,
            log_dir=log_dir,
            callbacks=[Kill(epochs, 1)],
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"gradient_accumulation": 3},
        {"schedule": "epoch"},
        pytest.param({"selection": "last"}, marks=pytest.mark.slow),
        pytest.param(
            {"selection": "best_on_test", "weight_decay": 0.0},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["held_out", "by_epoch", "last", "best_on_test"],
)
def test_resumed_run_ends_with_the_same_bits(
    make_model, make_split, tmp_path, changes
):
    recipe = dataclasses.replace(RECIPE, **changes)
    split, test = make_split(), make_split(seed=1)
    straight = make_model()
    expected = train(straight, split, test, recipe)

    killed_after(2, make_model, make_split, recipe, tmp_path)
    keras.utils.set_random_seed(99)  # another process has other seeds
    resumed = make_model()
    for variable in resumed.variables:  # and nothing of the first model
        variable.assign(keras.ops.ones(variable.shape, variable.dtype))
    result = train(resumed, split, test, recipe, log_dir=tmp_path)

    for a, b in zip(values(straight), values(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [row["epoch"] for row in result.history] == [0, 1, 2, 3]
    for a, b in zip(expected.history, result.history, strict=True):
        assert {**a, "seconds": 0} == {**b, "seconds": 0}
    assert result.best_epoch == expected.best_epoch
    assert result.best_accuracy == expected.best_accuracy
    assert result.last_accuracy == expected.last_accuracy


def without_schedule(path):
    """Makes a state as earlier versions wrote it, which did not know of it."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    meta = json.loads(arrays["meta"].tobytes())
    assert meta["identity"].pop("schedule") == "epoch"
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), "uint8")
    np.savez(path, **arrays)


@pytest.mark.once
def test_an_earlier_run_goes_on_by_epoch(make_model, make_split, tmp_path):
    """And is the same run to the last bit, though it is short."""
    by_epoch = dataclasses.replace(RECIPE, schedule="epoch")
    split, test = make_split(), make_split(seed=1)
    straight = make_model()
    train(straight, split, test, by_epoch)
    killed_after(2, make_model, make_split, by_epoch, tmp_path)
    without_schedule(tmp_path / "state.npz")
    resumed = make_model()
    assert RECIPE.moves_by == "update"
    result = train(resumed, split, test, RECIPE, log_dir=tmp_path)
    assert result.schedule == "epoch"
    for a, b in zip(values(straight), values(resumed), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.once
def test_another_schedule_is_another_run(make_model, make_split, tmp_path):
    killed_after(2, make_model, make_split, RECIPE, tmp_path)
    recipe = dataclasses.replace(RECIPE, schedule="epoch")
    with pytest.raises(ValueError, match="schedule: 'update' there"):
        train(
            make_model(),
            make_split(),
            make_split(seed=1),
            recipe,
            log_dir=tmp_path,
        )


@pytest.mark.once
def test_a_short_run_that_becomes_long_keeps_its_schedule(
    make_model, make_split, tmp_path
):
    short = dataclasses.replace(RECIPE, epochs=2, selection="last")
    split, test = make_split(), make_split(seed=1)
    train(make_model(), split, test, short, log_dir=tmp_path)
    longer = dataclasses.replace(short, epochs=16)
    assert longer.moves_by == "epoch"
    result = train(make_model(), split, test, longer, log_dir=tmp_path)
    assert result.schedule == "update"
    assert len(result.history) == 16
    rates = [row["learning_rate"] for row in result.history]
    assert rates[-1] == pytest.approx(longer.min_learning_rate)


@pytest.mark.once
def test_two_seeds_differ(make_model, make_split):
    split, test = make_split(), make_split(seed=1)
    losses = [
        train(
            make_model(),
            split,
            test,
            dataclasses.replace(
                RECIPE,
                epochs=1,
                warmup_epochs=0,
                selection="last",
                seed=seed,
            ),
        ).history[-1]["loss"]
        for seed in (0, 1)
    ]
    assert losses[0] != losses[1]


@pytest.mark.once
def test_a_finished_run_is_only_measured(make_model, make_split, tmp_path):
    recipe = dataclasses.replace(RECIPE, epochs=2)
    split, test = make_split(), make_split(seed=1)
    first = train(make_model(), split, test, recipe, log_dir=tmp_path)
    again = train(make_model(), split, test, recipe, log_dir=tmp_path)
    assert again == first


@pytest.mark.once
def test_without_resume_it_starts_over(make_model, make_split, tmp_path):
    recipe = dataclasses.replace(RECIPE, epochs=2, selection="last")
    killed_after(1, make_model, make_split, recipe, tmp_path)
    result = train(
        make_model(),
        make_split(),
        make_split(seed=1),
        recipe,
        log_dir=tmp_path,
        resume=False,
    )
    assert [row["epoch"] for row in result.history] == [0, 1]


@pytest.mark.once
def test_state_of_another_run_is_refused(make_model, make_split, tmp_path):
    recipe = dataclasses.replace(RECIPE, selection="last")
    killed_after(1, make_model, make_split, recipe, tmp_path)
    split, test = make_split(), make_split(seed=1)
    other_recipe = dataclasses.replace(recipe, learning_rate=1e-4)
    with pytest.raises(
        ValueError, match=r"learning_rate: 0.01 there, 0.0001 here"
    ):
        train(make_model(), split, test, other_recipe, log_dir=tmp_path)
    frozen = make_model()
    frozen.layers[1].kernel.trainable = False
    with pytest.raises(ValueError, match="model: .* there, .* here"):
        train(frozen, split, test, recipe, log_dir=tmp_path)
    other_split = make_split(seed=5)
    with pytest.raises(ValueError, match="data: '48 clouds"):
        train(make_model(), other_split, test, recipe, log_dir=tmp_path)


@pytest.mark.once
def test_a_run_from_another_start_is_another_run(
    make_model, make_split, tmp_path
):
    recipe = dataclasses.replace(
        RECIPE, selection="last", epochs=1, warmup_epochs=0
    )
    split, test = make_split(), make_split(seed=1)

    def run(**about):
        return train(
            make_model(), split, test, recipe, log_dir=tmp_path, about=about
        )

    first = run(backbone="backbone")
    with pytest.raises(
        ValueError, match="start.weights: 'backbone' there, 'random' here"
    ):
        run(backbone="random")
    # Who does not say goes on, and so does who says the same.
    for about in ({}, {"backbone": "backbone"}):
        assert run(**about).history == first.history


@pytest.mark.once
def test_a_run_of_other_parts_is_another_run():
    rng = np.random.default_rng(0)
    split = Split(
        rng.normal(size=(4, 8, 3)),
        np.zeros(4),
        ("chair",),
        part_labels=rng.integers(0, 2, (4, 8)),
    )
    other = dataclasses.replace(split, part_labels=1 - split.part_labels)
    model = small_classifier()
    found = [identity(model, RECIPE, x) for x in (split, other)]
    differing = [name for name in found[0] if found[0][name] != found[1][name]]
    assert differing == ["data.part_labels"]
    # A state of before there was this is believed.
    earlier = {k: v for k, v in found[0].items() if k not in differing}
    meta = {"format": 1, "keras_backend": keras.backend.backend()}
    state = TrainingCheckpoint("state.npz", found[1])
    state._check({**meta, "epochs_done": 1, "identity": earlier})
    with pytest.raises(ValueError, match="data.part_labels"):
        state._check({**meta, "epochs_done": 1, "identity": found[0]})


@pytest.mark.once
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"text"])
def test_a_damaged_file_is_refused(make_model, make_split, tmp_path, content):
    (tmp_path / "state.npz").write_bytes(content)
    with pytest.raises(ValueError, match="no training checkpoint"):
        train(
            make_model(),
            make_split(),
            make_split(seed=1),
            RECIPE,
            log_dir=tmp_path,
        )


@pytest.mark.once
def test_a_kill_while_writing_leaves_the_last_state(
    make_model, make_split, tmp_path, monkeypatch
):
    recipe = dataclasses.replace(RECIPE, epochs=3, selection="last")
    savez, calls = np.savez, []

    def cut_off(file, **arrays):
        calls.append(file)
        if len(calls) == 2:
            file.write_bytes(b"half")
            raise KeyboardInterrupt
        savez(file, **arrays)

    split, test = make_split(), make_split(seed=1)
    monkeypatch.setattr(np, "savez", cut_off)
    with pytest.raises(KeyboardInterrupt):
        train(make_model(), split, test, recipe, log_dir=tmp_path)
    monkeypatch.undo()
    resumed, straight = make_model(), make_model()
    result = train(resumed, split, test, recipe, log_dir=tmp_path)
    train(straight, split, test, recipe)
    assert [row["epoch"] for row in result.history] == [0, 1, 2]
    for a, b in zip(values(straight), values(resumed), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.once
def test_every_damage_to_a_state_is_refused(make_model, make_split, tmp_path):
    recipe = dataclasses.replace(
        # By update, a model would end with other averages than the state has.
        RECIPE,
        epochs=1,
        warmup_epochs=0,
        selection="last",
        schedule="epoch",
    )
    split, test = make_split(), make_split(seed=1)
    model = make_model()
    train(model, split, test, recipe, log_dir=tmp_path)
    expected = values(model)
    state = TrainingCheckpoint(
        tmp_path / "state.npz", identity(model, recipe, split)
    )

    def unchanged():
        for a, b in zip(values(model), expected, strict=True):
            np.testing.assert_array_equal(a, b)

    def load():
        state.restore(model)
        unchanged()

    table = inject(tmp_path / "state.npz", load, unchanged)
    report("state.npz", table)


@pytest.mark.once
@pytest.mark.parametrize("what", ["epochs", "updates"])
def test_a_finished_run_is_extended(make_model, make_split, tmp_path, what):
    split, test = make_split(), make_split(seed=1)
    steps = 1 if what == "epochs" else -(-len(split) // RECIPE.batch_size)
    short = dataclasses.replace(RECIPE, selection="last", **{what: 2 * steps})
    first = train(make_model(), split, test, short, log_dir=tmp_path)
    assert len(first.history) == 2
    longer = dataclasses.replace(short, **{what: 4 * steps}, warmup_epochs=1)
    model = make_model()
    result = train(model, split, test, longer, log_dir=tmp_path)
    assert len(result.history) == 4
    assert result.history[:2] == first.history
    rates = [row["learning_rate"] for row in result.history]
    straight = train(make_model(), split, test, longer)
    # From there on, the rate is that of the longer run.
    expected = [row["learning_rate"] for row in straight.history]
    assert rates[2:] == expected[2:]


@pytest.mark.once
def test_an_unfinished_run_is_not_taken_for_a_shorter_one(
    make_model, make_split, tmp_path
):
    split, test = make_split(), make_split(seed=1)
    recipe = dataclasses.replace(RECIPE, selection="last")
    killed_after(2, make_model, make_split, recipe, tmp_path)
    longer = dataclasses.replace(recipe, epochs=8)
    with pytest.raises(ValueError, match="belongs to another run.*epochs: 4"):
        train(make_model(), split, test, longer, log_dir=tmp_path)


@pytest.mark.once
def test_a_run_with_another_dropout_is_another_run(make_split):
    split = make_split()
    one, other = (
        identity(small_classifier(DAPT(rank=4, dropout=rate)), RECIPE, split)
        for rate in (0.1, 0.3)
    )
    differing = {name for name in one if one[name] != other[name]}
    assert differing == {"peft.dropout"}


@pytest.mark.once
def test_the_digest_of_data_is_that_of_all_bytes():
    """In the order that state files of earlier versions have it in."""
    rng = np.random.default_rng(0)
    points = rng.random((300, 8, 3), "float32")
    colors = rng.random((300, 8, 1), "float32")
    split = Split(points, np.arange(300) % 3, "abc", channels=colors)
    room = Room(points[:, 0], split.labels, "a", channels=colors[:, 0])
    bare = Room(points[:, 1], split.labels, "b")
    labels = split.labels.tobytes()
    for data, count, parts in (
        (split, "300 clouds", (labels, points, colors)),
        (
            [room, bare],
            "2 rooms",
            (points[:, 0], labels, colors[:, 0], points[:, 1], labels),
        ),
    ):
        whole = b"".join(
            part if isinstance(part, bytes) else part.tobytes()
            for part in parts
        )
        assert data_digest(data) == f"{count}, {zlib.crc32(whole):08x}"
