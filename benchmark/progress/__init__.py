"""How a run reports: its events, the account that counts them, the file that `benchmark status` reads, and the display.

Running the stages belongs to `executors` and `runs`.
"""
