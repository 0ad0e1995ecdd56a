"""`interop.keras_hub`: a task of keras-hub over our model, compared with `Translator` and with uncached decoding."""

import json
import shutil

import huggingface_hub
import kagglehub
import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
import tiny
from keras import ops

from keras_transformer import Translator
from keras_transformer.ids import END, PAD, START
from keras_transformer.interop import keras_hub as ours

SOURCES = [source for source, _ in tiny.digit_pairs(200, seed=5)]
EXTRA = 4  # tokens that a translation may have more than its source: some reach this limit


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A model that ends some translations by END and others not, and its tokenizer."""
    keras.utils.set_random_seed(0)
    return tiny.make_opinionated(seed=2), tiny.make_tokenizer(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def task(parts):
    return ours.as_task(*parts, max_extra_length=EXTRA)


@pytest.fixture(scope="module")
def translator(parts):
    return Translator(*parts, beam_size=1, max_extra_length=EXTRA)


@pytest.fixture(scope="module")
def preset(task, tmp_path_factory):
    folder = tmp_path_factory.mktemp("presets") / "digits"
    task.save_to_preset(folder)
    return folder


def test_the_greedy_strings_are_those_of_the_translator(task, translator):
    sentences = [*SOURCES[:-2], "", " \u200b"]  # the last two are blank
    expected = translator(sentences)
    assert len(set(expected)) > 50 and expected[-2:] == ["", ""]
    hypotheses = [hypothesis for [hypothesis] in translator.n_best(sentences, 1)]
    assert 20 < sum(hypothesis.finished for hypothesis in hypotheses) < 180
    assert task.generate(sentences) == expected
    assert task.generate(sentences[3]) == expected[3]
    assert task.generate(tf.data.Dataset.from_tensor_slices(sentences[:5]).batch(3)) == expected[:5]
    with pytest.raises(ValueError, match=r"^encoder_text is an empty list\. Give at least one text\.$"):
        task.generate([])


def test_a_prompt_is_the_prefix_of_the_translator(task, translator):
    prompts = ["1 2", "", "3 4 5"]
    texts = task.generate({"encoder_text": SOURCES[:3], "decoder_text": prompts})
    assert texts == translator(SOURCES[:3], prefixes=prompts)
    texts = task.generate({"encoder_text": SOURCES[:2], "decoder_text": ["1 2", "3 4"]})  # all rows have two tokens
    assert texts == translator(SOURCES[:2], prefixes=["1 2", "3 4"])


def test_max_length_counts_start_and_takes_the_place_of_the_limit(task, translator):
    source, tokens = next(
        (source, hypothesis.tokens)
        for source, [hypothesis] in zip(SOURCES[:9], translator.n_best(SOURCES[:9], 1), strict=True)
        if len(hypothesis.tokens) > 4
    )
    ids = task.preprocessor.tokenizer.token_to_id
    expected = task.preprocessor.tokenizer.detokenize([ids(token) for token in tokens[:4]])
    assert task.generate(source, max_length=5) == expected


SAMPLERS = {
    "beam": lambda: keras_hub.samplers.BeamSampler(num_beams=3),
    "contrastive": lambda: keras_hub.samplers.ContrastiveSampler(k=3, alpha=0.3),
    "top_p": lambda: keras_hub.samplers.TopPSampler(p=0.7, seed=3),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_each_sampler_finds_what_it_finds_without_a_cache(task, parts, name):
    model, _ = parts
    inputs = task.preprocessor.generate_preprocess(SOURCES[:5])
    prompt, limits = inputs["decoder_token_ids"], inputs["decoder_limits"]
    source = inputs["encoder_token_ids"]

    def without_cache(prompt, cache, index):
        """The whole model on the whole prompt, with the rules that `TransformerSeq2SeqLM` states."""
        times = prompt.shape[0] // source.shape[0]
        memory, most = ops.repeat(source, times, axis=0), ops.repeat(limits, times)
        vectors = model.decoder_vectors({"source": memory, "target": prompt})[:, index - 1]
        logits = model({"source": memory, "target": prompt})[:, index - 1].numpy()
        logits[:, [PAD, START]] = -1e9
        closed = (prompt[:, index - 1].numpy() == END) | (index > most.numpy())
        logits[closed] = np.where(np.arange(logits.shape[1]) == END, logits[closed], -1e9)
        return ops.convert_to_tensor(logits), vectors, cache

    mask, start = inputs["decoder_padding_mask"], ops.convert_to_tensor(1)
    vectors = model.decoder_vectors({"source": source, "target": prompt})
    options = {"stop_token_ids": (END,), "hidden_states": vectors}
    ids = SAMPLERS[name]()(without_cache, prompt, None, start, mask, **options).numpy()
    row_mask = np.cumsum(ids == END, axis=1) - (ids == END) == 0
    row_mask &= np.arange(ids.shape[1]) <= limits.numpy()[:, None]
    expected = task.preprocessor.tokenizer.detokenize(np.where(row_mask, ids, PAD))
    sampled = ours.TransformerSeq2SeqLM(task.backbone, task.preprocessor, compile=False)
    sampled.compile(sampler=SAMPLERS[name](), run_eagerly=name == "top_p")  # the others also change the cache in graphs
    assert sampled.generate(SOURCES[:5]) == expected
    assert len(set(expected)) > 2


def test_without_a_preprocessor_ids_go_in_and_out(task, parts):
    bare = ours.TransformerSeq2SeqLM(task.backbone, compile=False)
    bare.compile(run_eagerly=True)
    inputs = task.preprocessor.generate_preprocess(SOURCES[:3])
    outputs = bare.generate(inputs, stop_token_ids=(END,))
    assert task.preprocessor.generate_postprocess(outputs) == task.generate(SOURCES[:3])


def test_the_logits_are_the_models_and_padding_changes_nothing(task, parts):
    batch, _ = tiny.random_batch(np.random.default_rng(1), [5, 3], [7, 2])
    expected = parts[0](batch).numpy()
    masks = {name: ids != PAD for name, ids in batch.items()}
    garbage = {name: np.where(masks[name], ids, 77) for name, ids in batch.items()}  # only the mask says what it is
    inputs = {}
    for side, name in (("encoder", "source"), ("decoder", "target")):
        inputs |= {f"{side}_token_ids": garbage[name], f"{side}_padding_mask": masks[name]}
    logits = task(inputs).numpy()
    np.testing.assert_allclose(logits[masks["target"]], expected[masks["target"]], rtol=1e-5, atol=1e-5)
    vectors = task.backbone(inputs)["decoder_sequence_output"].numpy()
    np.testing.assert_allclose(vectors[0], parts[0].decoder_vectors(batch)[0], rtol=1e-5, atol=1e-5)


def test_the_preprocessor_follows_our_conventions(task, parts):
    x, labels, weights = task.preprocessor({"encoder_text": ["3 1", "4"], "decoder_text": ["1", "4 2"]})
    encode = parts[1].encode
    np.testing.assert_array_equal(x["encoder_token_ids"], [[*encode("3 1"), END], [*encode("4"), END, PAD]])
    np.testing.assert_array_equal(x["decoder_token_ids"], [[START, *encode("1"), PAD], [START, *encode("4 2")]])
    np.testing.assert_array_equal(labels, [[*encode("1"), END, PAD], [*encode("4 2"), END]])
    np.testing.assert_array_equal(weights, labels.numpy() != PAD)
    single = task.preprocessor({"encoder_text": "4", "decoder_text": "4 2"}, decoder_sequence_length=5)
    np.testing.assert_array_equal(single[0]["decoder_token_ids"], [START, *encode("4 2"), PAD, PAD])
    assert single[1].shape == (5,)


def test_fit_trains_the_model_itself(tmp_path):
    tokenizer = tiny.make_tokenizer(tmp_path)
    model = tiny.make_model()
    task = ours.as_task(model, tokenizer)
    pairs = tiny.digit_pairs(32)
    texts = {"encoder_text": [source for source, _ in pairs], "decoder_text": [target for _, target in pairs]}
    x, labels, weights = (keras.tree.map_structure(np.asarray, part) for part in task.preprocessor(texts))
    logits = model({"source": x["encoder_token_ids"], "target": x["decoder_token_ids"]})
    of_labels = np.take_along_axis(ops.log_softmax(logits).numpy(), labels[..., None], axis=-1)[..., 0]
    expected = -(of_labels * weights).sum() / weights.size
    before = model.output_map.embeddings.numpy()
    task.compile(optimizer=keras.optimizers.Adam(3e-3), run_eagerly=True)
    arrays = {name: np.array(column) for name, column in texts.items()}
    losses = task.fit(arrays, batch_size=32, epochs=5, verbose=0, shuffle=False).history["loss"]
    assert losses[0] == pytest.approx(expected, rel=1e-4) and losses[-1] < 0.9 * losses[0]
    assert np.abs(model.output_map.embeddings.numpy() - before).max() > 1e-3


def test_a_preset_gives_the_task_back(preset, task):
    again = keras_hub.models.Seq2SeqLM.from_preset(str(preset))
    assert type(again) is ours.TransformerSeq2SeqLM
    again.compile(run_eagerly=True)
    assert again.generate(SOURCES[:9]) == task.generate(SOURCES[:9])
    assert again.preprocessor.max_extra_length == EXTRA
    tokenizer = keras_hub.models.Tokenizer.from_preset(str(preset))
    assert tokenizer.detokenize(tokenizer(SOURCES[:2])) == SOURCES[:2]
    preprocessor = keras_hub.models.Seq2SeqLMPreprocessor.from_preset(str(preset))
    assert type(preprocessor) is ours.TransformerSeq2SeqLMPreprocessor


def test_a_preset_gives_the_model_and_the_tokenizer(preset, parts):
    model, tokenizer = ours.load(preset)
    for loaded, saved in zip(model.get_weights(), parts[0].get_weights(), strict=True):
        np.testing.assert_array_equal(loaded, saved)
    assert tokenizer.fingerprint == parts[1].fingerprint
    backbone = keras_hub.models.Backbone.from_preset(str(preset), dtype="mixed_bfloat16", trainable=False)
    assert backbone.transformer.dtype_policy.name == "mixed_bfloat16"
    assert backbone.trainable_variables == [] and len(backbone.weights) == len(model.weights)


def test_a_keras_file_holds_the_task_its_tokenizer_and_its_sampler(parts, tmp_path):
    task = ours.as_task(*parts, max_extra_length=EXTRA)
    task.compile(optimizer="sgd", sampler=keras_hub.samplers.BeamSampler(num_beams=3), run_eagerly=True)
    task.save(tmp_path / "task.keras")
    loaded = keras.saving.load_model(tmp_path / "task.keras")
    assert loaded.sampler.num_beams == 3 and isinstance(loaded.optimizer, keras.optimizers.SGD)
    assert loaded.generate(SOURCES[:5]) == task.generate(SOURCES[:5])


def test_two_vocabularies_learned_positions_and_a_bias(tmp_path):
    pair = tiny.make_pair(tmp_path)
    model = tiny.make_random(**tiny.PAIR_SIZES, positions="learned", max_length=24, output_bias=True)
    task = ours.as_task(model, pair, max_extra_length=7)
    translator = Translator(model, pair, beam_size=1, max_extra_length=7)
    expected = translator(SOURCES[:9])
    task.compile(run_eagerly=True)
    assert task.generate(SOURCES[:9]) == expected and len(set(expected)) > 3
    assert task.preprocessor.tokenizer.vocabulary_size() == 21
    task.save_to_preset(tmp_path / "preset")
    tokenizer = keras_hub.models.Seq2SeqLM.from_preset(str(tmp_path / "preset")).preprocessor.tokenizer.tokenizer
    assert tokenizer.fingerprint == pair.fingerprint
    with pytest.raises(Exception, match=r"longer than the 24 learned positions.*max_length"):
        task.generate(SOURCES[0], max_length=25)


def test_lora_trains_only_its_additions(tmp_path):
    task = ours.as_task(tiny.make_model(), tiny.make_tokenizer(tmp_path))
    task.backbone.enable_lora(2)
    assert {variable.name for variable in task.trainable_variables} == {"lora_kernel_a", "lora_kernel_b"}
    task.backbone.save_lora_weights(str(tmp_path / "digits.lora.h5"))


class Hub:
    """What stands in for the hubs' clients: a folder, and the calls."""

    def __init__(self, folder):
        self.folder, self.calls, self.files = folder, [], set()

    def hf_hub_download(self, repo_id, filename):
        self.calls.append((repo_id, filename))
        return str(self._file(filename))

    def model_download(self, handle, path):
        self.calls.append((handle, path))
        return str(self._file(path))

    def _file(self, name):
        if not (self.folder / name).exists():
            raise FileNotFoundError(name)
        return self.folder / name

    def create_repo(self, repo_id, exist_ok):
        assert exist_ok
        return huggingface_hub.RepoUrl(f"https://huggingface.co/{repo_id}")

    def file_exists(self, repo_id, filename):
        return (repo_id, filename) in self.files

    def upload_file(self, path_or_fileobj, path_in_repo, repo_id):
        self.files.add((repo_id, path_in_repo))
        self.card = path_or_fileobj.decode()

    def upload_folder(self, repo_id, folder_path):
        self.calls.append((repo_id, folder_path))

    def model_upload(self, handle, folder):
        self.calls.append((handle, folder))


