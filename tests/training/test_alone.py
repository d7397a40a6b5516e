"""Two runs do not write to one directory."""

import dataclasses
import subprocess
import sys

import keras
import pytest

from keras_pointpeft.training import Recipe
from keras_pointpeft.training import alone_in
from keras_pointpeft.training import train

pytestmark = pytest.mark.once

RECIPE = Recipe(
    epochs=2, batch_size=8, warmup_epochs=0, num_points=12, selection="last"
)
TAKEN = "Another run is writing to this directory.*Received: log_dir="


def test_a_second_run_changes_nothing(make_model, make_split, tmp_path):
    split, test = make_split(), make_split(seed=1)

    class Second(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch != 1:
                return
            before = files(tmp_path)
            for resume in (True, False):
                with pytest.raises(ValueError, match=TAKEN):
                    other = dataclasses.replace(RECIPE, epochs=1)
                    train(
                        make_model(),
                        split,
                        test,
                        other,
                        log_dir=tmp_path,
                        resume=resume,
                    )
            assert files(tmp_path) == before
            self.asked = True

    second = Second()
    run = (make_model(), split, test, RECIPE)
    result = train(*run, log_dir=tmp_path, callbacks=[second])
    assert second.asked and len(result.history) == 2
    # Behind it, the place is free.
    longer = dataclasses.replace(RECIPE, epochs=3)
    model = make_model()
    assert len(train(model, split, test, longer, log_dir=tmp_path).history) == 3


def test_a_run_that_fails_leaves_the_place(make_model, make_split, tmp_path):
    class Fail(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            raise KeyboardInterrupt

    run = (make_model(), make_split(), make_split(seed=1), RECIPE)
    with pytest.raises(KeyboardInterrupt):
        train(*run, log_dir=tmp_path, callbacks=[Fail()])
    with alone_in(tmp_path):
        pass


def test_a_process_that_is_killed_leaves_the_place(tmp_path):
    program = (
        "import sys, time\n"
        "from keras_pointpeft.training import alone_in\n"
        "with alone_in(sys.argv[1]):\n"
        "    print('mine', flush=True)\n"
        "    time.sleep(600)\n"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline().strip() == b"mine"
        with pytest.raises(ValueError, match=TAKEN):
            with alone_in(tmp_path):
                pass
    finally:
        process.kill()
        process.communicate()
    with alone_in(tmp_path) as folder:
        assert folder == tmp_path


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}
