"""Situations from public bug reports, re-created on the shipped models and shown on the command line."""
