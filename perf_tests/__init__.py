"""The suite: one file per stage, and the whole pipeline. `fixtures` gives models and data, `harness` measures."""
