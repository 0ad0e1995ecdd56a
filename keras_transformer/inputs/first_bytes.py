"""What the first bytes of a file show: UTF-16 or UTF-32, a compressed file, an archive."""

import codecs
from pathlib import Path
from typing import NamedTuple

# The first bytes of files that are not UTF-8, the longer ones first.
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


class Packed(NamedTuple):
    """A format of compressed files or archives: its name, its mark, where that is, and the command that unpacks it."""

    name: str
    mark: bytes
    command: str
    place: int = 0

    def unpack(self, path):
        """The command that unpacks a file. A compressed file holds one text, an archive has files with names."""
        return f"{self.command} {path}" + (" > text.txt" if self.command.endswith(" -c") else "")


ENOUGH = 512  # bytes, to know every format
GZIP = Packed("gzip file", b"\x1f\x8b", "gunzip -c")
FORMATS = (
    Packed("tar archive", b"ustar\0", "tar -xf", 257),
    Packed("tar archive", b"ustar  \0", "tar -xf", 257),
    GZIP,
    Packed("bzip2 file", b"1AY&SY", "bunzip2 -c", 4),
    Packed("xz file", b"\xfd7zXZ\0", "unxz -c"),
    Packed("lzma file", b"]\0\0", "unlzma -c"),
    Packed("Zstandard file", b"\x28\xb5\x2f\xfd", "unzstd -c"),
    Packed("LZ4 file", b"\x04\x22\x4d\x18", "lz4 -d -c"),
    Packed("compress file", b"\x1f\x9d", "uncompress -c"),
    Packed("zip archive", b"PK\x03\x04", "unzip"),
    Packed("7z archive", b"7z\xbc\xaf\x27\x1c", "7z x"),
    Packed("rar archive", b"Rar!\x1a\x07", "unrar x"),
)


def check_first_bytes(name, start, unpacked=False):
    """Refuse a text file whose first bytes show that it is packed, or UTF-16, or UTF-32.

    Args:
        name: the `Path` of the file, or what a message calls an input that has none.
        start: its first bytes. A tar archive shows itself in the first 265.
        unpacked: whether these bytes were already unpacked by gzip.

    Raises:
        ValueError: it is no text in UTF-8. The message gives the command that makes one.
    """
    path, shown = name if isinstance(name, Path) else "FILE", start[:4].hex(" ")
    kind = next((kind for kind in FORMATS if start.startswith(kind.mark, kind.place)), None)
    if kind is GZIP and path is name and not unpacked:
        remedy = f"Unpack it: tar -xf {name}" if path.suffix == ".tgz" else "Give it a name that ends in .gz."
        raise ValueError(f"{name} is a gzip file: its first bytes are {shown}. {remedy}")
    if kind is not None:
        command = f"gunzip -c {path} > unpacked && {kind.unpack('unpacked')}" if unpacked else kind.unpack(path)
        found = f"{'holds' if unpacked else 'is'} a {kind.name}"
        raise ValueError(f"{name} {found}: its first bytes are {shown}. Unpack it, for example by: {command}")
    if encoding := _other_encoding(start[:4]):
        raise ValueError(
            f"{name} is {encoding}: its first bytes are {shown}. Convert it to UTF-8, for example by: "
            f"iconv -f {encoding} -t UTF-8 {path} > utf8.txt"
        )


def _other_encoding(start):
    """The name of an encoding of Unicode that is not UTF-8, or None."""
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if start.startswith(mark):
            return encoding
    # Without a mark: where the first characters are of ASCII, the NULs show it.
    encodings = {(1, 0, 0, 0): "UTF-32LE", (0, 0, 0, 1): "UTF-32BE", (1, 0, 1, 0): "UTF-16LE", (0, 1, 0, 1): "UTF-16BE"}
    return encodings.get(tuple(map(bool, start)))
