"""The report of a run: its sections are built of blocks, which a page, Markdown and the terminal render."""

PAGE, TEXT = "report.html", "report.md"
