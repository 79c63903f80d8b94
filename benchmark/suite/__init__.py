"""From a suite file to a plan: the schema, the grid of cells, the choice among parameters, the retention entries.

Only reading and planning: stages run in `runs`, `executors` and `stages`.
"""
