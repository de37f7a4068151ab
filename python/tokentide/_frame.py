"""Tables that any data frame library reads."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    import polars

    from ._tokentide import Frame as Native

#: Rows that a notebook shows.
SHOWN = 10


class Frame:
    """A table: a row per request, bin, group or run.

    It is handed over by the Arrow C stream interface, with no copy code and no Python object per row: ``polars.DataFrame(frame)``,
    ``pyarrow.table(frame)``, ``pandas.DataFrame.from_arrow(frame)`` and DuckDB read it as it is. ``frame["column"]`` is a plain list.
    """

    def __init__(self, native: Native) -> None:
        self._native = native

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._native.__arrow_c_stream__(requested_schema)

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in order."""
        return self._native.columns

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self), len(self.columns)

    def __len__(self) -> int:
        return len(self._native)

    def __getitem__(self, column: str) -> list[Any]:
        """The values of a column; None where nothing was observed. Raises KeyError."""
        return self._native[column]

    def row(self, number: int) -> dict[str, Any]:
        """A row as a dict. Raises IndexError."""
        at = number if number >= 0 else number + len(self)
        if not 0 <= at < len(self):
            raise IndexError(f"there is no row {number}")
        return self._native.row(at)

    def take(self, rows: Iterable[int]) -> Frame:
        """Some of the rows, by their numbers, in that order. Raises IndexError."""
        return Frame(self._native.take(list(rows)))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write .parquet or .csv, as the command line writes it. Raises OSError."""
        self._native.write(path)

    def to_polars(self) -> polars.DataFrame:
        """As a polars data frame."""
        try:
            import polars
        except ImportError as error:
            raise ImportError("polars is not installed: pip install polars") from error
        return polars.DataFrame(self)

    def to_pandas(self) -> Any:
        """As a pandas data frame, by pyarrow."""
        try:
            import pandas  # noqa: F401  pyarrow says less clearly that it is missing
        except ImportError as error:
            raise ImportError("pandas is not installed: pip install pandas pyarrow") from error
        return self.to_arrow().to_pandas()

    def to_arrow(self) -> Any:
        """As a pyarrow table."""
        try:
            import pyarrow
        except ImportError as error:
            raise ImportError("pyarrow is not installed: pip install pyarrow") from error
        return pyarrow.table(self)

    def __repr__(self) -> str:
        rows, columns = self.shape
        return f"Frame({rows:,} x {columns}: {', '.join(self.columns[:8])}{', ...' if columns > 8 else ''})"

    def _repr_html_(self) -> str:
        names = self.columns
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        rows = (self.row(number) for number in range(min(SHOWN, len(self))))
        body = "".join("<tr>" + "".join(f"<td>{_cell(row[name])}</td>" for name in names) + "</tr>" for row in rows)
        return f"<table><caption>{len(self):,} rows</caption><tr>{head}</tr>{body}</table>"


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else escape(str(value))
