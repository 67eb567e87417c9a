"""Goal tables, one test file a topic: run by `make measured TOPIC=<topic>`, left out of every other run.

Each writes docs/measured/<topic>.json, as measured, whether the goals were met or not.
"""
