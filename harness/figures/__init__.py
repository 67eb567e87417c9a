"""From records to numbers; pure."""
