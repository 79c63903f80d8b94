"""A folder of documents as texts: which files are read, how each format becomes text, and passages of long documents.

Tables of documents (JSONL, CSV, Parquet) belong to `tasks/corpus`, and the questions about documents to `writing`.
"""
