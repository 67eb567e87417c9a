"""Measured goals, one test file per topic: `make measured TOPIC=<topic>` runs a topic; no other run collects them.

Each file writes docs/measured/<topic>.json with the measured figures, whether or not they meet the goals.
"""
