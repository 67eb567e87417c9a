"""How it is measured: clock, memory, records, verdicts, result files; the pytest plugin. Never imports `fixtures`."""
