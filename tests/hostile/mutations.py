"""How hypothesis damages a sound file: bytes anywhere, numbers that announce lengths, the structure of JSON."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

NUMBERS = tuple(
    number.to_bytes(size, order)
    for size in (1, 2, 4, 8)
    for number in (0, 1, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 2 ** (8 * size) - 1)
    for order in ("little", "big")
) + tuple((65535).to_bytes(4, order) for order in ("little", "big"))
"""What a field that announces a length, a count or a size may be made to say."""

# Written into JSON as they stand, whether JSON allows it or not; the last ones are of any depth and length.
RAW_VALUES = (
    "NaN", "-Infinity", "1e999", "1e308", "1e-320", "-1", "0", "-0.0", "1e-400", "2.5", "9" * 30, "9" * 5000,
    "18446744073709551616", "1073741824", "true", "null", '""', "[]", "{}", "[[]]", '{"": 0}', "[null]",
    '"\\ud800"', '"\\udcff/x"', '"\\u0000"', '"\\u202e"', '"../../../../../../etc/passwd"', '"/etc/passwd"',
    "1000000000000", "65536", '"/dev/zero"', '"/proc/self/mem"',
    '"."', '"' + "x" * 300 + '"', '"' + "a/" * 2100 + '"', "'single'",
    "[" * 100_000, "[" * 5000 + "]" * 5000, '{"a":' * 3000 + "0" + "}" * 3000, '"' + "y" * 1_000_000 + '"',
    "[" + "0," * 100_000 + "0]", '["__import__(\'os\').system(\'true\')"]',
)  # fmt: skip
RAW_KEYS = ('""', '"\\ud800"', '"\\u0000"', '"__class__"', '"__proto__"', '"id"', '"record"', '"' + "k" * 10_000 + '"')


Draw = Callable[[st.SearchStrategy[Any]], Any]


def one_of(draw: Draw, choices: Sequence[Any]) -> Any:
    """One of them by its place: hypothesis keeps a strategy's choices as text, and these are large."""
    return choices[draw(st.integers(0, len(choices) - 1))]


def _places(content: bytes) -> st.SearchStrategy[int]:
    """Anywhere, or with equal chance near the beginning, where headers are."""
    return st.integers(0, max(len(content) - 1, 0)) | st.integers(0, min(len(content), 256))


def damaged_bytes(draw: Draw, sound: bytes, tokens: Sequence[bytes] = ()) -> bytes:
    """The content with one to six edits, each anywhere."""
    content = sound
    for _ in range(draw(st.integers(1, 6))):
        content = _byte_edit(draw, content, tokens)
    return content


def damaged_header(draw: Draw, sound: bytes, tokens: Sequence[bytes] = ()) -> bytes:
    """A file of weights, its header damaged or the file cut: what follows is numbers, of which any is as good."""
    end = 8 + int.from_bytes(sound[:8], "little")
    if draw(st.integers(0, 9)) == 0:
        return sound[: draw(_places(sound))]
    return damaged_bytes(draw, sound[:end], tokens) + sound[end:]


def _byte_edit(draw: Draw, content: bytes, tokens: Sequence[bytes]) -> bytes:
    place = draw(_places(content))
    kinds = ["flip", "number", "cut", "leave out", "repeat", "move", *(["token"] if tokens else [])]
    chosen = draw(st.sampled_from(kinds))
    before, behind = content[:place], content[place:]
    if chosen == "flip":
        flipped = draw(st.binary(min_size=1, max_size=8))
        changed = bytes(one ^ other for one, other in zip(behind, flipped, strict=False))
    elif chosen == "number":
        changed = one_of(draw, NUMBERS)
    elif chosen == "token":
        changed = one_of(draw, tokens)
        behind = behind if draw(st.booleans()) else behind[len(changed) :]
        return before + changed + behind
    elif chosen == "repeat":
        return before + behind[:64] * draw(st.integers(2, 200)) + behind
    elif chosen == "move":
        start = draw(_places(content))
        changed = content[start : start + draw(st.integers(1, 512))]
    else:
        return before + (b"" if chosen == "cut" else behind[draw(st.integers(1, 64)) :])
    return before + changed + behind[len(changed) :]


def damaged_json(draw: Draw, sound: bytes, tokens: Sequence[bytes] = ()) -> bytes:
    """The document with values of other types and sizes, keys lost, doubled or renamed; now and then bytes changed."""
    if draw(st.integers(0, 3)) == 0:
        return damaged_bytes(draw, sound, tokens)
    document = json.loads(sound)
    raw: dict[str, str] = {}
    for _ in range(draw(st.integers(1, 3))):
        document = _edited(draw, document, raw)
    text = json.dumps(document)
    for name, value in raw.items():
        text = text.replace(f'"{name}"', value)
    return text.encode()


def damaged_lines(draw: Draw, sound: bytes, tokens: Sequence[bytes] = ()) -> bytes:
    """A file of one JSON document a line: one of them damaged, lines lost, doubled or in another order."""
    lines = sound.splitlines()
    match draw(st.sampled_from(["line", "line", "line", "order", "bytes"])):
        case "line":
            place = draw(st.integers(0, len(lines) - 1))
            lines[place] = damaged_json(draw, lines[place], tokens)
        case "order":
            lines = [one_of(draw, lines) for _ in range(draw(st.integers(0, 2 * len(lines))))]
        case _:
            return damaged_bytes(draw, sound, tokens)
    return b"".join(line + b"\n" for line in lines)


def _edited(draw: Draw, document: Any, raw: dict[str, str]) -> Any:
    """The document with one change at one place; what is no JSON is put in by a name, to be replaced in the text."""
    document = copy.deepcopy(document)
    places = list(_containers(document))
    if not places:
        return _placeholder(raw, one_of(draw, RAW_VALUES))
    container = one_of(draw, places)
    keys = list(container) if isinstance(container, dict) else list(range(len(container)))
    key = one_of(draw, keys)
    match draw(st.sampled_from(["value", "value", "value", "lose", "swap", "wrap", "double", "rename"])):
        case "value":
            container[key] = _placeholder(raw, one_of(draw, RAW_VALUES))
        case "lose":
            del container[key]
        case "swap":
            other = one_of(draw, keys)
            container[key], container[other] = container[other], container[key]
        case "wrap":
            container[key] = [container[key]]
        case "double" if isinstance(container, list):
            container.extend(copy.deepcopy(container))
        case _ if isinstance(container, dict):
            container[_placeholder(raw, one_of(draw, [*RAW_KEYS, json.dumps(key)]))] = container[key]
        case _:
            container.reverse()
    return document


def _placeholder(raw: dict[str, str], value: str) -> str:
    name = f"@raw {len(raw)}@"
    raw[name] = value
    return name


def _containers(document: Any) -> list[Any]:
    """Every list and object in the document that holds something."""
    if not isinstance(document, (dict, list)) or not document:
        return []
    inside = document.values() if isinstance(document, dict) else document
    return [document, *(found for value in inside for found in _containers(value))]
