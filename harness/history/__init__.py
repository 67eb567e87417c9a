"""Figures over sessions and commits: change points, creep against a release, and the page of them."""
