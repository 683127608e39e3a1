"""Long tests: runs that are killed at random moments, and many writers at once. `make soak` runs them."""
