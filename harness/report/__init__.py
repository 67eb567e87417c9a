"""The report of a run: what its record tells, in words, tables and charts, on a page, in Markdown and on the terminal.

blocks        what a report is made of; every figure carries its name and its exact value
formatting    the forms of figures; naming: what models and stages are called; definitions: what terms mean
charts        pictures of figures, drawn by matplotlib; pictures: thumbnails of a sample's own files
sections      one subject a module: a run in, sections out
content       the sections in their order, for one run or for answers alone; several: results side by side
page, markdown, terminal    the three renderers
files         any result, read as a run, and reports, written
"""

PAGE, TEXT = "report.html", "report.md"
