"""What every room needs: errors, signals, files and locks, reading within bounds, YAML, the environment."""
