"""What the landed records mean: typed, summed, checked and exported. Knows no HTTP and no Dagster.

`tables` is the registry. From a table's entry and its folder `sql/<table>/` follows everything else: `schema` makes it,
`build` replaces a partition of it, `checks` looks at it, `exports` copies it, and `build_log` notes what it was built
from; `commit` makes these take effect together. Sensors read `build_log_copy`.
"""
