"""Limits, baselines, verdicts and the exit status."""
