"""Translates a large collection with Apache Beam and an export, on one machine or on many.

    pip install "apache-beam>=2.77" pyarrow tensorflow-text
    python examples/bulk/bulk_translate.py --export saved_models/en_de/1 --input "in/*.txt" --output out

README.md in this folder says what the files of --output are, and what to change for Dataflow, Flink and Spark. Workers
need Apache Beam, TensorFlow and TensorFlow Text, and not keras_transformer. Options that are not known here are Beam's,
for example --runner, or --direct_num_workers.
"""

import argparse
import json
import logging
import re
import sys
import uuid
from typing import NamedTuple

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import PipelineOptions

LINE_BREAK = re.compile(r"\r\n|[\r\n]")
LOCAL = ["--runner=FnApiRunner", "--direct_running_mode=multi_processing"]  # where no runner is named
JOB = "job.json"  # in --output: what the parts belong to


class BadRow(NamedTuple):
    """A row that cannot be translated, in the place of its text."""

    reason: str


class Shard(NamedTuple):
    """Some rows of one input file: a unit of work, with output files of its own."""

    path: str
    name: str  # of its output files, in the order of the input
    first: int  # the number of its first row, from 0
    start: int  # where it begins: a byte of a text file, or a row of a Parquet file
    count: int  # its rows


class Text:
    """One text a line; in the output, one translation a line. The line of a bad row is empty."""

    ending = "txt"

    def __init__(self, field, target_field):
        pass

    def shards(self, path, rows_per_shard):
        """Yield (first row, start, count) for each shard of a file."""
        with FileSystems.open(path) as stream:
            start = position = number = 0
            first = 0
            for number, line in enumerate(stream, start=1):
                position += len(line)
                if number - first == rows_per_shard:
                    yield first, start, rows_per_shard
                    first, start = number, position
            if number > first:
                yield first, start, number - first

    def read(self, shard):
        """The rows of a shard as they are in the file."""
        with FileSystems.open(shard.path) as stream:
            stream.seek(shard.start)
            return [stream.readline().removesuffix(b"\n").removesuffix(b"\r") for _ in range(shard.count)]

    def text_of(self, row):
        """The text to translate, or a `BadRow`."""
        try:
            return row.decode("utf-8")
        except UnicodeDecodeError as error:
            return BadRow(f"not valid UTF-8 at byte {error.start + 1}")

    def write(self, stream, rows, translations):
        """Write the rows of a shard. The translation of a bad row is None."""
        for translation in translations:
            stream.write(f"{LINE_BREAK.sub(' ', translation or '')}\n".encode())

    def shown(self, row):
        """A row as a string, for the file of bad rows."""
        return row.decode("utf-8", "backslashreplace")


class Jsonl(Text):
    """One JSON object a line, with the text in a field; in the output, the object with a field more, null if bad."""

    ending = "jsonl"

    def __init__(self, field, target_field):
        self.field, self.target_field = field, target_field

    def text_of(self, row):
        line = super().text_of(row)
        if isinstance(line, BadRow):
            return line
        try:
            value = json.loads(line)
        except ValueError as error:
            return BadRow(f"not JSON: {error}")
        if not isinstance(value, dict) or not isinstance(value.get(self.field), str):
            return BadRow(f"no object with a string in the field {self.field!r}")
        return value[self.field]

    def write(self, stream, rows, translations):
        for row, translation in zip(rows, translations, strict=True):
            try:
                value = json.loads(row)
            except ValueError:
                value = None
            value = {**value, self.target_field: translation} if isinstance(value, dict) else None
            stream.write(f"{json.dumps(value, ensure_ascii=False)}\n".encode())


