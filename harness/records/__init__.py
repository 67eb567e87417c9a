"""What a run writes down, and what makes two runs comparable."""
