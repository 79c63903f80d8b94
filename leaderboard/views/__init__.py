"""The board for readers and programs: terminal, Markdown, README table, board.csv, export.

The columns of all views, the web page's as well, are declared in `columns.py`. No number is computed here.
"""
