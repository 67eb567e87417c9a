"""The one door through which pytest gets the plugin: bare `pytest perf_tests` works, and nothing is installed."""

pytest_plugins = ("harness.session.plugin", "pytester")
