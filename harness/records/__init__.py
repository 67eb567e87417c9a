"""The records that a run writes, and the fingerprint by which two runs are comparable."""
