"""Who asks the bucket: credentials, region and endpoint, found where AWS's own tools look for them.

The order is theirs: the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile that AWS_PROFILE names or
the default one, then the role of the container or the machine. For all but the variables it is botocore that looks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple


class NoCredentials(ValueError):
    """There are no credentials for the bucket."""

    permanent = True


class Credentials(NamedTuple):
    """A key of the store, with its secret. `token` belongs to temporary ones."""

    key_id: str
    secret: str
    token: str | None


def credentials() -> Credentials:
    """Those that hold now. Temporary ones change, so ask again before each use. Raises NoCredentials."""
    if given := _given(os.environ):
        return given
    found = _session().get_credentials()
    if not found:
        raise NoCredentials(
            "there are no credentials for the bucket: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, "
            "or give the machine a role"
        )
    frozen = found.get_frozen_credentials()
    return Credentials(frozen.access_key, frozen.secret_key, frozen.token)


def are_given() -> bool:
    """Whether the credentials are in the environment, and do not change."""
    return _given(os.environ) is not None


def region() -> str:
    """The region of the bucket."""
    named = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not named and not are_given():
        named = _session().get_config_variable("region")
    return named or "us-east-1"


def endpoint() -> str | None:
    """The address of another store than AWS; None for AWS."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    return next((value for name in names if (value := os.environ.get(name))), None)


def _given(environ: Mapping[str, str]) -> Credentials | None:
    key_id, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    return Credentials(key_id, secret, environ.get("AWS_SESSION_TOKEN")) if key_id and secret else None


def _session() -> Any:
    try:
        import botocore.session
    except ImportError:
        raise NoCredentials(
            "profiles and roles of AWS need the package botocore: pip install 'cdr_assets[scale]', or set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from None
    return botocore.session.Session()
