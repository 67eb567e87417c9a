"""The suite: one file per stage, and the whole pipeline. Uses `harness` for how, `fixtures` for what."""
