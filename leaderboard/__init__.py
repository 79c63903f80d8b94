"""From records to the board. Reads records alone: neither torch, transformers nor the stages are imported here."""
