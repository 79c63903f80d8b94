"""The record of a cell: its schema, and what makes two records comparable."""
