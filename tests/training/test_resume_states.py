"""A state is put back by the paths of its variables, and a state of another run is refused."""

import copy
import shutil

import keras
import pytest
import tensorflow as tf
import tiny
from resumable import EPOCHS, Run, assert_same, state_of, without_times

from keras_transformer import MaskedAccuracy
from keras_transformer.training import resume
from keras_transformer.training.states import read_state, states_in, write_state

pytestmark = pytest.mark.usefixtures("determinism")


@pytest.fixture(scope="module")
def broken(unbroken, tmp_path_factory, paths, tokenizer):
    """The folder of a run that was interrupted inside its second epoch."""
    folder = tmp_path_factory.mktemp("broken") / "run"
    with pytest.raises(tiny.Broken):
        Run(folder, paths, tokenizer, again=unbroken[0], keep=1).fit(tiny.BreakAt(1, 9))
    return folder


@pytest.fixture
def interrupted(broken, tmp_path):
    """A copy of the folder `broken`, and the path of its newest state."""
    folder = shutil.copytree(broken, tmp_path / "run")
    [path] = states_in(folder / "checkpoints", "step").values()
    return folder, path


def test_variables_that_a_state_holds_in_another_order_are_found_by_their_paths(
    unbroken, interrupted, paths, tokenizer
):
    """The state is stored backwards. Many variables have the same shape: the kernels, their moments, the metrics."""
    folder, path = interrupted
    facts, arrays = read_state(path)
    assert list(facts["paths"]) == ["model", "optimizer", "metrics"]
    backwards = {}
    for kind, names in facts["paths"].items():
        values = [arrays[f"{kind}/{number}"] for number in range(len(names))]
        backwards |= {f"{kind}/{number}": value for number, value in enumerate(reversed(values))}
        names.reverse()
    write_state(path, facts, backwards)
    run = Run(folder, paths, tokenizer, after=unbroken[0])
    history = run.fit()
    assert_same(state_of(run.model), unbroken[1])
    assert without_times(history) == {name: values[1:] for name, values in without_times(unbroken[2]).items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("rename", "the file lacks encoder/layer_0/self_attention/key/kernel; the model lacks encoder/other/kernel"),
        ("reshape", r"token_embedding/embeddings has the shape \(16, 25\) in the file and \(25, 16\) in the model"),
    ],
)
def test_a_state_of_other_variables_is_refused_and_they_are_named(interrupted, paths, tokenizer, change, message):
    folder, path = interrupted
    facts, arrays = read_state(path)
    if change == "rename":
        names = facts["paths"]["model"]
        names[names.index("encoder/layer_0/self_attention/key/kernel")] = "encoder/other/kernel"
    else:
        arrays["model/0"] = arrays["model/0"].T
    write_state(path, facts, arrays)
    with pytest.raises(ValueError, match=rf"checkpoints has other variables: {message}\."):
        Run(folder, paths, tokenizer).fit()


def test_variables_that_keras_gives_one_path_are_resumed_in_their_order(tmp_path, paths, tokenizer):
    """Adafactor's variables have the name of the kernel only. A weighted metric may have the name of another one."""

    def run(folder, **others):
        if others:
            return Run(tmp_path / folder, paths, tokenizer, **others)
        new = Run(tmp_path / folder, paths, tokenizer, optimizer=keras.optimizers.Adafactor(3e-3))
        metrics = {"metrics": [MaskedAccuracy()], "weighted_metrics": [MaskedAccuracy()]}
        new.model.compile(new.model.optimizer, loss=new.model.loss, **metrics)
        return new

    keras.utils.set_random_seed(7)
    whole = run("whole")
    history = whole.fit(epochs=1)
    paths_of = [variable.path for variable in [*whole.model.optimizer.variables, *whole.model.metrics_variables]]
    assert paths_of.count("adafactor/kernel") > 2 and paths_of.count("accuracy/total") == 2
    expected = state_of(whole.model)
    broken = run("run", again=whole)
    with pytest.raises(tiny.Broken):
        broken.fit(tiny.BreakAt(0, 6), epochs=1)
    resumed = run("run", after=broken)
    assert without_times(resumed.fit(epochs=1)) == without_times(history)
    assert_same(state_of(resumed.model), expected)


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
    run.model.optimizer.build(run.model.trainable_variables)
    before = state_of(run.model)
    with pytest.raises(ValueError, match=rf"checkpoints is of another run: {message}"):
        run.fit(epochs=EPOCHS + 1)
    assert_same(state_of(run.model), before)


def test_a_callback_that_watches_another_value_than_in_the_state_is_refused(unbroken, paths, tokenizer):
    run = Run(unbroken[0].checkpoint.folder, paths, tokenizer, after=unbroken[0])
    run.stopping.monitor, run.stopping.mode = "accuracy", "max"
    message = (
        r"^callbacks: EarlyStopping began with monitor='loss', mode='auto', and is resumed with monitor='accuracy', "
        r"mode='max'\. Their values cannot be compared\. Give the same monitor and mode, or train in another folder\.$"
    )
    with pytest.raises(ValueError, match=message):
        run.fit()


def test_a_worker_that_trains_something_else_than_the_first_is_refused(monkeypatch, tmp_path, paths, tokenizer):
    def broadcast(strategy, facts, arrays):
        facts = copy.deepcopy(facts)  # as if it came from another process
        facts["fingerprint"]["data"]["seed"] = 4
        return facts, arrays

    monkeypatch.setattr(resume, "Workers", tf.distribute.Strategy)  # this process acts as one of several workers
    monkeypatch.setattr(resume, "broadcast", broadcast)
    message = r"the first worker of TF_CONFIG trains something else: data\.seed is 4 there and 3 here\. Start the same"
    with pytest.raises(ValueError, match=message):
        Run(tmp_path, paths, tokenizer).fit()


def test_another_tokenizer_or_corpus_is_refused(unbroken, tmp_path, paths, tokenizer):
    reversed_lines = [line[::-1] for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    other = tiny.Tokenizer.train(["a b c d e f g h i j"] * 9 + reversed_lines, tokenizer.vocabulary_size, "wordpiece")
    assert other.vocabulary_size == tokenizer.vocabulary_size and other.fingerprint != tokenizer.fingerprint
    message = rf"tokenizer is '{tokenizer.fingerprint}' there and '{other.fingerprint}' here"
    with pytest.raises(ValueError, match=message):
        Run(unbroken[0].checkpoint.folder, paths, other).fit()
    others = tiny.write_pairs(tmp_path, tiny.digit_pairs(100, seed=5))
    with pytest.raises(ValueError, match=r"data\.lines is '\w{64}' there and '\w{64}' here\."):
        Run(unbroken[0].checkpoint.folder, others, tokenizer).fit()
