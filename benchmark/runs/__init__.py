"""Doing a plan: checks before the first stage, the stages, the records, and what is removed afterwards."""
