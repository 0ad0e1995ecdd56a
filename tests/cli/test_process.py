"""The command as a process: what it prints where, how it ends, and what it does not load."""

import signal
import subprocess
import sys

import tiny

START = "import sys; from keras_transformer_cli.main import main; sys.argv[0] = 'keras-transformer'; main()"


def start(*arguments, **options):
    command = [sys.executable, "-c", START, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_help_version_and_wrong_options_load_nothing_heavy():
    code = (
        "import sys; from keras_transformer_cli.app import app\n"
        "for words in (['--help'], ['--version'], ['train', '--help'], ['translate', '--beam-sise']):\n"
        "    try: app(words, prog_name='keras-transformer')\n"
        "    except SystemExit as end: print('code', end.code)\n"
        "print('loaded', {'keras', 'tensorflow', 'numpy'} & set(sys.modules))\n"
    )
    result = tiny.python("-c", code)
    lines = [line for line in result.stdout.splitlines() if line.startswith(("code", "loaded", "keras-transformer 0"))]
    assert lines == ["code 0", "keras-transformer 0.1.0", "code 0", "code 0", "code 2", "loaded set()"]
    assert "default: (by the recipe)" in result.stdout and "Example:" in result.stdout


def test_an_error_is_one_line_on_the_standard_error():
    process = start("translate", "nowhere")
    out, err = process.communicate("a\n")
    assert (process.returncode, out) == (1, "")
    assert err == "Error: model='nowhere' does not exist.\n"


def test_ctrl_c_says_how_to_go_on(tmp_path):
    files = tiny.write_pairs(tmp_path, tiny.digit_pairs(61))
    arguments = [
        "train", *files, "-o", tmp_path / "run", "--preset", "quickstart", "--model", "num_encoder_layers=1",
        "--model", "num_decoder_layers=1", "--model", "d_model=16", "--model", "d_ff=16", "--vocabulary-size", 25,
        "--subwords", "wordpiece", "--bleu-every", 0, "--samples", 0, "--epochs", 500,
    ]  # fmt: skip
    lines = []
    with start(*arguments) as process:
        for line in process.stderr:
            lines.append(line)
            if line.startswith("epoch 2/"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read().splitlines()
        assert process.stdout.read() == ""
    assert process.returncode == 130
    assert rest[-2] == "Interrupted. To go on, type the same command again:"
    assert rest[-1].split() == ["keras-transformer", *map(str, arguments)]
    assert not [line for line in [*lines, *rest] if "Traceback" in line or "oneDNN" in line or "NodeDef" in line]
    assert any(line.startswith("Warning: Training was interrupted. The newest state is") for line in rest)
