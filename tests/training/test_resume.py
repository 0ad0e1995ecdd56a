"""A run broken off anywhere goes on as if it never was: weights bit for bit, logs, what callbacks count."""

import copy
import json

import keras
import kill_and_resume
import numpy as np
import pytest
import tensorflow as tf
import tiny
from tensorflow.python.framework.config import disable_op_determinism

from keras_transformer import parallel_corpus
from keras_transformer.training import Checkpoint, StopOnNaN, Throughput, resume
from keras_transformer.training.states import states_in

EPOCHS = 3


@pytest.fixture(scope="module", autouse=True)
def determinism():
    tf.config.experimental.enable_op_determinism()
    yield
    disable_op_determinism()  # TensorFlow has no public way back


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny.make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return tiny.write_pairs(tmp_path_factory.mktemp("corpus"), tiny.digit_pairs(100, seed=2))


class Run:
    """What a user's command does: makes corpus, model and callbacks anew, and calls `fit`."""

    def __init__(self, folder, paths, tokenizer, strategy=None, model=None, corpus=None, optimizer=None, **checkpoint):
        options = {"tokens_per_batch": 136, "num_shapes": 1, "seed": 3, **(corpus or {})}
        self.corpus = parallel_corpus(*paths, tokenizer, **options)
        self.valid = parallel_corpus(*paths, tokenizer, num_shapes=1, shuffle=False)
        with (strategy or tf.distribute.get_strategy()).scope():
            self.model = tiny.compiled(tiny.make_model(dropout=0.2, **(model or {})), optimizer)
        self.stopping = keras.callbacks.EarlyStopping("loss", patience=9)
        self.throughput = Throughput()
        counting = {"callbacks": [self.stopping, self.throughput]}
        checkpoint = {"monitor": "loss", "every_steps": 4, **counting, **checkpoint}
        self.checkpoint = Checkpoint(folder, tokenizer, corpus=self.corpus, **checkpoint)

    def fit(self, *others, epochs=EPOCHS, **options):
        return self.model.fit(
            self.corpus,
            validation_data=self.valid,
            epochs=epochs,
            shuffle=False,
            verbose=0,
            callbacks=[self.throughput, self.stopping, *others, self.checkpoint],
            **options,
        ).history


def state_of(model):
    variables = [*model.variables, *model.optimizer.variables]
    return {f"{number} {v.path}": keras.ops.convert_to_numpy(v) for number, v in enumerate(variables)}


def assert_same(found, expected):
    pairs = zip(found.values(), expected.items(), strict=True)
    assert [name for value, (name, goal) in pairs if not np.array_equal(value, goal)] == []


TIMES = ("seconds", "tokens_per_second")


def without_times(history):
    return {name: values for name, values in history.items() if name not in TIMES}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, paths, tokenizer):
    keras.utils.set_random_seed(7)
    run = Run(tmp_path_factory.mktemp("unbroken"), paths, tokenizer)
    history = run.fit()
    assert run.corpus.report.batches == 13
    return run, state_of(run.model), history


def test_a_broken_run_ends_bit_for_bit_as_one_that_was_not(unbroken, tmp_path, paths, tokenizer):
    """Broken twice in mid-epoch, once before the first state of an epoch: weights, optimizer, generators, logs."""
    whole, expected, history = unbroken
    keras.utils.set_random_seed(7)
    for at in ((0, 9), (1, 6), (1, 1)):
        with pytest.raises(tiny.Broken):
            Run(tmp_path / "run", paths, tokenizer).fit(tiny.BreakAt(*at))
        keras.utils.set_random_seed(8)  # what is resumed needs no seed
    last = Run(tmp_path / "run", paths, tokenizer)
    found = last.fit()
    assert_same(state_of(last.model), expected)
    # The last process saw the second epoch from its middle on and the third, and logged both as if it saw them whole.
    assert without_times(found) == {name: values[1:] for name, values in without_times(history).items()}
    assert all(value > 0 for name in TIMES for value in found[name])
    assert last.checkpoint.best == whole.checkpoint.best
    assert (last.stopping.best, last.stopping.wait) == (whole.stopping.best, whole.stopping.wait)
    assert (last.corpus.position.epoch, last.corpus.position.batch) == (EPOCHS, 0)

    again = Run(tmp_path / "run", paths, tokenizer)  # of a finished run, nothing is left to do
    assert again.fit() == {}
    assert_same(state_of(again.model), expected)
    longer = Run(tmp_path / "run", paths, tokenizer)
    more = longer.fit(epochs=EPOCHS + 1)
    assert [len(values) for values in more.values()] == [1] * len(more)
    assert int(longer.model.optimizer.iterations.numpy()) == (EPOCHS + 1) * longer.corpus.report.batches


