"""The statistics of the board: variances, intervals, tests, comparisons of rows.

They take arrays of answers and know no files. Reading answers and grouping records belong to `board`.
"""
