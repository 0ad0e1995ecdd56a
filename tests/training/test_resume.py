"""An interrupted run ends as one without a break: the same weights bit for bit, logs and counters of callbacks."""

import json

import keras
import kill_and_resume
import numpy as np
import pytest
import tiny
from resumable import EPOCHS, TIMES, Run, assert_same, state_of, without_times

from keras_transformer import parallel_corpus
from keras_transformer.training import Checkpoint, StopOnNaN
from keras_transformer.training.states import states_in

pytestmark = pytest.mark.usefixtures("determinism")


def test_an_interrupted_run_ends_bit_for_bit_as_one_without_a_break(unbroken, tmp_path, paths, tokenizer):
    """Interrupted twice inside an epoch, and once before an epoch's first state: variables and logs are the same."""
    whole, expected, history = unbroken
    keras.utils.set_random_seed(7)
    run = None
    for at in ((0, 9), (1, 6), (1, 1)):
        run = Run(tmp_path / "run", paths, tokenizer, after=run, again=whole)
        with pytest.raises(tiny.Broken):
            run.fit(tiny.BreakAt(*at))
        keras.utils.set_random_seed(8)  # a resumed run needs no seed
    last = Run(tmp_path / "run", paths, tokenizer)  # a new model
    found = last.fit()
    assert_same(state_of(last.model), expected)
    # The last process trained from the middle of the second epoch, and logged that epoch as a whole one.
    assert without_times(found) == {name: values[1:] for name, values in without_times(history).items()}
    assert all(value > 0 for name in TIMES for value in found[name])
    assert last.checkpoint.best == whole.checkpoint.best
    assert (last.stopping.best, last.stopping.wait) == (whole.stopping.best, whole.stopping.wait)
    assert (last.corpus.position.epoch, last.corpus.position.batch) == (EPOCHS, 0)

    again = Run(tmp_path / "run", paths, tokenizer)  # of a finished run, nothing is left to do
    assert again.fit() == {}
    assert_same(state_of(again.model), expected)
    longer = Run(tmp_path / "run", paths, tokenizer, after=last)
    more = longer.fit(epochs=EPOCHS + 1)
    assert [len(values) for values in more.values()] == [1] * len(more)
    assert int(longer.model.optimizer.iterations.numpy()) == (EPOCHS + 1) * longer.corpus.report.batches


def test_a_process_that_is_killed_resumes_when_it_is_started_again(tmp_path):
    """SIGKILL inside an epoch. The second start of the program ends with the weights of a program that ran through."""
    start = lambda folder, *options: tiny.python(kill_and_resume.__file__, "train", tmp_path / folder, *options)  # noqa: E731

    killed = start("run", "--kill-at", "8")
    assert killed.returncode == -9, killed.stderr
    assert states_in(tmp_path / "run" / "checkpoints", "step")
    assert not (tmp_path / "run" / "weights.json").exists()
    resumed = start("run")
    assert resumed.returncode == 0, resumed.stderr
    kill_and_resume.train(tmp_path / "whole")
    found, expected = (json.loads((tmp_path / run / "weights.json").read_text()) for run in ("run", "whole"))
    assert found["weights"] == expected["weights"]
    assert found["first"] == [0, 6] and expected["first"] == [0, 0]


def test_two_replicas_resume_within_an_epoch(tmp_path, paths, tokenizer):
    """Equal to 1e-5, because the order of sums is not fixed under a strategy."""
    strategy = tiny.two_replicas()
    keras.utils.set_random_seed(7)
    whole = Run(tmp_path / "whole", paths, tokenizer, strategy, valid=False)
    history = whole.fit(epochs=1)
    expected = state_of(whole.model)
    broken = Run(tmp_path / "run", paths, tokenizer, again=whole, valid=False)
    with pytest.raises(tiny.Broken):
        broken.fit(tiny.BreakAt(0, 6), epochs=1)
    keras.utils.set_random_seed(8)
    resumed = Run(tmp_path / "run", paths, tokenizer, after=broken, valid=False)
    found = resumed.fit(epochs=1)
    for name in ("loss", "accuracy", "perplexity", "target_tokens"):
        assert found[name] == pytest.approx(history[name], rel=1e-5)
    for (name, goal), value in zip(expected.items(), state_of(resumed.model).values(), strict=True):
        np.testing.assert_allclose(value, goal, rtol=1e-5, atol=1e-6, err_msg=name)


def test_loss_scale_and_several_steps_an_execution_are_resumed(tmp_path, paths, tokenizer):
    def run(folder, **others):
        if others:
            return Run(tmp_path / folder, paths, tokenizer, **others)
        keras.config.set_dtype_policy("mixed_float16")
        adam = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(3e-3, use_ema=True), dynamic_growth_steps=5)
        new = Run(tmp_path / folder, paths, tokenizer, optimizer=adam)
        new.model.compile(new.model.optimizer, loss=new.model.loss, metrics=["accuracy"], steps_per_execution=2)
        return new

    keras.utils.set_random_seed(7)
    whole = run("whole")
    history = whole.fit(epochs=1)
    expected = state_of(whole.model)
    assert float(whole.model.optimizer.dynamic_scale.numpy()) > 2**15  # it grew during training
    broken = run("run", again=whole)
    with pytest.raises(tiny.Broken):
        broken.fit(tiny.BreakAt(0, 5), epochs=1)
    resumed = run("run", after=broken)
    assert without_times(resumed.fit(epochs=1)) == without_times(history)
    assert_same(state_of(resumed.model), expected)


