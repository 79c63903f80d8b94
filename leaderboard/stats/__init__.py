"""The statistics of the board: variances, intervals, tests, comparisons."""
