"""From records to numbers; pure. docs/figures.md and docs/gates.md say how the rounds of a stage become one time."""
