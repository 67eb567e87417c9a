"""Definitions of the terms in a report; a page links each term to its own, docs/figures.md has the formulas."""

from harness.report.blocks import Report, Sentences, Table, plain

DEFINITIONS = {
    "speedup": "mean time of the target over mean time of the draft, over the samples that both have",
    "time per sample": "the mean end to end",
    "speculative decoding": "time of the target alone over that of draft and target together: above 1x it pays",
    "time to first token": "load, preprocess, vision and prefill of one sample (TTFT)",
    "time per output token": "decoding over its steps, one fewer than the tokens: the prompt gives the first (TPOT)",
    "end to end": "all stages of one sample, from its file to the end of the answer",
    "tokens/s": "output tokens of one sample over its time end to end",
    "p50": "half of the samples are below; in brackets its 95 % interval, between two of the sorted samples",
    "p90": "90 % of the samples are below; few samples leave an end of its interval unknown",
    "p99": "99 % of the samples are below; not known of fewer than 100 samples",
    "95 % interval": "Student's t over the samples, on logarithms; other machines differ by more",
    "faster": "how many times: the same as the speedup",
    "% of target's time": "the part of the target's total time that this stage takes",
    "% of time saved": "the part of all saved seconds that this stage saves",
    "gated": "stage 1 as limits and baselines measure it: MP4 files are read by the old script's reader",
    "vision + LLM": "vision, prefill and decode together: stage 3 of the old script",
    "± %": "half the interquartile range over the median of the rounds",
    "first ms": "the first time through a stage: cold files, libraries and kernels set up on first use",
    "roofline": "the least time in which the device could move a stage's bytes or do its operations",
    "acceptance": "share of the target's tokens that the draft predicts, given the target's tokens before",
    "blind": "the acceptance of the same draft without any picture",
    "lift": "acceptance with the right pictures less that with another sample's",
    "acceptance rate": "accepted over drafted tokens, in rounds of speculative decoding",
    "mean acceptance length": "tokens per round, the target's own included",
    "tau": "the mean acceptance length, in the cost model of speculative decoding",
    "gamma": "tokens drafted per round",
    "decoding steps": "of the target, the unit of cost: c for a drafted token, v(m) for a target pass over m tokens",
}


def term_in(words: str) -> str:
    """Return the longest defined term in a heading; empty without any."""
    return max((term for term in DEFINITIONS if term in words), key=len, default="")


def definitions_of(report: Report) -> dict[str, str]:
    """Return the terms that a report uses, with their definitions."""
    words = [*(each.label for each in report.tiles), *map(plain, report.headlines)]
    for block in (block for section in report.sections for block in section.blocks):
        if isinstance(block, Table):
            words += [*block.columns, *(plain(row[0]) for row in block.rows)]
        if isinstance(block, Sentences):
            words += map(plain, block.lines)
    used = " ".join(words)
    return {term: meaning for term, meaning in DEFINITIONS.items() if term in used}
