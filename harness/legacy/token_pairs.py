"""Token ids of two models' answers to the same samples, from files of every form; meaningless ones are refused."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from harness.errors import ResultFileError
from harness.figures.agreement import TokenPair
from harness.legacy.formats import DRAFT, OldFile, find, old_file, read_any_json, some
from harness.records.quantities import counted

BEGIN = 1  # the id that begins every text of the Llama family
MAX_REPEAT = 32  # equal ids in a row; an expanded placeholder of visual tokens is hundreds of equal ids
DEGENERATE_KINDS = 3  # a side with no more distinct ids in all its answers is refused as degenerate


def read_answers(path: Path) -> tuple[dict[str, list[TokenPair]], list[str]]:
    """Return the pairs of answers in a result file by target, and sentences on its oddities.

    Raises ResultFileError where there are no pairs, or where they are meaningless: degenerate answers, the prompt's ids
    left in, or a begin-of-text id that always agrees.
    """
    file = old_file(path, read_any_json(path))
    pairs, broken = pairs_of(file)
    why = [f"Left out: {some(broken)}."] if broken else []
    if not pairs:
        raise ResultFileError(
            f"{path}: no sample has token ids of both a draft and a target; looked for egpt_token_ids with "
            "videollava_token_ids or another model's, egpt_tokens with vl_tokens, and eventgpt.output_tokens with "
            f"videollava.output_tokens. {' '.join(why)}".rstrip()
        )
    for reason in filter(None, (why_refused(target, found) for target, found in pairs.items())):
        raise ResultFileError(f"{path}: {reason}")
    return pairs, [*file.notes, *why, *short_answers(file)]


def pairs_of(file: OldFile) -> tuple[dict[str, list[TokenPair]], list[str]]:
    """Return the pairs by target, and a sentence for each key whose values are not lists of token ids."""
    pairs: dict[str, list[TokenPair]] = {}
    broken: dict[str, list[tuple[str, Any]]] = {}
    for record in file.records:
        sides = {}
        for model in file.models:
            found = find(record, model, "token ids")
            if found and found.value and not is_ids(found.value):
                broken.setdefault(found.key, []).append((record["id"], found.value))
            elif found and found.value:
                sides[model] = tuple(found.value)
        if DRAFT in sides:
            draft = sides.pop(DRAFT)
            for target, ids in sides.items():
                pair = TokenPair(record["id"], draft, ids, str(record.get("query") or ""))
                pairs.setdefault(target, []).append(pair)
    return pairs, [
        f"{key}: token ids must be a list of whole numbers, not {of[0][1]!r:.60} (sample {of[0][0]!r})"
        + f", and so in {counted(len(of) - 1, 'more sample')}" * (len(of) > 1)
        for key, of in broken.items()
    ]


def is_ids(value: Any) -> bool:
    """Return whether a value is a list of whole numbers."""
    return isinstance(value, list) and all(isinstance(each, int) and not isinstance(each, bool) for each in value)


def why_refused(target: str, pairs: Sequence[TokenPair]) -> str:
    """Return why a target's pairs give no valid agreement; empty where they do."""
    sides = ("the draft's", [each.draft for each in pairs]), (f"{target}'s", [each.target for each in pairs])
    for whose, answers in sides:
        for pair, ids in zip(pairs, answers, strict=True):
            longest = max(len(list(equal)) for _, equal in groupby(ids))
            if min(ids) < 0 or (longest >= MAX_REPEAT and len(set(ids)) > 2):
                what = f"repeat one id {longest} times in a row" if min(ids) >= 0 else "have a placeholder below zero"
                return f"sample {pair.sample!r}: {whose} ids {what}: the prompt was left in. Record the new ids only"
        kinds, count = len({token for ids in answers for token in ids}), sum(map(len, answers))
        if kinds <= DEGENERATE_KINDS < count:
            return f"{whose} answers, {count} ids, are of only {kinds} kinds: they are degenerate, the model is broken"
        if len(set(answers)) == 1 < len(answers):
            same = f"to all {len(answers)} samples are one and the same"
            return f"{whose} answers {same}: degenerate, the model is broken"
    if all(pair.draft[0] == pair.target[0] == BEGIN for pair in pairs):
        return (
            f"every answer of both models begins with the id {BEGIN}, the begin-of-text id: it would count as a match "
            "each time. Remove it, or record the new ids only"
        )
    return ""


def short_answers(file: OldFile) -> Iterator[str]:
    """Yield a sentence for each model with answers of fewer ids than words: some ids are missing."""
    for model in file.models:
        short = []
        for record in file.records:
            ids, text = find(record, model, "token ids"), find(record, model, "text")
            words = str(text.value).split() if text and text.value else ()
            if ids and is_ids(ids.value) and 0 < len(ids.value) < len(words):
                short.append(f"{record['id']!r:.60} ({len(ids.value)} ids, {len(words)} words)")
        if short:
            yield f"Answers of {model} with fewer ids than words, so that ids are missing: {some(short)}."