@pytest.fixture
def hub(preset, monkeypatch):
    hub = Hub(preset)
    for name in ("hf_hub_download", "create_repo", "file_exists", "upload_file", "upload_folder"):
        monkeypatch.setattr(huggingface_hub, name, getattr(hub, name))
    for name in ("model_download", "model_upload"):
        monkeypatch.setattr(kagglehub, name, getattr(hub, name))
    return hub


@pytest.mark.parametrize("address", ["hf://user/digits", "kaggle://user/digits/keras/small"])
def test_addresses_are_read_by_the_loader_of_keras_hub(hub, task, address):
    again = keras_hub.models.Seq2SeqLM.from_preset(address)
    for loaded, saved in zip(again.get_weights(), task.get_weights(), strict=True):
        np.testing.assert_array_equal(loaded, saved)
    handle = address.partition("://")[2]
    assert {(handle, "model.weights.h5"), (handle, "assets/tokenizer/tokenizer.model")} <= set(hub.calls)


def test_a_preset_is_uploaded_with_a_card_that_says_how_to_load_it(hub, preset):
    before = sorted(preset.rglob("*"))
    ours.upload_preset("hf://user/digits", preset)
    ours.upload_preset("kaggle://user/digits/keras/small", preset)
    assert hub.calls == [("user/digits", str(preset)), ("user/digits/keras/small", str(preset))]
    assert "import keras_transformer.interop.keras_hub" in hub.card and '"hf://user/digits"' in hub.card
    hub.card = "by hand"
    ours.upload_preset("hf://user/digits", preset)
    assert hub.card == "by hand" and sorted(preset.rglob("*")) == before


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("digits", "uri='digits' is no address to put a model at. Write hf://user/model"),
        ("hf://user/digits@main", "uri='hf://user/digits@main' is no address to put a model at."),
        ("hf://digits", "uri='hf://digits' is no address of a model. Write hf://user/model"),
        ("gs://user/digits", "uri='gs://user/digits' is no address of a model. Known are hf://user/model"),
    ],
)
def test_a_wrong_uri_is_refused_first(hub, uri, message):
    with pytest.raises(ValueError, match=f"^{message.replace('.', '[.]')}"):
        ours.upload_preset(uri, "no such folder")
    assert hub.calls == []


