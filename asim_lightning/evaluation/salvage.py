"""The rows that can be read in a damaged SQLite file, page by page, and the digests that tell a whole row.

A table's rows are in leaf pages: an array of places, and at each place a row with its number and a record. A long
record continues in a chain of overflow pages. Rows are found there without the schema, the tree above the leaves, or
the indices of the file, so that damage in one page costs only the rows in this page.
(https://www.sqlite.org/fileformat.html, sections 1.6 and 2)
"""

import hashlib
import struct
from collections.abc import Iterator

Value = str | int | float | bytes | None

_HEADER, _PAGE = 100, 4096  # bytes of the file's header, and of a page unless the header says otherwise
_LEAF = 0x0D
_PLACES = 8  # offset of the array of places in a leaf page
_WHOLE = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
"""Bytes of whole numbers, by their type in a record."""


def digest_of_row(table: str, *values: Value) -> bytes:
    """A digest of a row; another table, value or type gives another one."""
    digest = hashlib.blake2b(table.encode(), digest_size=16)
    for value in values:
        if isinstance(value, str):
            content = value.encode(errors="surrogatepass")
        elif isinstance(value, float):
            content = struct.pack("<d", value)
        else:
            content = value if isinstance(value, bytes) else str(value).encode()
        digest.update(f"{type(value).__name__} {len(content)} ".encode())
        digest.update(content)
    return digest.digest()


def rows_in(content: bytes) -> Iterator[tuple[bool, int, list[Value]]]:
    """Everything in a file that has the form of a row, page by page; damaged rows and other bytes may be among these.

    First whether its page counts it, because a damaged page may not, and an old copy of a row is not counted; then its
    number and values.
    """
    said = int.from_bytes(content[16:18], "big")
    size = said if said in (512, 1024, 2048, 8192, 16384, 32768) else 65536 if said == 1 else _PAGE
    for start in range(0, len(content), size):
        offset = _HEADER if start == 0 else 0
        for is_counted, place in _places(content[start : start + size], offset, size):
            try:
                number, values = _row(content, start, place, size)
                if values:
                    yield is_counted, number, values
            except (IndexError, ValueError, struct.error):  # no row, or a damaged one
                continue


def _places(page: bytes, offset: int, size: int) -> Iterator[tuple[bool, int]]:
    """Places of rows in a page, and whether it counts them. Its kind and number of rows may be damaged: places also end
    where the values of the array cannot be places any more."""
    number = int.from_bytes(page[offset + 3 : offset + 5], "big")
    number = number if page[offset : offset + 1] == bytes([_LEAF]) and number < size // 4 else 0
    for row, at in enumerate(range(offset + _PLACES, len(page) - 1, 2)):
        place = int.from_bytes(page[at : at + 2], "big")
        if at + 2 <= place < size:
            yield row < number, place
        elif row >= number:
            return


def _row(content: bytes, start: int, place: int, size: int) -> tuple[int, list[Value]]:
    length, at = _varint(content, start + place)
    number, at = _varint(content, at)
    record = _record(content, start, at, length, size)
    end, at = _varint(record, 0)
    kinds = []
    while at < end:
        kind, at = _varint(record, at)
        kinds.append(kind)
    values = list[Value]()
    for kind in kinds:
        count = _WHOLE.get(kind, 8 if kind == 7 else 0) if kind < 12 else (kind - 12) // 2
        part = record[at : at + count]
        if len(part) < count or kind in (10, 11):
            raise ValueError("the record ends before its values")
        values.append(_value(kind, part))
        at += count
    return number, values


def _record(content: bytes, start: int, at: int, length: int, size: int) -> bytes:
    """The bytes of a record, which continues in overflow pages if it is long."""
    most, least = size - 35, (size - 12) * 32 // 255 - 23
    if length > len(content):
        raise ValueError("the record is longer than the file")
    own = least + (length - least) % (size - 4)
    own = length if length <= most else own if own <= most else least
    if at + own > start + size:
        raise ValueError("the record is longer than its page")
    record, following = bytearray(content[at : at + own]), content[at + own : at + own + 4]
    while len(record) < length:
        page = (int.from_bytes(following, "big") - 1) * size
        if page < 0:
            raise ValueError("the chain of pages has ended")
        following = content[page : page + 4]
        part = content[page + 4 : page + 4 + min(size - 4, length - len(record))]
        if not part:
            raise ValueError("the page is missing")
        record += part
    return bytes(record)


def _value(kind: int, part: bytes) -> Value:
    if kind == 0:
        return None
    if kind in _WHOLE:
        return int.from_bytes(part, "big", signed=True)
    if kind in (8, 9):
        return kind - 8
    if kind == 7:
        return float(struct.unpack(">d", part)[0])
    return part.decode() if kind % 2 else part


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A whole number of one to nine bytes, and the place after it."""
    value = 0
    for byte in range(8):
        value = value << 7 | content[at + byte] & 0x7F
        if content[at + byte] < 0x80:
            return value, at + byte + 1
    return value << 8 | content[at + 8], at + 9
