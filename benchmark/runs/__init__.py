"""Carrying out a plan: checks and a predicted time before the first stage, missing stages, records, pruning afterwards.

Which stages a plan has belongs to `suite`, where they run to `executors`.
"""
