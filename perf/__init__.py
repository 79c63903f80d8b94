"""How fast it is: one script per question, each measuring against a peer or a limit in the same process and minute."""
