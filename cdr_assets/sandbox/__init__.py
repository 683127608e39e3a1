"""A local EnableX: the four CDR routes over invented calls, for demos, development and tests without an account.

`calls` invents the calls (with `company`, `plan`, `stories` and `records`), `app` serves them over HTTP, `server` runs
that in a thread, and `cdr-assets sandbox` (or `python -m cdr_assets.sandbox`) runs it from a shell.
"""
