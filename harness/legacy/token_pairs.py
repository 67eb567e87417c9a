"""Token ids of a draft's and a target's answers to the same samples, out of result files of ours and of older formats.

    [].egpt_token_ids with the _token_ids of any other model                  ours, and the first script's
    results[].egpt_tokens with results[].vl_tokens                            a later script's
    results[].eventgpt.output_tokens with results[].videollava.output_tokens  a third one's

What would make any figure of agreement meaningless is refused here, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from harness.errors import ResultFileError
from harness.figures.agreement import TokenPair
from harness.records.json_files import read_json

_DRAFT_IDS, _IDS = "egpt_token_ids", "_token_ids"
BEGIN = 1
"""The id that begins every text of the Llama family."""
MAX_REPEAT = 32
"""Equal ids in a row; a placeholder that was expanded to its visual tokens is hundreds of them."""


def read_token_pairs(path: Path) -> dict[str, tuple[TokenPair, ...]]:
    """Return the pairs of a result file by target; samples without both answers are left out.

    Raises ResultFileError, naming file and samples, where there are none, where a field is no list of ids, and where
    the ids are not answers: one or two distinct ids, the prompt's ids left in, a begin-of-text id that always agrees.
    """
    pairs: dict[str, list[TokenPair]] = {}
    for number, record in enumerate(_records(path)):
        name = str(record.get("id", record.get("sample_id", number)))
        for target, draft_ids, target_ids in _answers(record):
            pair = TokenPair(name, _ids(path, name, draft_ids), _ids(path, name, target_ids))
            if pair.draft and pair.target:
                pairs.setdefault(target, []).append(pair)
    if not pairs:
        raise ResultFileError(
            f"{path}: no sample has token ids of both a draft and a target; looked for egpt_token_ids with "
            "videollava_token_ids or another model's, egpt_tokens with vl_tokens, and eventgpt.output_tokens with "
            "videollava.output_tokens"
        )
    for target, found in pairs.items():
        _require_answers(path, target, found)
    return {target: tuple(found) for target, found in pairs.items()}


def _records(path: Path) -> list[dict[str, Any]]:
    content = read_json(path, object, "JSON")
    records = content.get("results") if isinstance(content, dict) else content
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ResultFileError(f"{path}: must hold a list of records, or an object with such a list under 'results'")
    return records


def _answers(record: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for key, ids in record.items():
        if _DRAFT_IDS in record and key.endswith(_IDS) and key != _DRAFT_IDS:
            yield key.removesuffix(_IDS), record[_DRAFT_IDS], ids
    if "egpt_tokens" in record and "vl_tokens" in record:
        yield "videollava", record["egpt_tokens"], record["vl_tokens"]
    ours, theirs = record.get("eventgpt"), record.get("videollava")
    if isinstance(ours, dict) and isinstance(theirs, dict) and "output_tokens" in ours and "output_tokens" in theirs:
        yield "videollava", ours["output_tokens"], theirs["output_tokens"]


def _ids(path: Path, sample: str, found: Any) -> tuple[int, ...]:
    if not isinstance(found, list) or not all(isinstance(each, int) and not isinstance(each, bool) for each in found):
        raise ResultFileError(
            f"{path}: sample {sample!r}: token ids must be a list of whole numbers, not {found!r:.60}"
        )
    return tuple(found)


def _require_answers(path: Path, target: str, pairs: Sequence[TokenPair]) -> None:
    for whose, ids, pair in (
        *(("the draft's", pair.draft, pair) for pair in pairs),
        *((f"{target}'s", pair.target, pair) for pair in pairs),
    ):
        reason = _why_no_answer(ids)
        if reason:
            raise ResultFileError(f"{path}: sample {pair.sample!r}: {whose} ids {reason}")
    if all(pair.draft[0] == pair.target[0] == BEGIN for pair in pairs):
        raise ResultFileError(
            f"{path}: every answer of both models begins with the id {BEGIN}, which begins every text of theirs: it "
            "would count as a match each time. Take it off, or record the new ids only"
        )


def _why_no_answer(ids: Sequence[int]) -> str | None:
    if min(ids) < 0:
        return "contain a placeholder below zero: the prompt was left in. Record the new ids only"
    longest, kinds = max(len(list(equal)) for _, equal in groupby(ids)), len(set(ids))
    if longest >= MAX_REPEAT and kinds > 2:
        return (
            f"repeat one id {longest} times in a row: the prompt's visual placeholders were left in, or the "
            "text is broken. Record the new ids only, or leave the sample out"
        )
    if len(ids) > 3 and kinds <= 2:
        return (
            f"are {len(ids)} of only {kinds} kinds: the answer is degenerate. Leave the sample out, or find "
            "out what broke the model"
        )
    return None
