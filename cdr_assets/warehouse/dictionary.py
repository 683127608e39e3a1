"""The data dictionary: what the exported tables hold, next to their files and in the words of the registry."""

from __future__ import annotations

from contextlib import suppress
from functools import cache

from cdr_assets.storage import Storage
from cdr_assets.warehouse.people import IDS
from cdr_assets.warehouse.table import Table
from cdr_assets.warehouse.tables import EXPORTED_TABLES

FILE = "README.md"

_HEAD = """\
# What these files hold

Call Detail Reports (CDRs) of an EnableX video account, as `cdr_assets` keeps them. There is a folder for each table,
and in it a Parquet file for each UTC day. A file is replaced whole when its day changes. Times are UTC. `status.json`
is no table: it says which days are there, and how the runs and the disk stand.

```sql
SELECT room_id, sum(participant_minutes) FROM 'room_usage/*.parquet' GROUP BY room_id ORDER BY 2 DESC;
```

What names a person is left out, or hashed with a secret key, unless the operator chose `CDR_EXPORT_PEOPLE=clear`.
A value of {ids} is shown if it has the shape of an id: up to 64 letters, digits, dots,
hyphens and underscores. Any other is hashed, the same in every table. So an account whose ids are names in this
shape (`JaneDoe`) shows them here.
"""


@cache
def dictionary() -> str:
    """The dictionary as Markdown."""
    ids = ", ".join(f"`{name}`" for name in IDS)
    return "\n".join([_HEAD.format(ids=ids), *(_section(table) for table in EXPORTED_TABLES)])


def write_dictionary(storage: Storage) -> None:
    """Writes the dictionary next to the exports, unless it is there."""
    with suppress(UnicodeDecodeError):
        if storage.read(FILE) == dictionary():
            return
    storage.write(FILE, dictionary())


def _section(table: Table) -> str:
    rows = [
        f"| `{column.name}` | `{column.type}` | {_escaped(column.description)} |" for column in table.exported_columns
    ]
    left_out = ", ".join(f"`{name}`" for name in table.columns_left_out)
    tail = [f"Left out: {left_out}.", ""] if left_out else []
    head = [f"## {table.name}", "", table.meaning, "", "| column | type | meaning |", "|---|---|---|"]
    return "\n".join([*head, *rows, "", *tail])


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
