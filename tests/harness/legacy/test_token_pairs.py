"""Recorded answers in three formats, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.__main__ import main
from harness.errors import ResultFileError
from harness.figures.agreement import TokenPair
from harness.legacy.token_pairs import read_answers

DRAFT, TARGET = [5, 6, 7, 8], [5, 6, 9, 8, 4]


def written(folder: Path, content: Any) -> Path:
    path = folder / "results.json"
    path.write_text(json.dumps(content))
    return path


FORMATS: dict[str, Any] = {
    "ours": [{"id": "a", "egpt_token_ids": DRAFT, "videollava_token_ids": TARGET}],
    "a later script's": {"results": [{"id": "a", "egpt_tokens": DRAFT, "vl_tokens": TARGET}]},
    "a third one's": {
        "results": [{"id": "a", "eventgpt": {"output_tokens": DRAFT}, "videollava": {"output_tokens": TARGET}}]
    },
}


@pytest.mark.parametrize("name", FORMATS)
def test_all_formats_give_the_same_pairs(name: str, tmp_path: Path) -> None:
    pairs, _ = read_answers(written(tmp_path, FORMATS[name]))
    assert pairs == {"videollava": [TokenPair("a", tuple(DRAFT), tuple(TARGET))]}


def test_a_file_with_both_targets_gives_both_and_leaves_failed_samples_out(tmp_path: Path) -> None:
    both = {"id": "a", "egpt_token_ids": DRAFT, "videollava_token_ids": TARGET, "llava_token_ids": DRAFT}
    failed = {"id": "b", "egpt_token_ids": DRAFT, "videollava_error": "SampleError: torn"}
    pairs, _ = read_answers(written(tmp_path, [both, failed]))
    assert {target: [pair.sample for pair in found] for target, found in pairs.items()} == {
        "videollava": ["a"],
        "llava": ["a"],
    }


def test_a_target_of_any_key_is_found(tmp_path: Path) -> None:
    pairs, _ = read_answers(written(tmp_path, [{"id": "a", "llava-1.5_token_ids": TARGET, "egpt_token_ids": DRAFT}]))
    assert pairs == {"llava-1.5": [TokenPair("a", tuple(DRAFT), tuple(TARGET))]}


@pytest.mark.parametrize(
    ("draft", "target", "reason"),
    [
        ([7] * 9, TARGET, "the draft's answers, 9 ids, are of only 1 kinds: they are degenerate"),
        (DRAFT, [7, 8] * 9, "videollava's answers, 18 ids, are of only 2 kinds: they are degenerate"),
        ([1, -200, 5, 6], TARGET, "a placeholder below zero: the prompt was left in"),
        (DRAFT, [1, 4, *[32001] * 576, 5], "repeat one id 576 times in a row: the prompt was left in"),
        ([1, *DRAFT], [1, *TARGET], "begins with the id 1, the begin-of-text id"),
        (["a"], TARGET, "must be a list of whole numbers"),
        ("5 6", TARGET, "must be a list of whole numbers"),
    ],
)
def test_what_is_no_answer_is_refused_with_the_reason(draft: Any, target: Any, reason: str, tmp_path: Path) -> None:
    path = written(tmp_path, [{"id": "a", "egpt_token_ids": draft, "videollava_token_ids": target}])
    with pytest.raises(ResultFileError, match=reason) as error:
        read_answers(path)
    assert str(path) in str(error.value)


def records(drafts: Sequence[Any], targets: Sequence[Any]) -> list[dict[str, Any]]:
    pairs = enumerate(zip(drafts, targets, strict=True))
    return [{"id": str(n), "egpt_token_ids": mine, "videollava_token_ids": theirs} for n, (mine, theirs) in pairs]


@pytest.mark.parametrize(
    ("drafts", "reason"),
    [
        ([[7, 8], [8, 9], [9, 7, 7]], "the draft's answers, 7 ids, are of only 3 kinds"),
        ([DRAFT, DRAFT, DRAFT], "the draft's answers to all 3 samples are one and the same"),
    ],
)
def test_degenerate_is_judged_over_all_answers_of_a_side(drafts: list[Any], reason: str, tmp_path: Path) -> None:
    targets = [TARGET, [4, 5, 6], [7, 8, 9]]
    with pytest.raises(ResultFileError, match=reason):
        read_answers(written(tmp_path, records(drafts, targets)))


def test_one_short_answer_of_few_kinds_among_others_is_an_answer(tmp_path: Path) -> None:
    pairs, _notes = read_answers(written(tmp_path, records([[7, 7, 7, 7], DRAFT], [TARGET, [9, 9, 9, 9, 9]])))
    assert len(pairs["videollava"]) == 2


def test_a_sample_whose_ids_are_none_is_left_out_by_name(tmp_path: Path) -> None:
    pairs, notes = read_answers(written(tmp_path, records([DRAFT, "5 6"], [TARGET, TARGET])))
    assert [pair.sample for pair in pairs["videollava"]] == ["0"]
    assert notes[-1] == ("Left out: egpt_token_ids: token ids must be a list of whole numbers, not '5 6' (sample '1').")


def test_many_samples_whose_ids_are_none_are_said_once(tmp_path: Path) -> None:
    _, notes = read_answers(written(tmp_path, records([DRAFT, 10, 12, 11], [TARGET] * 4)))
    assert notes[-1].endswith("not 10 (sample '1'), and so in 2 more samples.")


def test_answers_of_fewer_ids_than_words_are_pointed_out(tmp_path: Path) -> None:
    told = [record | {"egpt": "one two three four five"} for record in records([DRAFT, [*DRAFT, 5]], [TARGET, DRAFT])]
    _pairs, notes = read_answers(written(tmp_path, told))
    assert notes[-1] == ("Answers of egpt with fewer ids than words, so that ids are missing: '0' (4 ids, 5 words).")


def test_pairs_know_what_was_asked(tmp_path: Path) -> None:
    pairs, _notes = read_answers(written(tmp_path, [each | {"query": "What?"} for each in records([DRAFT], [TARGET])]))
    assert pairs["videollava"][0].question == "What?"


@pytest.mark.parametrize("content", [[], {}, {"results": 3}, [3], [{"id": "a"}], "text"])
def test_a_file_without_pairs_is_refused(content: Any, tmp_path: Path) -> None:
    with pytest.raises(ResultFileError, match=r"results\.json: "):
        read_answers(written(tmp_path, content))


def test_the_command_prints_the_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, FORMATS["ours"] + [{"id": "b", "egpt_token_ids": [2, 3], "videollava_token_ids": [2, 3]}])
    assert main(["acceptance", str(path)]) == 0
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines()]
    assert ["videollava", "2", "5", "of", "6", "0.875", "0.000", "to", "1.000", "0.833"] in rows
    assert ["videollava,", "shuffled", "2", "0.000", "0.000", "to", "0.000", "0.000"] in rows


def test_the_command_fails_on_what_it_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["acceptance", str(written(tmp_path, []))]) == 2
    assert "the list is empty" in capsys.readouterr().err
