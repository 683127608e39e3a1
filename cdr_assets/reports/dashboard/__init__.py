"""The dashboard: pages over the Parquet exports. It opens neither the warehouse nor Dagster, so it holds up no run.

script/      what Streamlit runs
app.py       the menu, the period, what every page shows
pages/       one module per page, with one function
sql/         the statements of the pages, over the exported tables
exports.py   runs them
"""
