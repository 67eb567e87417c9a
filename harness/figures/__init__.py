"""Figures from records; pure. docs/figures.md and docs/gates.md define how the rounds of a stage become one time."""
