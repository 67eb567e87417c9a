"""The report of a run: what its record says, in words, tables and charts, as one page and as one text.

blocks      what a report is made of; every figure carries its name and its exact value
charts      pictures of figures, drawn by matplotlib; pictures: thumbnails of a sample's own files
verdict, story              how it ended, what slipped, the main figures; the run in sentences
speed, stage_tests, floors, memory, drafting, answers, doubts, trust    one subject each: a run in, sections out
several     results side by side
content     the sections in their order, for one run, several, or answers alone
page, text  report.html and report.md
files       reads results, writes reports
"""

PAGE, TEXT = "report.html", "report.md"
