"""Figures over sessions and commits: change points, creep against a release, and their page."""
