"""Artifacts by key: atomic, locked, verified; stage calls, their versions and files; copies in remote stores.

What a stage computes belongs to `stages`, the records of finished cells to `records`.
"""
