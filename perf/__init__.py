"""Measurements of speed and memory: one script per question, each compared with a peer or limit in the same process."""
