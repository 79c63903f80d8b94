"""The folders of a run: where its store, its records and the board of a suite are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmark.core.errors import UserError
from benchmark.store.artifacts import Store


@dataclass(frozen=True)
class Folders:
    """Where a run works: `results` is the folder of the store, `records` has a folder of records for each suite."""

    results: Path
    records: Path

    @classmethod
    def of(cls, results: str | Path, records: str | Path | None = None) -> Self:
        """The folders that a user names: the records are in RESULTS/records if no folder is given for them."""
        return cls(Path(results), Path(records) if records is not None else Path(results) / "records")

    @property
    def store(self) -> Store:
        """The store in the results folder."""
        return Store(self.results / "store")

    def board_cache(self, suite: str) -> Path:
        """The file that keeps the board of a suite, which takes seconds to compute."""
        return self.results / ".boards" / f"{suite}.json"

    def create(self, suite: str) -> None:
        """Create the folders of the store and of a suite's records. Raises UserError if one cannot be created."""
        for folder in (self.store.root, self.records / suite):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(
                    f"{folder}: {error.strerror}; give a folder that can be written with --results or --records"
                ) from None
