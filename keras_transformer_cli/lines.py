"""The lines that are translated: what of a line is text, and how its result is written."""

import json
import re

from keras_transformer.translation.whole_file import one_line

SEPARATOR = " ||| "  # as in Moses and Marian
HALF_PAIR = re.compile("[\ud800-\udfff]")  # of JSON's escapes: UTF-8 cannot hold it, and an escape can


class PlainLines:
    """One sentence a line. What is asked for beside the text follows after `|||`."""

    def __init__(self, field=None):
        if field is not None:
            raise ValueError(f"field={field!r} is for --tsv and --jsonl. Plain lines have no fields.")

    def text(self, line, number):
        return line

    def write(self, line, number, answers, wishes):
        """The lines of the output for a line of the input.

        Args:
            line: of the input.
            number: of the line, from 0.
            answers: a list of `Answer`, the best first.
            wishes: what is asked for beside the text.
        """
        for answer in answers:
            parts = [str(number)] if wishes.n_best else []
            parts.append(one_line(answer.text))
            parts += [answer.alignment] if wishes.alignment else []
            parts += [f"{answer.score:.6g}"] if wishes.scores else []
            yield SEPARATOR.join(parts)


class TabLines:
    """Columns with tabs between them. The results are new columns at the end."""

    def __init__(self, field=None):
        self.field = "1" if field is None else field
        self.column = int(self.field) - 1 if re.fullmatch("[1-9][0-9]*", self.field) else None
        self.has_names = self.column is None
        if re.fullmatch("-?[0-9]+", self.field) and self.has_names:
            raise ValueError(f"field={self.field!r} is no column: the first one has the number 1.")

    def text(self, line, number):
        columns = line.split("\t")
        if self.has_names and number == 0:
            if self.field not in columns:
                raise ValueError(f"line 1: no column is called {self.field!r}. The columns are: {', '.join(columns)}.")
            self.column = columns.index(self.field)
            return None
        if self.column >= len(columns):
            raise ValueError(
                f"line {number + 1} has {len(columns)} columns, and column {self.column + 1} is asked for."
            )
        return columns[self.column]

    def write(self, line, number, answers, wishes):
        """See `PlainLines.write`."""
        if answers is None:
            names = ["translation", *(["alignment"] if wishes.alignment else []), *(["score"] if wishes.scores else [])]
            yield "\t".join([line, *names])
            return
        for answer in answers:
            columns = [line, one_line(answer.text).replace("\t", " ")]
            columns += [answer.alignment] if wishes.alignment else []
            columns += [f"{answer.score:.6g}"] if wishes.scores else []
            yield "\t".join(columns)


class JsonLines:
    """A JSON object a line. The results are new fields."""

    def __init__(self, field=None):
        self.field = field or "text"

    def text(self, line, number):
        row = self._row(line, number)
        if not isinstance(row.get(self.field), str):
            found = "is missing" if self.field not in row else f"is no string: {row[self.field]!r}"
            raise ValueError(f"line {number + 1}: the field {self.field!r} {found}. The fields are: {', '.join(row)}.")
        return row[self.field]

    def _row(self, line, number):
        try:
            row = json.loads(line)
        except ValueError as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            raise ValueError(f"line {number + 1} is no JSON: {reason}. It begins {line[:60]!r}.") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number + 1} is no JSON object: {line[:60]!r}.")
        return row

    def write(self, line, number, answers, wishes):
        """See `PlainLines.write`."""
        row, found = self._row(line, number), [self._fields(answer, wishes) for answer in answers]
        row |= {"n_best": found} if wishes.n_best else found[0]
        text = json.dumps(row, ensure_ascii=False)
        yield HALF_PAIR.sub(lambda half: f"\\u{ord(half[0]):04x}", text)

    @staticmethod
    def _fields(answer, wishes):
        fields = {"translation": answer.text}
        if wishes.alignment:
            fields["alignment"] = answer.alignment
        if wishes.scores:
            fields["score"] = answer.score
        return fields


KINDS = {"plain": PlainLines, "tsv": TabLines, "jsonl": JsonLines}
