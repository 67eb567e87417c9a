"""Recorded answers in three formats, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.__main__ import main
from harness.errors import ResultFileError
from harness.figures.agreement import TokenPair
from harness.legacy.token_pairs import read_token_pairs

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
    pairs = read_token_pairs(written(tmp_path, FORMATS[name]))
    assert pairs == {"videollava": (TokenPair("a", tuple(DRAFT), tuple(TARGET)),)}


def test_a_file_with_both_targets_gives_both_and_leaves_failed_samples_out(tmp_path: Path) -> None:
    both = {"id": "a", "egpt_token_ids": DRAFT, "videollava_token_ids": TARGET, "llava_token_ids": DRAFT}
    failed = {"id": "b", "egpt_token_ids": DRAFT, "videollava_error": "SampleError: torn"}
    pairs = read_token_pairs(written(tmp_path, [both, failed]))
    assert {target: [pair.sample for pair in found] for target, found in pairs.items()} == {
        "videollava": ["a"],
        "llava": ["a"],
    }


def test_a_target_of_any_key_is_found(tmp_path: Path) -> None:
    pairs = read_token_pairs(written(tmp_path, [{"id": "a", "llava-1.5_token_ids": TARGET, "egpt_token_ids": DRAFT}]))
    assert pairs == {"llava-1.5": (TokenPair("a", tuple(DRAFT), tuple(TARGET)),)}


@pytest.mark.parametrize(
    ("draft", "target", "reason"),
    [
        ([7] * 9, TARGET, "are 9 of only 1 kinds: the answer is degenerate"),
        (DRAFT, [7, 8] * 9, "are 18 of only 2 kinds: the answer is degenerate"),
        ([1, -200, 5, 6], TARGET, "a placeholder below zero: the prompt was left in"),
        (DRAFT, [1, 4, *[32001] * 576, 5], "repeat one id 576 times in a row: the prompt's visual placeholders"),
        ([1, *DRAFT], [1, *TARGET], "begins with the id 1, which begins every text"),
        (["a"], TARGET, "must be a list of whole numbers"),
        ("5 6", TARGET, "must be a list of whole numbers"),
    ],
)
def test_what_is_no_answer_is_refused_with_the_reason(draft: Any, target: Any, reason: str, tmp_path: Path) -> None:
    path = written(tmp_path, [{"id": "a", "egpt_token_ids": draft, "videollava_token_ids": target}])
    with pytest.raises(ResultFileError, match=reason) as error:
        read_token_pairs(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", [[], {}, {"results": 3}, [3], [{"id": "a"}], "text"])
def test_a_file_without_pairs_is_refused(content: Any, tmp_path: Path) -> None:
    with pytest.raises(ResultFileError, match=r"results\.json: "):
        read_token_pairs(written(tmp_path, content))


def test_the_command_prints_the_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, FORMATS["ours"] + [{"id": "b", "egpt_token_ids": [2, 3], "videollava_token_ids": [2, 3]}])
    assert main(["acceptance", str(path)]) == 0
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines()]
    assert ["videollava", "2", "5", "of", "6", "0.875", "0.875", "0.833", "2.00", "0.0"] in rows
    assert ["videollava,", "shuffled", "2", "0.000", "0.000", "0.00"] in rows


def test_the_command_fails_on_what_it_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["acceptance", str(written(tmp_path, []))]) == 2
    assert "no sample has token ids" in capsys.readouterr().err