def test_only_the_newest_states_stay_and_a_damaged_one_is_not_read(unbroken, tmp_path, paths, tokenizer, caplog):
    whole, expected, _ = unbroken
    with pytest.raises(tiny.Broken):
        run = Run(tmp_path, paths, tokenizer, again=whole, keep=2)
        run.fit(tiny.BreakAt(1, 9))
    assert not run.corpus.position.held  # another fit would get its own epochs
    folder = tmp_path / "checkpoints"
    states = states_in(folder, "step")
    assert len(states) == 2
    newest = list(states.values())[-1]
    newest.write_bytes(newest.read_bytes()[:-1000])
    (folder / ".step-000000099.npz.abcdefgh").mkdir()  # a process was killed while it wrote
    (tmp_path / ".model.keras.abcdefgh").mkdir()
    run = Run(tmp_path, paths, tokenizer, after=run)
    run.fit()
    assert f"{newest} is damaged, or no training state" in caplog.text
    assert_same(state_of(run.model), expected)
    assert [path.name for path in [*folder.iterdir(), *tmp_path.iterdir()] if path.name.startswith(".")] == []
    assert len(states_in(folder, "step")) == 3


def test_a_run_whose_states_cannot_be_read_does_not_start_from_the_beginning(
    unbroken, tmp_path, paths, tokenizer, caplog
):
    Run(tmp_path, paths, tokenizer, again=unbroken[0], keep=2).fit(epochs=1)
    states = list(states_in(tmp_path / "checkpoints", "step").values())
    for path in states:
        path.write_bytes(path.read_bytes()[:-1000])
    before = (tmp_path / "model.keras").read_bytes()
    message = (
        rf"none of the 2 states in .*checkpoints can be read, the newest because: {states[-1]} is damaged.* remove"
    )
    with pytest.raises(ValueError, match=message):
        Run(tmp_path, paths, tokenizer).fit()
    assert (tmp_path / "model.keras").read_bytes() == before
    lines = [line for line in caplog.messages if "warmup_steps" not in line]  # of the schedule, too long for this run
    assert [line for line in lines if "The state before" in line] == lines[:1]


def test_fit_must_take_whole_epochs_from_where_the_state_is(unbroken, tmp_path, paths, tokenizer):
    with pytest.raises(ValueError, match=r"an epoch of fit has 2 batches and one of the corpus \d+: .*steps_per_epoch"):
        Run(tmp_path / "other", paths, tokenizer).fit(steps_per_epoch=2)
    run = Run(unbroken[0].checkpoint.folder, paths, tokenizer)
    run.model.__class__._initial_epoch = property(lambda self: None, lambda self, value: None)  # a Keras without it
    try:
        with pytest.raises(ValueError, match=r"fit began at epoch 0, the newest .* 3\. Pass initial_epoch=3 to fit"):
            run.fit()
    finally:
        del run.model.__class__._initial_epoch


def test_a_stop_within_an_epoch_is_resumed_there(unbroken, tmp_path, paths, tokenizer):
    stop = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: stopper(batch))
    run = Run(tmp_path, paths, tokenizer, again=unbroken[0], every_steps=None)

    def stopper(batch):
        run.model.stop_training = batch == 6

    run.fit(stop)
    assert list(states_in(tmp_path / "checkpoints", "step")) == [0, 7]
    assert (run.corpus.position.epoch, run.corpus.position.batch) == (0, 7)

    resumed, watching = Run(tmp_path, paths, tokenizer, after=run), StopOnNaN()
    epoch = [source[0, :8].numpy().tolist() for source, _ in resumed.corpus.map(lambda x, _: (x["source"], 0))]
    resumed.corpus.position.move_to(0)
    resumed.corpus = watching.watch(resumed.corpus)
    resumed.fit(epochs=1)
    assert [(number, ids) for number, *_, ids in watching.watched][7:] == list(enumerate(epoch))[7:]


def test_a_run_that_early_stopping_ended_is_finished(unbroken, tmp_path, paths, tokenizer):
    def run(patience, **others):
        new = Run(tmp_path, paths, tokenizer, **others)
        new.stopping.patience, new.stopping.min_delta = patience, 100.0  # no epoch is better than the first
        return new

    first = run(patience=1, again=unbroken[0])
    assert len(first.fit(epochs=5)["loss"]) == 2
    written = (tmp_path / "last.keras").stat().st_mtime_ns
    again = run(patience=1)
    assert again.fit(epochs=5) == {} and (tmp_path / "last.keras").stat().st_mtime_ns == written
    assert_same(state_of(again.model), state_of(first.model))
    assert len(run(patience=2, after=first).fit(epochs=5)["loss"]) == 1


def test_arguments_that_make_no_sense(tmp_path, paths, tokenizer):
    corpus = parallel_corpus(*paths, tokenizer)
    make = lambda **options: Checkpoint(tmp_path / "run", tokenizer, **options)  # noqa: E731
    keeping = keras.callbacks.EarlyStopping("loss", restore_best_weights=True)
    for options, message in (
        ({"every_steps": 5}, "every_steps and callbacks need corpus="),
        ({"corpus": corpus, "overwrite": True}, "overwrite=True would start from the beginning each time"),
        ({"corpus": corpus, "every_steps": 0}, "every_steps must be a whole number of at least 1, got 0"),
        ({"corpus": corpus, "keep": 1.5}, "keep must be a whole number of at least 1, got 1.5"),
        ({"corpus": corpus.take(1)}, "corpus must be what parallel_corpus returned"),
        ({"corpus": corpus, "callbacks": [keras.callbacks.TerminateOnNaN()]}, "a TerminateOnNaN has no get_state"),
        (
            {"corpus": corpus, "callbacks": [keeping]},
            r"restore_best_weights=True\) holds weights, which no state",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            make(**options)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.keras").write_text("precious")
    with pytest.raises(
        FileExistsError, match=r"a model\.keras already and no state to resume from\. .* or remove this one\."
    ):
        make(corpus=corpus)