def test_a_process_that_is_killed_goes_on_when_started_again(tmp_path):
    """SIGKILL in mid-epoch; the second start of the command reports the same weights as one never killed."""
    start = lambda folder, *options: tiny.python(kill_and_resume.__file__, "train", tmp_path / folder, *options)  # noqa: E731

    killed = start("run", "--kill-at", "8")
    assert killed.returncode == -9, killed.stderr
    assert states_in(tmp_path / "run" / "checkpoints", "step")
    assert not (tmp_path / "run" / "weights.json").exists()
    resumed = start("run")
    assert resumed.returncode == 0, resumed.stderr
    kill_and_resume.train(tmp_path / "whole")
    found, expected = (json.loads((tmp_path / each / "weights.json").read_text()) for each in ("run", "whole"))
    assert found["weights"] == expected["weights"]
    assert found["first"] == [0, 6] and expected["first"] == [0, 0]


def test_two_replicas_resume_within_an_epoch(tmp_path, paths, tokenizer):
    """Under a strategy the order of sums is not fixed, so to 1e-5; the logs too."""
    strategy = tiny.two_replicas()
    keras.utils.set_random_seed(7)
    whole = Run(tmp_path / "whole", paths, tokenizer, strategy)
    history = whole.fit(epochs=1)
    keras.utils.set_random_seed(7)
    with pytest.raises(tiny.Broken):
        Run(tmp_path / "run", paths, tokenizer, strategy).fit(tiny.BreakAt(0, 6), epochs=1)
    keras.utils.set_random_seed(8)
    resumed = Run(tmp_path / "run", paths, tokenizer, strategy)
    found = resumed.fit(epochs=1)
    for name in ("loss", "accuracy", "perplexity", "target_tokens"):
        assert found[name] == pytest.approx(history[name], rel=1e-5)
    for (name, goal), value in zip(state_of(whole.model).items(), state_of(resumed.model).values(), strict=True):
        np.testing.assert_allclose(value, goal, rtol=1e-5, atol=1e-6, err_msg=name)


def test_loss_scale_and_several_steps_an_execution_are_resumed(tmp_path, paths, tokenizer):
    def run(folder):
        keras.config.set_dtype_policy("mixed_float16")
        adam = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(3e-3, use_ema=True), dynamic_growth_steps=5)
        one = Run(tmp_path / folder, paths, tokenizer, optimizer=adam)
        one.model.compile(one.model.optimizer, loss=one.model.loss, metrics=["accuracy"], steps_per_execution=2)
        return one

    keras.utils.set_random_seed(7)
    whole = run("whole")
    history = whole.fit(epochs=1)
    keras.utils.set_random_seed(7)
    with pytest.raises(tiny.Broken):
        run("run").fit(tiny.BreakAt(0, 5), epochs=1)
    resumed = run("run")
    assert without_times(resumed.fit(epochs=1)) == without_times(history)
    assert_same(state_of(resumed.model), state_of(whole.model))
    assert float(whole.model.optimizer.dynamic_scale.numpy()) > 2**15  # it grew on the way


def test_states_are_kept_to_the_newest_and_a_damaged_one_is_passed_over(unbroken, tmp_path, paths, tokenizer, caplog):
    _, expected, _ = unbroken
    keras.utils.set_random_seed(7)
    with pytest.raises(tiny.Broken):
        run = Run(tmp_path, paths, tokenizer, keep=2)
        run.fit(tiny.BreakAt(1, 9))
    assert not run.corpus.position.held  # what is fitted next sees its own epochs
    folder = tmp_path / "checkpoints"
    states = states_in(folder, "step")
    assert len(states) == 2
    newest = list(states.values())[-1]
    newest.write_bytes(newest.read_bytes()[:-1000])
    (folder / ".step-000000099.npz.abcdefgh").mkdir()  # of a process killed while it wrote
    (tmp_path / ".model.keras.abcdefgh").mkdir()
    run = Run(tmp_path, paths, tokenizer)
    run.fit()
    assert f"{newest} is damaged, or no training state" in caplog.text
    assert_same(state_of(run.model), expected)
    assert [path.name for path in [*folder.iterdir(), *tmp_path.iterdir()] if path.name.startswith(".")] == []
    assert len(states_in(folder, "step")) == 3


def test_states_none_of_which_can_be_read_do_not_begin_the_run_anew(tmp_path, paths, tokenizer, caplog):
    Run(tmp_path, paths, tokenizer, keep=2).fit(epochs=1)
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
    assert [line for line in caplog.messages if "The state before" in line] == caplog.messages[:1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"d_ff": 48}}, r"model\.d_ff is 32 there and 48 here\."),
        ({"corpus": {"seed": 4}}, r"data\.seed is 3 there and 4 here\."),
        ({"corpus": {"tokens_per_batch": 144}}, r"data\.tokens_per_batch is 136 there and 144 here\."),
        ({"optimizer": keras.optimizers.SGD()}, r"optimizer is 'Adam' there and 'SGD' here\."),
        ({"callbacks": []}, r"callbacks is \['EarlyStopping', 'Throughput'\] there and \[\] here\."),
    ],
)
def test_a_state_of_another_run_is_refused_by_field(unbroken, paths, tokenizer, changes, message):
    run = Run(unbroken[0].checkpoint.folder, paths, tokenizer, **changes)
    before = state_of(run.model).values()
    with pytest.raises(ValueError, match=rf"checkpoints is of another run: {message}"):
        run.fit(epochs=EPOCHS + 1)
    assert all(map(np.array_equal, before, state_of(run.model).values()))


