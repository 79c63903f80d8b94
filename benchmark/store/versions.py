"""The version of each stage, a part of every key: raise it when the same inputs give another result."""

VERSIONS = {
    "corpus": 1, "score": 2, "write": 1, "augment": 1, "facts": 1, "teach": 1, "train": 2, "evaluate": 2, "curve": 2,
    "retain": 1,
}  # fmt: skip
RESUMABLE = {"train", "write"}  # stages that resume where they were interrupted
