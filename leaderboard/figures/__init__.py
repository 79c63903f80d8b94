"""The paper's figures: their numbers from records, their charts, their files."""
