"""The benchmarks of shortlists run tiny: what they measure, how they compare, and their BLEU."""

import json

import pytest
import shortlist
import shortlist_bleu
import student_bounds
import tiny
from processors import needs_vnni

from keras_transformer import DecoderLayer, Translator


def test_a_search_with_and_without_a_shortlist(tmp_path, small_preset, monkeypatch, capsys):
    source, target = tiny.write_pairs(tmp_path, tiny.digit_pairs(60))
    monkeypatch.setattr(shortlist, "PRECISIONS", ("float32",))
    monkeypatch.setattr(shortlist, "TARGET", 4)
    real, seconds = {}, {(False, "together"): 4.0, (False, "apart"): 3.0, (True, "together"): 1.5, (True, "apart"): 2.0}

    def measured(script, folder, preset, precision, with_shortlist, way, threads, least):
        if way == "together" and with_shortlist not in real:
            real[with_shortlist] = shortlist.measure(folder, preset, precision, with_shortlist, way, threads, least)
        return seconds[with_shortlist, way], *real[with_shortlist][1:]

    monkeypatch.setattr(shortlist, "in_a_process", measured)
    monkeypatch.setattr("tensorflow.config.threading.set_intra_op_parallelism_threads", lambda threads: None)
    options = {"vocabulary_size": 281, "sentences": 6, "rounds": 1, "seconds": 0.0}
    shortlist.main(tmp_path / "out", source, target, preset=[small_preset], **options)
    results = json.loads((tmp_path / "out" / "shortlist.json").read_text())
    assert [result["seconds"] for result in results] == [4.0, 3.0, 1.5, 2.0]
    assert {result["sentences"] for result in results} == {6} and real[False][2] == 281 > real[True][2] > 4
    printed = capsys.readouterr().out
    assert "| small | float32 | without | 281 | 2 | 1.00 |" in printed
    assert f"| small | float32 | with | {real[True][2]:,.0f} | 4 | 2.00 |" in printed


@needs_vnni
def test_the_bounds_of_a_student(tmp_path, small_preset, monkeypatch, capsys):
    monkeypatch.setattr("keras_transformer.backend.int8.SMALLEST", 1)
    monkeypatch.setattr("tensorflow.config.threading.set_intra_op_parallelism_threads", lambda threads: None)
    monkeypatch.setattr(DecoderLayer, "connect", DecoderLayer.connect)  # so that it comes back
    monkeypatch.setattr(student_bounds.decode, "WAYS", ("together",))
    monkeypatch.setitem(student_bounds.decode.VOCABULARIES, small_preset, 0)
    monkeypatch.setattr(student_bounds, "PIECES", {"whole": 90, "no self-attention": 90, "1,000 pieces": 30})
    monkeypatch.setattr(student_bounds, "in_a_process", lambda script, *case: student_bounds.measure(*case))
    student_bounds.main(tmp_path, preset=[small_preset], batch=2, rounds=1, seconds=0.0)
    results = json.loads((tmp_path / "student_bounds.json").read_text())
    fastest = [min(r["seconds"] for r in results if r["variant"] == name) for name in student_bounds.PIECES]
    assert (
        f"| small | 1,000 pieces | {fastest[2] * 1e3:.0f} ms | {fastest[0] / fastest[2]:.2f} |"
        in capsys.readouterr().out
    )


def test_bleu_with_and_without_a_shortlist(tmp_path, monkeypatch, capsys):
    files = tiny.write_pairs(tmp_path, tiny.digit_pairs(60))
    tokenizer = tiny.make_tokenizer(tmp_path / "corpus")
    Translator(tiny.make_opinionated(seed=3), tokenizer).save(tmp_path / "run")
    monkeypatch.setattr(shortlist_bleu, "POLICIES", {"float32": "float32"})
    monkeypatch.setattr(shortlist_bleu, "BEAMS", (1,))
    valid = tiny.write_pairs(tmp_path, tiny.digit_pairs(5, seed=4), "valid")
    shortlist_bleu.main(tmp_path / "out", tmp_path / "run", *files, *valid)
    [result] = json.loads((tmp_path / "out" / "shortlist_bleu.json").read_text())
    sources = valid[0].read_text().splitlines()
    expected = Translator.load(tmp_path / "run", beam_size=1)(sources)
    assert result["sentences"] == 5 and 0 <= result["same"] <= 5
    assert result["bleu"]["without"] == pytest.approx(bleu(expected, valid[1].read_text().splitlines()))
    assert f"| {result['same']} of 5 |" in capsys.readouterr().out


def bleu(translations, references):
    from sacrebleu import corpus_bleu

    return corpus_bleu(translations, [references]).score
