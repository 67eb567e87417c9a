"""How models are measured: clock, memory, records, verdicts, files; the pytest plugin. Never imports `fixtures`."""
