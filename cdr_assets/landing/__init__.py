"""What EnableX said, kept as it was said, version by version. No HTTP, no Dagster."""
