"""What people look at beyond the Dagster UI. It reads the tables and knows no Dagster."""
