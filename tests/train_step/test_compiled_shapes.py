"""XLA compiles the training step once for each shape of a batch. The model counts the compilations."""

import os
import subprocess
import sys

import tiny

JOB = """
import sys
from pathlib import Path
import tiny
from keras_transformer import LabelSmoothedCrossEntropy, parallel_corpus

folder = Path(sys.argv[1])
paths = tiny.write_pairs(folder / "corpus", tiny.digit_pairs(101))
corpus = parallel_corpus(*paths, tiny.make_tokenizer(folder), tokens_per_batch=160, num_shapes=2, seed=3)
model = tiny.make_model()
model.compile("sgd", LabelSmoothedCrossEntropy(), jit_compile=True)
for epoch in range(2):
    model.fit(corpus, verbose=0, shuffle=False)
    dumped = sum("one_step_on_data" in path.name for path in (folder / "xla").glob("*before_optimizations.txt"))
    print(len(corpus.report.shapes), model.train_compilations, model.train_traces, dumped)
"""


def test_a_second_epoch_compiles_nothing(tmp_path):
    """XLA writes a file for each module that it compiles. The count is compared with these files."""
    environment = {
        "PYTHONPATH": tiny.PYTHONPATH,
        "XLA_FLAGS": f"--xla_dump_to={tmp_path / 'xla'} --xla_dump_hlo_as_text --xla_dump_hlo_module_re=one_step",
    }
    command = [sys.executable, "-c", JOB, tmp_path]
    result = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-4000:]
    assert result.stdout.split() == ["2", "2", "1", "2"] * 2
