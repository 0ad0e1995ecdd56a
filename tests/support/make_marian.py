"""Marian folders with random weights, made by Hugging Face transformers. As a program it writes `recorded_marian`.

    python tests/support/make_marian.py

needs the extra `parity`. The recorded folder holds the results of transformers too, so tests of the importer can run
without transformers.
"""

import io
import json
import random
import warnings
from pathlib import Path

import numpy as np
import sentencepiece
import torch
import transformers

torch.set_num_threads(1)  # the models are tiny
RECORDED = Path(__file__).parent / "recorded_marian"
CODES = [">>fra<<", ">>deu<<"]
SYLLABLES = {"source": "ka tze ho rse ss a die", "target": "gr ü ße An di cht ho a"}
CONFIG = {
    "d_model": 24,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 3,
    "encoder_ffn_dim": 29,
    "decoder_ffn_dim": 29,
    "activation_function": "swish",
    "scale_embedding": True,
    "max_position_embeddings": 64,
    "forced_eos_token_id": None,
}
MAX_LENGTH = 40
SENTENCES = [">>fra<< ka tze horse", "ssa  ka.", "grü UNK", ">>deu<<", "die die die die tzetze ho ka ka rse"]
TARGETS = ["gr ü cht", "ßedi  An!", "", "ka tze hogr", ">>fra<< ho"]


def sentences(seed, syllables, count=300):
    """Lines of random words over a few syllables."""
    draw = random.Random(seed)
    words = ["".join(draw.choices(syllables.split(), k=draw.randint(1, 3))) for _ in range(60)]
    return [" ".join(draw.choices(words, k=draw.randint(1, 7))) + draw.choice(".?!") for _ in range(count)]


def write_tokenizer(folder, size=61, **options):
    """Write source.spm and target.spm over different letters, and vocab.json.

    vocab.json has pieces that neither model has, and lacks pieces that they have. Returns its number of pieces.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pieces = dict.fromkeys(CODES)
    for seed, (side, syllables) in enumerate(SYLLABLES.items()):
        serialized = io.BytesIO()  # not a file, because its name would be in the model
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences(seed, syllables)),
            model_writer=serialized,
            vocab_size=size,
            hard_vocab_limit=False,
            minloglevel=2,
            **options,
        )
        (folder / f"{side}.spm").write_bytes(serialized.getvalue())
        processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / f"{side}.spm"))
        pieces.update(dict.fromkeys(processor.id_to_piece(i) for i in range(5, processor.vocab_size())))
    pieces.pop("<unk>", None)
    names = ["</s>", "<unk>", *sorted(pieces), "中", "<pad>"]  # pieces 3 and 4 are in a model and not in the list
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(names)}), encoding="utf-8")
    return len(names)


def make_model(size, seed=1, **changes):
    """A MarianMTModel with random weights everywhere, of `size` pieces."""
    special = {"pad_token_id": size - 1, "decoder_start_token_id": size - 1, "eos_token_id": 0}
    config = transformers.MarianConfig(**{**CONFIG, **special, "vocab_size": size, **changes})
    model = transformers.MarianMTModel(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "embed_positions" not in name:
                center = 1.0 if "norm.weight" in name else 0.0
                parameter.copy_(center + 0.2 * torch.randn(parameter.shape, generator=generator))
        model.final_logits_bias.copy_(torch.randn((1, size), generator=generator))
    return model


def teach(model, tokenizer, steps=60, rows=24):
    """Train for a few steps on random pairs. Before that, a model with random weights repeats one word."""
    source, target = (sentences(seed, syllables, rows) for seed, syllables in enumerate(SYLLABLES.values()))
    batch = tokenizer(source, text_target=target, padding=True, return_tensors="pt")
    batch["labels"][batch["labels"] == tokenizer.pad_token_id] = -100
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def read_tokenizer(folder):
    """The tokenizer of transformers, as it is if sacremoses is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it recommends sacremoses
        tokenizer = transformers.MarianTokenizer.from_pretrained(folder)
    tokenizer.punc_normalizer = lambda text: text
    return tokenizer


def write_folder(folder, **changes):
    """Write a folder with tokenizer, config.json and model.safetensors. Returns the model and the tokenizer."""
    size = write_tokenizer(folder)
    model = make_model(size, **changes)
    tokenizer = read_tokenizer(folder)
    teach(model, tokenizer)
    model.save_pretrained(folder)
    return model, tokenizer


def translations(model, batch, num_beams):
    """All hypotheses of each sentence by the search of transformers, the best first: ids without pad, and log P."""
    pad = model.config.pad_token_id
    sequences = model.generate(
        **batch,
        num_beams=num_beams,
        num_return_sequences=num_beams,
        bad_words_ids=[[pad]],
        max_new_tokens=MAX_LENGTH,
        do_sample=False,
        **({"length_penalty": 0.0, "early_stopping": "never"} if num_beams > 1 else {}),  # by log P, as with α = 0
    )
    repeated = {name: part.repeat_interleave(num_beams, dim=0) for name, part in batch.items()}
    with torch.no_grad():
        logits = model(**repeated, decoder_input_ids=sequences[:, :-1]).logits
    labels = sequences[:, 1:]
    scores = torch.log_softmax(logits, -1).gather(2, labels[:, :, None])[:, :, 0]
    scores = torch.where(labels == pad, 0.0, scores).sum(axis=1)
    return [[i for i in row if i != pad] for row in sequences.tolist()], scores.tolist()


def record(folder):
    """Write the recorded folder, and the results of transformers into expected.json."""
    size = write_tokenizer(folder, normalization_rule_name="identity")  # the usual rules would be 240 KB a model
    tokenizer, model = read_tokenizer(folder), make_model(size, seed=2)
    teach(model, tokenizer)
    model.save_pretrained(folder)
    batch = tokenizer(SENTENCES, padding=True, return_tensors="pt")
    targets = tokenizer(text_target=TARGETS)["input_ids"]
    decoder_ids = torch.tensor([[size - 1, *range(5, 12)]] * len(SENTENCES))
    with torch.no_grad():
        logits = model(**batch, decoder_input_ids=decoder_ids).logits
    greedy, beam = translations(model, batch, 1), translations(model, batch, 3)
    expected = {
        "source_ids": tokenizer(SENTENCES)["input_ids"],
        "target_ids": targets,
        "decoded": tokenizer.batch_decode(targets, skip_special_tokens=True),
        "decoder_ids": decoder_ids.tolist(),
        "logits": np.round(logits.numpy().astype("float64"), 5).tolist(),
        "greedy": greedy[0],
        "greedy_scores": greedy[1],
        "beam": beam[0],
        "beam_scores": beam[1],
        "versions": {"transformers": transformers.__version__, "torch": torch.__version__},
    }
    (folder / "expected.json").write_text(json.dumps(expected), encoding="utf-8")


if __name__ == "__main__":
    transformers.utils.logging.disable_progress_bar()
    record(RECORDED)
