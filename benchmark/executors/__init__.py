"""Where stages run: worker processes on this machine (`local`), containers (`docker`) or a cluster (`ray`).

What a stage computes belongs to `stages`, which stages are missing to `runs`.
"""
