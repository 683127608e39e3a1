"""Credentials of a bucket that are not in the environment: those of a profile, as AWS's own tools keep them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdr_assets import aws
from cdr_assets.aws import NoCredentials
from cdr_assets.storage import Bucket
from cdr_assets.warehouse.build import Warehouse
from cdr_assets_tests.scale.servers import KEY, SECRET
from cdr_assets_tests.scale.worlds import on_lake


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with the only profile there is, which nobody has chosen yet."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "credentials"
    file.write_text(f"[calls]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\nregion = eu-central-1\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return file


@pytest.mark.usefixtures("profile")
def test_a_profile_opens_the_bucket_and_the_lake(
    tmp_path: Path, postgres: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "calls")
    assert aws.credentials() == (KEY, SECRET, None)
    assert aws.region() == "eu-central-1"
    storage = Bucket(bucket, tmp_path / "scratch")
    storage.write("name", "text")
    assert storage.read("name") == "text"
    with Warehouse(on_lake(tmp_path, postgres, bucket)).connect() as connection:
        connection.execute("INSERT INTO clients VALUES ('agent', 'client', 'code')")
        assert connection.execute("FROM clients").fetchall() == [("agent", "client", "code")]


@pytest.mark.usefixtures("profile")
def test_without_credentials_the_remedy_is_named(tmp_path: Path, bucket: str) -> None:
    with pytest.raises(NoCredentials, match="set AWS_ACCESS_KEY_ID"):
        aws.credentials()
    with pytest.raises(Exception, match="no credentials for the bucket: set AWS_ACCESS_KEY_ID"):
        Bucket(bucket, tmp_path / "scratch").read("name")
