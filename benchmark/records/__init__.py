"""The record of a cell: its schema, reading and verifying a record, and what makes two records comparable.

Writing records belongs to `runs`, statistics over records to `leaderboard`.
"""