def test_a_worker_that_trains_something_else_than_the_first_is_refused(monkeypatch, tmp_path, paths, tokenizer):
    def of_the_first_worker(strategy, facts, arrays):
        facts = copy.deepcopy(facts)  # as what comes from another process is
        facts["fingerprint"]["data"]["seed"] = 4
        return facts, arrays

    monkeypatch.setattr(resume, "Workers", tf.distribute.Strategy)  # this process stands for one of several
    monkeypatch.setattr(resume, "of_the_first_worker", of_the_first_worker)
    message = r"the first worker of TF_CONFIG trains something else: data\.seed is 4 there and 3 here\. Start the same"
    with pytest.raises(ValueError, match=message):
        Run(tmp_path, paths, tokenizer).fit()


def test_another_tokenizer_or_corpus_is_refused(unbroken, tmp_path, paths, tokenizer):
    other = tiny.Tokenizer.train(paths, tiny.VOCABULARY_SIZES["wordpiece"] - 1, "wordpiece")
    message = rf"tokenizer is '{tokenizer.fingerprint}' there and '{other.fingerprint}' here"
    with pytest.raises(ValueError, match=message):
        Run(unbroken[0].checkpoint.folder, paths, other).fit()
    others = tiny.write_pairs(tmp_path, tiny.digit_pairs(100, seed=5))
    with pytest.raises(ValueError, match=r"data\.lines is '\w{64}' there and '\w{64}' here\."):
        Run(unbroken[0].checkpoint.folder, others, tokenizer).fit()


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


def test_a_stop_within_an_epoch_is_resumed_there(tmp_path, paths, tokenizer):
    stop = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: stopper(batch))
    run = Run(tmp_path, paths, tokenizer, every_steps=None)

    def stopper(batch):
        run.model.stop_training = batch == 6

    run.fit(stop)
    assert list(states_in(tmp_path / "checkpoints", "step")) == [0, 7]
    assert (run.corpus.position.epoch, run.corpus.position.batch) == (0, 7)

    resumed, watching = Run(tmp_path, paths, tokenizer), StopOnNaN()
    epoch = [source[0, :8].numpy().tolist() for source, _ in resumed.corpus.map(lambda x, _: (x["source"], 0))]
    resumed.corpus.position.move_to(0)
    resumed.corpus = watching.watch(resumed.corpus)
    resumed.fit(epochs=1)
    assert [(number, ids) for number, *_, ids in watching.passed][7:] == list(enumerate(epoch))[7:]


def test_a_run_that_early_stopping_ended_is_finished(tmp_path, paths, tokenizer):
    def run(patience):
        one = Run(tmp_path, paths, tokenizer)
        one.stopping.patience, one.stopping.min_delta = patience, 100.0  # no epoch is better than the first
        return one

    first = run(patience=1)
    assert len(first.fit(epochs=5)["loss"]) == 2
    written = (tmp_path / "last.keras").stat().st_mtime_ns
    again = run(patience=1)
    assert again.fit(epochs=5) == {} and (tmp_path / "last.keras").stat().st_mtime_ns == written
    assert_same(state_of(again.model), state_of(first.model))
    assert len(run(patience=2).fit(epochs=5)["loss"]) == 1


def test_arguments_that_make_no_sense(tmp_path, paths, tokenizer):
    corpus = parallel_corpus(*paths, tokenizer)
    make = lambda **options: Checkpoint(tmp_path / "run", tokenizer, **options)  # noqa: E731
    keeping = keras.callbacks.EarlyStopping("loss", restore_best_weights=True)
    for options, message in (
        ({"every_steps": 5}, "every_steps and callbacks need corpus="),
        ({"corpus": corpus, "overwrite": True}, "overwrite=True would begin anew each time"),
        ({"corpus": corpus, "every_steps": 0}, "every_steps must be a whole number of at least 1, got 0"),
        ({"corpus": corpus, "keep": 1.5}, "keep must be a whole number of at least 1, got 1.5"),
        ({"corpus": corpus.take(1)}, "corpus must be what parallel_corpus returned"),
        ({"corpus": corpus, "callbacks": [keras.callbacks.TerminateOnNaN()]}, "a TerminateOnNaN has no get_state"),
        ({"corpus": corpus, "callbacks": [keeping]}, r"restore_best_weights=True\) holds weights that no state has"),
    ):
        with pytest.raises(ValueError, match=message):
            make(**options)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.keras").write_text("precious")
    with pytest.raises(
        FileExistsError, match=r"a model\.keras already and no state to go on from\. .* or remove this one\."
    ):
        make(corpus=corpus)
