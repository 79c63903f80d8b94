"""What every room needs and no experiment shapes: errors, signals, files and locks, bounded reading, YAML, environment.

Nothing here knows suites, models, stages or records.
"""
