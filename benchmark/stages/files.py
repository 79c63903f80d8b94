"""The files of the artifacts, by the stage that writes them."""

TEXTS = "texts.jsonl"  # corpus
SCORES, SCORING_REPORT = "scores.parquet", "told.json"  # score
WRITTEN, WRITING_REPORT, JOURNAL = "written.jsonl", "report.json", "journal.jsonl"  # write
AUGMENTED = "augmented.jsonl"  # augment
FACTS = "facts.json"  # facts
TARGETS = "targets.parquet"  # teach
WEIGHTS, CHECKPOINTS, TRAINING_REPORT = "model", "checkpoints", "training.json"  # train; the first two are folders
ANSWERS, RESULTS = "answers.parquet", "results.json"  # evaluate
CURVE = "curve.json"  # curve
RETENTION = "retention.json"  # retain
