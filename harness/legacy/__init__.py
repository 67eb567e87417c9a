"""The result files of the old script, both ways."""
