"""The paper's figures: their numbers from records and scores, their charts, their files.

`accuracy` gives the numbers of Figure 1 and `attended` those of Figures 2 and 3, as rows of a CSV file; `charts` draws
them, `write` writes the files. Charts of the board's page belong in `leaderboard.web`.
"""
