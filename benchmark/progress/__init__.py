"""How far a run is: the account of its stages, the file that `benchmark status` reads, and the display.

Doing the stages belongs to `executors` and `run`.
"""
