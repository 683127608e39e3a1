"""What EnableX says: its CDR routes over HTTP, its answers and the records in them. No files, no SQL, no Dagster."""
