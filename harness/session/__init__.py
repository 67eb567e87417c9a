"""One pytest session: plugin, recorder, ranks, resuming."""
