"""Submitted records, which are not trusted: checks on them, and adding them to the board.

`content` checks one record, `answer_checks` the answers beside it; `submit` adds records to the board's folder, and
`submit.check_folder` repeats the checks on records that are there. Reading files safely belongs in
`benchmark.core.untrusted`.
"""
