"""What the terms of a report mean: a page links each to its definition, docs/figures.md has the formulas."""

from __future__ import annotations

DEFINITIONS = {
    "time to first token": "load, preprocess, vision and prefill of one sample (TTFT)",
    "time per output token": "decoding over its steps, one fewer than the tokens: the prompt gives the first (TPOT)",
    "end to end": "all stages of one sample, from its file to the end of the answer",
    "tokens/s": "output tokens of one sample over its time end to end",
    "p50": "half of the samples are below; in brackets its 95 % interval, between two of the sorted samples",
    "p90": "90 % of the samples are below; few samples leave an end of its interval unknown",
    "p99": "99 % of the samples are below; not known of fewer than 100 samples",
    "95 % interval": "Student's t over the samples, on logarithms; other machines differ by more",
    "faster": "mean time of the target over mean time of the draft, over the samples that both have",
    "% of target's time": "where the target spends its time",
    "% of time saved": "where the time is saved",
    "gated": "stage 1 as limits and baselines take it: MP4 files by the old script's reader, the yardstick",
    "vision + LLM": "vision, prefill and decode together: stage 3 of the old script",
    "± %": "half the interquartile range over the median of the rounds",
    "first ms": "the first time through a stage: cold files, libraries and kernels set up on first use",
    "roofline": "the least time in which the device could move a stage's bytes or do its operations",
    "acceptance": "share of the target's tokens that the draft proposes too, given all that the target wrote before",
    "blind": "the acceptance of the same draft without any picture",
    "lift": "acceptance with the right pictures less that with another sample's",
    "acceptance rate": "accepted over drafted tokens, in rounds of speculative decoding",
    "mean acceptance length": "tokens per round, the target's own included",
    "tau, gamma, c, v": "mean acceptance length; tokens drafted per round; a drafted token, and a pass of the target "
    "over several tokens, in decoding steps of the target",
    "growth": "how far the process grew during a stage, at its highest",
}  # fmt: skip


def term_in(words: str) -> str:
    """Return the defined term that a heading names, the longest one; empty where it names none."""
    return max((term for term in DEFINITIONS if term in words), key=len, default="")
