"""The paper's published tables beside the records."""
