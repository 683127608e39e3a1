"""Tests on many machines: a lake in Postgres, a bucket, Celery. `make test-scale` starts the servers that they need."""

import os

# Read here, since fixtures clean the environment.

POSTGRES = os.environ.get("CDR_TEST_POSTGRES", "")
"""A server on which databases may be made, as a connection string of libpq that names no database."""

REDIS = os.environ.get("CDR_TEST_REDIS", "")
"""The URL of a Redis server, without a database."""

REDIS_DATABASES = 10_000

S3 = os.environ.get("CDR_TEST_S3", "")
"""The address of a store that has the bucket BUCKET; the credentials are in AWS's own variables."""

BUCKET = "cdr-tests"

ON_LAKE = os.environ.get("CDR_TEST_ON") == "lake"
"""Tests that run on files as a rule run on a lake and a bucket: see `places`."""

WITHOUT_SERVERS = "" if POSTGRES and REDIS and S3 else "needs Postgres, Redis and an S3 store: make test-scale"
"""Why such tests cannot run here; empty if they can."""