def test_a_foreign_folder_is_not_uploaded(hub, preset, tmp_path):
    foreign = tmp_path / "foreign"
    shutil.copytree(preset, foreign)
    config = json.loads((foreign / "config.json").read_text())
    (foreign / "config.json").write_text(json.dumps({**config, "registered_name": "keras_hub>BartBackbone"}))
    for folder in (foreign, tmp_path):
        with pytest.raises(ValueError, match=r"^preset='.*' is no preset of keras_transformer\."):
            ours.upload_preset("hf://user/digits", folder)
    assert hub.calls == [] and hub.files == set()


def test_wrong_arguments(task, parts, translator):
    model, tokenizer = parts
    with pytest.raises(TypeError, match=r"^transformer must be a Transformer, got .*Give translator\.model\.$"):
        ours.as_task(translator, tokenizer)
    with pytest.raises(TypeError, match=r"^tokenizer must be a Tokenizer, got .*The order is as_task"):
        ours.as_task(model, model)
    with pytest.raises(ValueError, match="they were not trained together"):
        ours.as_task(tiny.make_model(vocabulary_size=23), tokenizer)
    with pytest.raises(ValueError, match="return_all_beams=True, and generate gives one text"):
        task.compile(sampler=keras_hub.samplers.BeamSampler(return_all_beams=True))
    with pytest.raises(ValueError, match="max_extra_length must be"):
        ours.as_task(model, tokenizer, max_extra_length=-1)
    with pytest.raises(ValueError, match="token='nothing' is no piece"):
        task.preprocessor.tokenizer.token_to_id("nothing")
    with pytest.raises(ValueError, match="has no tokenizer yet"):
        ours.TransformerTokenizer().vocabulary_size()


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ({"encoder_text": ["1"]}, "x must be a dictionary with 'encoder_text' and 'decoder_text', got one without"),
        (["1"], "x must be a dictionary with 'encoder_text' and 'decoder_text', got list"),
        ({"encoder_text": ["1"], "decoder_text": ["1", "2"]}, "encoder_text has 1 texts and decoder_text 2"),
        ({"encoder_text": ["1", 2], "decoder_text": ["1", "2"]}, r"encoder_text\[1\] must be a string, got 2"),
        (
            {"encoder_text": ["1", "2 3"], "decoder_text": ["1 2 3 4 5 6 7", "2"]},
            r"decoder_text\[0\] has 8 tokens with START, and decoder_sequence_length is 6\. Nothing is cut off",
        ),
    ],
)
def test_wrong_texts(task, x, message):
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        task.preprocessor(x, decoder_sequence_length=6)
