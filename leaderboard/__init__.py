"""From records to the board, its page and its figures.

`leaderboard` imports records, core and data of `benchmark` alone: neither torch nor the stages.
"""