class Parquet:
    """Rows of a Parquet file, with the text in a column; in the output, the rows with a column more, null if bad."""

    ending = "parquet"

    def __init__(self, field, target_field):
        self.field, self.target_field = field, target_field

    def shards(self, path, rows_per_shard):
        import pyarrow.parquet

        with FileSystems.open(path) as stream:
            file = pyarrow.parquet.ParquetFile(stream)
            if self.field not in file.schema_arrow.names:
                raise ValueError(f"{path} has no column {self.field!r}. It has {', '.join(file.schema_arrow.names)}.")
            if self.target_field in file.schema_arrow.names:
                raise ValueError(f"{path} has a column {self.target_field!r} already. Give another --target-field.")
            rows = file.metadata.num_rows
        for first in range(0, rows, rows_per_shard):
            yield first, first, min(rows_per_shard, rows - first)

    def read(self, shard):
        import pyarrow
        import pyarrow.parquet

        with FileSystems.open(shard.path) as stream:
            file = pyarrow.parquet.ParquetFile(stream)
            wanted, tables, row = range(shard.start, shard.start + shard.count), [], 0
            for group in range(file.num_row_groups):
                rows = range(row, row + file.metadata.row_group(group).num_rows)
                row = rows.stop
                if rows.start < wanted.stop and wanted.start < rows.stop:  # only the groups that hold rows of the shard
                    offset = max(wanted.start - rows.start, 0)
                    tables.append(file.read_row_group(group).slice(offset, wanted.stop - rows.start - offset))
        return pyarrow.concat_tables(tables).to_pylist(), tables[0].schema

    def text_of(self, row):
        text = row[self.field]
        return text if isinstance(text, str) else BadRow(f"no string in the column {self.field!r}")

    def write(self, stream, rows, translations):
        import pyarrow
        import pyarrow.parquet

        rows, schema = rows
        schema = schema.append(pyarrow.field(self.target_field, pyarrow.string()))
        rows = [{**row, self.target_field: text} for row, text in zip(rows, translations, strict=True)]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema), stream)

    def shown(self, row):
        return json.dumps(row, ensure_ascii=False, default=str)


FORMATS = {"text": Text, "jsonl": Jsonl, "parquet": Parquet}


def translate_by_length(translate, texts, batch_size):
    """The translations of texts in their order, from batches of similar length: strings, or `BadRow`s.

    Args:
        translate: from a list of strings to (translation, whether the text was too long) for each.
    """
    results = [None] * len(texts)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i].encode("utf-8", "replace")))
    for start in range(0, len(order), batch_size):
        numbers = order[start : start + batch_size]
        for number, (translation, truncated) in zip(numbers, translate([texts[i] for i in numbers]), strict=True):
            results[number] = BadRow("longer than the export's max_source_length") if truncated else translation
    return results


class FindShards(beam.DoFn):
    """(number of a file, its path) -> its `Shard`s, as tuples."""

    def __init__(self, file_format, rows_per_shard):
        self.format, self.rows_per_shard = file_format, rows_per_shard

    def process(self, element):
        number, path = element
        for part, (first, start, count) in enumerate(self.format.shards(path, self.rows_per_shard)):
            # A plain tuple: workers cannot unpickle a class of the main program.
            yield path, f"{number:05d}-{part:07d}", first, start, count


class TranslateShard(beam.DoFn):
    """Translates a `Shard` and writes its two files, unless they are there. Yields the numbers of its rows.

    The file of the bad rows is written first, and each file gets its name when it is complete. So the file of the
    translations says that the shard is done. A worker that is killed leaves only temporary names.
    """

    def __init__(self, file_format, export, output, batch_size):
        self.format, self.export, self.output, self.batch_size = file_format, export, output, batch_size

    def setup(self):
        import tensorflow as tf
        import tensorflow_text  # noqa: F401  its ops are in the export

        model = tf.saved_model.load(self.export)
        serve = model.signatures["serving_default"]

        def translate(texts):
            answer = serve(sentences=tf.constant(texts, tf.string))
            translations = [text.decode() for text in answer["translations"].numpy()]
            return list(zip(translations, answer["truncated"].numpy().tolist(), strict=True))

        self.model, self.translate = model, translate  # signatures do not keep their model alive

    def process(self, element):
        shard = Shard(*element)
        part = f"part-{shard.name}.{self.format.ending}"
        if FileSystems.exists(FileSystems.join(self.output, part)):
            Metrics.counter("bulk", "shards skipped").inc()
            return
        rows = self.format.read(shard)
        each = rows[0] if isinstance(rows, tuple) else rows
        results = [self.format.text_of(row) for row in each]
        good = [i for i, result in enumerate(results) if not isinstance(result, BadRow)]
        translated = translate_by_length(self.translate, [results[i] for i in good], self.batch_size)
        for i, translation in zip(good, translated, strict=True):
            results[i] = translation
        bad = [
            {"file": shard.path, "row": shard.first + i, "reason": result.reason, "content": self.format.shown(each[i])}
            for i, result in enumerate(results)
            if isinstance(result, BadRow)
        ]
        if bad:
            lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in bad).encode()
            self._write(f"bad-{shard.name}.jsonl", lambda stream: stream.write(lines))
        texts = [None if isinstance(result, BadRow) else result for result in results]
        self._write(part, lambda stream: self.format.write(stream, rows, texts))
        Metrics.counter("bulk", "rows translated").inc(len(results) - len(bad))
        Metrics.counter("bulk", "rows bad").inc(len(bad))
        yield len(results)

    def _write(self, name, write):
        """Write a file under a temporary name, then give it its name."""
        path = FileSystems.join(self.output, name)
        beside = FileSystems.join(self.output, f".{uuid.uuid4().hex}.unfinished")
        with FileSystems.create(beside) as stream:
            write(stream)
        FileSystems.rename([beside], [path])


