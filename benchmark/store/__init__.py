"""Artifacts by key, stage calls with their versions, and copies of artifacts on other machines."""
