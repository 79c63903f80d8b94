"""The command line: one file per command, with its options and what it prints.

No logic: what a command does belongs to the room of its subject.
"""
