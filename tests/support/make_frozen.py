"""Write tests/frozen: small files of every format, which every later version must read.

    python tests/support/make_frozen.py

Version 0.1.0 wrote these files. Never write one of them again: a version that cannot read it is broken. When a format
changes, add a file under a new name, here and in `tests/house/test_frozen_files.py`. This program does not replace
files that exist.
"""

import contextlib
import json
import os
import shutil
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import numpy as np
import tensorflow as tf
import tiny

from keras_transformer import Tokenizer, Translator, parallel_corpus
from keras_transformer.training import AverageWeights, Checkpoint, Throughput

FROZEN = Path(__file__).parents[1] / "frozen"
SOURCE = [[5, 11, 7, 3, 0], [23, 9, 4, 13, 3]]  # ids of the tiny WordPiece vocabulary of digits
TARGET = [[2, 8, 6, 0], [2, 19, 4, 17]]
SENTENCES = ["3 1 4", "", "2 7 1 8 2 8", "Ünï ▁x\t 9"]
MODELS = {
    "post_norm": {},
    "pre_norm": {"norm": "pre", "tie_embeddings": "target", "use_bias": True, "output_bias": True, "d_k": 7, "d_v": 5},
    "learned_positions": {"positions": "learned", "max_length": 11, "tie_embeddings": "all", "activation": "gelu"},
}
# Here one matrix is just large enough to become integers.
INT8 = {"vocabulary_size": 1024, "d_model": 64, "num_heads": 4, "d_ff": 67, "tie_embeddings": "all"}
RUN = {"tokens_per_batch": 136, "num_shapes": 1, "seed": 3}  # an epoch has 13 batches
BROKEN_AT = (1, 6)  # epoch and batch; the newest state is of epoch 1, batch 3


def logits(model):
    return model.predict({"source": np.array(SOURCE, "int32"), "target": np.array(TARGET, "int32")}, verbose=0)


def batch():
    """A batch that is short enough for learned positions."""
    return keras.tree.map_structure(lambda rows: rows[:, :9], tiny.batches()[0])


def models(folder):
    """Write `.keras` files and their logits."""
    folder.mkdir()
    found = {}
    for name, options in MODELS.items():
        model = tiny.compiled(tiny.make_random(seed=len(name), **options))
        model.train_on_batch(*batch())  # so the optimizer has a state
        model.save(folder / f"{name}.keras")
        found[name] = logits(model)
    model = tiny.make_random(seed=4, **INT8)
    model.quantize("int8")
    model.save(folder / "int8.keras")
    found["int8"] = logits(model)
    np.savez_compressed(folder / "logits.npz", **found)


def tokenizers(folder):
    """Write a tokenizer of each kind, and its results for some sentences."""
    folder.mkdir()
    made = {kind: tiny.make_tokenizer(folder / "corpus", kind) for kind in ("bpe", "wordpiece")}
    made["unigram"] = Tokenizer.train(tiny.write_pairs(folder / "corpus", tiny.digit_pairs(60)), 279, "unigram")
    shutil.rmtree(folder / "corpus")
    from keras_transformer.interop import marian

    made["marian"] = marian.load(Path(tiny.__file__).parent / "recorded_marian")[1]
    expected = {}
    for kind, tokenizer in made.items():
        tokenizer.save(folder / f"{kind}.model")
        ids = tokenizer.encode(SENTENCES)
        expected[kind] = {
            "vocabulary_size": tokenizer.vocabulary_size,
            "ids": ids,
            "texts": tokenizer.decode(ids),
            "pieces": tokenizer.pieces(range(tokenizer.vocabulary_size)),
        }
    (folder / "expected.json").write_text(json.dumps(expected, ensure_ascii=False) + "\n", encoding="utf-8")


def fit(folder, corpus_folder, *others):
    """Do the same as a user's command: start a run, or resume a broken one."""
    tokenizer = tiny.make_tokenizer(corpus_folder / "tokenizer")
    paths = tiny.write_pairs(corpus_folder, tiny.digit_pairs(100, seed=2))
    corpus = parallel_corpus(*paths, tokenizer, **RUN)
    model = tiny.compiled(tiny.make_model(dropout=0.2))
    stopping, throughput = keras.callbacks.EarlyStopping("loss", patience=9), Throughput()
    checkpoint = Checkpoint(
        folder, tokenizer, monitor="loss", corpus=corpus, every_steps=4, keep=1, callbacks=[stopping, throughput]
    )
    callbacks = [throughput, stopping, AverageWeights(folder, n=2), *others, checkpoint]
    history = model.fit(corpus, epochs=2, shuffle=False, verbose=0, callbacks=callbacks).history
    return model, history


def run(folder):
    """Write the training folder of a run that was broken inside its second epoch, and the end of the whole run."""
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(7)
    with tempfile.TemporaryDirectory() as corpus:
        with contextlib.suppress(tiny.Broken):
            fit(folder, Path(corpus), tiny.BreakAt(*BROKEN_AT))
        whole = Path(corpus) / "whole"
        shutil.copytree(folder, whole)
        model, history = fit(whole, Path(corpus))
        average = keras.saving.load_model(whole / "average.keras")
        shutil.copy(whole / "average.keras", folder / "average_of_the_end.keras")
        shutil.copytree(whole / "averaged", folder / "averaged_of_the_end")
    variables = [*model.variables, *model.optimizer.variables]
    arrays = {f"variable_{i}": keras.ops.convert_to_numpy(each) for i, each in enumerate(variables)}
    arrays |= {f"average_{i}": each for i, each in enumerate(average.get_weights())}
    np.savez_compressed(folder / "end.npz", **arrays)
    history = {name: history[name] for name in ("loss", "accuracy", "perplexity", "target_tokens")}
    (folder / "end.json").write_text(json.dumps(history) + "\n", encoding="utf-8")


def export(folder):
    """Write a SavedModel, a training folder, and their translations."""
    with tempfile.TemporaryDirectory() as corpus:
        tokenizer = tiny.make_tokenizer(Path(corpus), "bpe")
    model = tiny.make_opinionated(vocabulary_size=tokenizer.vocabulary_size)
    translator = Translator(model, tokenizer, beam_size=2, max_extra_length=4)
    folder.mkdir()
    translator.export(folder / "digits" / "1", check=False)
    translator.save(folder / "training_folder")
    found = translator.n_best(SENTENCES)
    expected = {
        "sentences": SENTENCES,
        "translations": [[one.text for one in best] for best in found],
        "scores": [[one.score for one in best] for best in found],
    }
    (folder / "expected.json").write_text(json.dumps(expected, ensure_ascii=False) + "\n", encoding="utf-8")


def main():
    FROZEN.mkdir(exist_ok=True)
    for write in (models, tokenizers, run, export):
        if not (FROZEN / write.__name__).exists():
            write(FROZEN / write.__name__)


if __name__ == "__main__":
    main()
