"""Taking times and memory peaks."""