def check_job(output, job):
    """Write what the output belongs to, or compare it with what is there.

    Raises:
        ValueError: the output has parts of another job. The message names what differs.
    """
    path = FileSystems.join(output, JOB)
    if not FileSystems.exists(path):
        if not FileSystems.exists(output):
            FileSystems.mkdirs(output)
        with FileSystems.create(path) as stream:
            stream.write(json.dumps(job, indent=1).encode())
        return
    with FileSystems.open(path) as stream:
        there = json.loads(stream.read())
    if differ := sorted(name for name in {*there, *job} if there.get(name) != job.get(name)):
        raise ValueError(
            f"--output {output} belongs to another job: {', '.join(differ)} differ from {path}. Choose another folder."
        )


def read_arguments(arguments):
    """The options of this program, and those of Beam."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--export", required=True, help="folder of one version of the export, for example en_de/1")
    parser.add_argument("--input", required=True, help="a file or a pattern, plain or on any file system of Beam")
    parser.add_argument("--output", required=True, help="folder of the parts")
    parser.add_argument("--format", choices=FORMATS, default="text", help="of the input and of the output")
    parser.add_argument("--field", default="source", help="JSONL, Parquet: the field or column of the text")
    parser.add_argument("--target-field", default="translation", help="JSONL, Parquet: that of the translation")
    parser.add_argument("--rows-per-shard", type=int, default=2000, help="what is lost at most when a worker is killed")
    parser.add_argument("--batch-size", type=int, default=64, help="sentences decoded at a time")
    options, others = parser.parse_known_args(arguments)
    for name in ("rows_per_shard", "batch_size"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1, got {getattr(options, name)}.")
    named = any(other.partition("=")[0] == "--runner" for other in others)
    return options, others if named else [*LOCAL, *others]


def main(arguments=None):
    """Translate; print one line with the numbers of rows."""
    options, beams = read_arguments(arguments)
    [found] = FileSystems.match([options.input])
    files = sorted((entry.path, entry.size_in_bytes) for entry in found.metadata_list)
    if not files:
        sys.exit(f"--input {options.input} matches no file.")
    if options.format != "parquet" and (
        packed := [path for path, _ in files if path.endswith((".gz", ".bz2", ".zst"))]
    ):
        sys.exit(f"{packed[0]} is compressed, and cannot be cut into shards. Unpack it first.")
    [model] = FileSystems.match([FileSystems.join(options.export, "saved_model.pb")])
    if not model.metadata_list:
        sys.exit(f"--export {options.export} holds no saved_model.pb. Give the folder of one version, such as en_de/1.")
    job = {name: getattr(options, name) for name in ("export", "format", "field", "target_field", "rows_per_shard")}
    job |= {"export_bytes": model.metadata_list[0].size_in_bytes, "files": [list(file) for file in files]}
    try:
        check_job(options.output, job)
    except ValueError as error:
        sys.exit(str(error))
    file_format = FORMATS[options.format](options.field, options.target_field)
    pipeline = beam.Pipeline(options=PipelineOptions(beams, save_main_session=False))
    _ = (
        pipeline
        | beam.Create(list(enumerate(path for path, _ in files)))
        | beam.ParDo(FindShards(file_format, options.rows_per_shard))
        | beam.Reshuffle()  # shards of one file go to all workers
        | beam.ParDo(TranslateShard(file_format, options.export, options.output, options.batch_size))
    )
    result = pipeline.run()
    result.wait_until_finish()
    counters = {c.key.metric.name: c.committed for c in result.metrics().query()["counters"]}
    names = ("rows translated", "rows bad", "shards skipped")
    print(", ".join(f"{counters.get(name, 0):,} {name}" for name in names))


if __name__ == "__main__":
    logging.getLogger().setLevel(logging.WARNING)
    main()
