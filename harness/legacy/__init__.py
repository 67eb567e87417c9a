"""Reading and writing the result files of the old script."""
