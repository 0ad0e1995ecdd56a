"""Four ways to translate with the same weights: each is a function from a list of sentences to their translations."""

EXTRA = 50  # a translation may have so many tokens more than its source


def load_translator(folder, beam):
    from keras_transformer import Translator

    return Translator.load(folder, dtype="float32", beam_size=beam, length_penalty=0.0, max_extra_length=EXTRA)


class Export:
    """The SavedModel in a session."""

    def __init__(self, folder, beam, threads):
        import tensorflow as tf
        import tensorflow_text  # noqa: F401, registers the tokenizer's ops

        config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads)
        self.path = folder / f"export_{beam}"
        self.session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        self.signatures = tf.compat.v1.saved_model.load(self.session, ["serve"], str(self.path)).signature_def

    def run(self, signature, inputs):
        """Return all outputs of a signature. A server asks for all too, and a session prepares for each new choice."""
        chosen = self.signatures[signature]
        feed = {chosen.inputs[name].name: value for name, value in inputs.items()}
        return self.session.run({name: tensor.name for name, tensor in chosen.outputs.items()}, feed)

    def warm_up(self):
        """Replay the export's warm-up records, as a server does before its first request."""
        import tensorflow as tf

        from keras_transformer.export.checks.saved_model import WARMUP_FILE
        from keras_transformer.export.server.server_protos import prediction_log

        for record in tf.data.TFRecordDataset(str(self.path / WARMUP_FILE)).as_numpy_iterator():
            log = prediction_log()
            log.ParseFromString(record)
            request = log.predict_log.request
            name = request.model_spec.signature_name
            inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
            self.run(name, inputs)

    def __call__(self, sentences):
        outputs = self.run("serving_default", {"sentences": sentences})
        return [text.decode() for text in outputs["translations"]]


def set_threads(threads):
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def in_process(folder, beam, threads):
    set_threads(threads)
    return load_translator(folder / "model", beam)


def ctranslate2_translator(folder, beam, threads):
    import ctranslate2
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "ctranslate2" / "tokenizer.model"))
    runtime = ctranslate2.Translator(str(folder / "ctranslate2"), device="cpu", intra_threads=threads)

    def translate(sentences):
        results = runtime.translate_batch(
            pieces.encode(sentences, out_type=str),
            beam_size=beam,
            length_penalty=0,
            min_decoding_length=0,
            max_decoding_length=1000,
        )
        return [pieces.decode(result.hypotheses[0]) for result in results]

    return translate


def tutorial(folder, beam, threads):
    """Search as https://www.tensorflow.org/text/tutorials/transformer does, but for a batch."""
    import numpy as np
    import tensorflow as tf

    from keras_transformer.ids import END, PAD, START

    translator = in_process(folder, 1, threads)
    model, tokenizer = translator.model, translator.tokenizer

    def translate(sentences):
        rows = [[*ids, END] for ids in tokenizer.encode(list(sentences))]
        source = tf.ragged.constant(rows, tf.int32).to_tensor(PAD)
        target = tf.fill([len(rows), 1], START)
        done = np.zeros(len(rows), bool)
        for _ in range(max(map(len, rows)) + EXTRA):
            logits = model({"source": source, "target": target}, training=False)
            best = tf.argmax(logits[:, -1], axis=-1, output_type=tf.int32)
            target = tf.concat([target, best[:, None]], axis=1)
            done |= best.numpy() == END
            if done.all():
                break
        translations = target.numpy()[:, 1:].tolist()
        translations = [row[: len(ids) + EXTRA] for row, ids in zip(translations, rows, strict=True)]
        return tokenizer.decode([row[: row.index(END)] if END in row else row for row in translations])

    return translate


MAKERS = {
    "export": Export,
    "in process": in_process,
    "ctranslate2": ctranslate2_translator,
    "tutorial": tutorial,
}


def write_contenders(folder, model, beams, sentences):
    """Write the model in each form that a contender reads."""
    from keras_transformer.export.checks.saved_model import read_saved_model
    from keras_transformer.export.server.warmup import write_warmup
    from keras_transformer.interop import ctranslate2

    (folder / "model").symlink_to(model.resolve(), target_is_directory=True)
    for beam in beams:
        translator = load_translator(model, beam)
        translator.export(folder / f"export_{beam}")
        write_warmup(read_saved_model(folder / f"export_{beam}"), sentences)
    ctranslate2.save(translator.model, translator.tokenizer, folder / "ctranslate2")
