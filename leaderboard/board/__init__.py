"""From records to the board: read answers, group records into tables and rows, label and compare the rows.

How a board is shown belongs to `views` and `web`; the formulas belong to `stats`.
"""
