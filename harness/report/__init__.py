"""The report of a run: sections made of blocks, which are rendered as a page, as Markdown and on the terminal."""

PAGE, TEXT = "report.html", "report.md"
