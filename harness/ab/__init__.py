"""Two revisions on one machine, measured in turns by fresh processes: `python -m harness ab`."""
