"""What the environment says, and what anybody may see of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import dagster as dg
import pytest

from cdr_assets.definitions import code_location
from cdr_assets.reports.dashboard.settings import DashboardSettings
from cdr_assets_tests.expected import TABLES

README = Path(__file__).resolve().parents[1] / "README.md"
SECRETS = {
    "ENABLEX_APP_ID": "an-id-to-keep",
    "ENABLEX_APP_KEY": "a-key-to-keep",
    "CDR_ALERT_WEBHOOK_URL": "https://alerts.example/services/a-token-to-keep",
}


class Watched(Mapping[str, str]):
    """An environment that remembers the names that were looked up."""

    def __init__(self, **variables: str) -> None:
        self._variables = variables
        self.looked_up: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.looked_up.add(name)
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("the whole environment was read")

    def __len__(self) -> int:
        raise AssertionError("the whole environment was read")


def documented() -> dict[str, str]:
    """Each variable of the README's table, with its default: the last cell, empty where there is none."""
    rows = re.findall(r"^\| ((?:`[A-Z_]+`(?:, )?)+) \|.*\| ([^|]*) \|$", README.read_text(), flags=re.MULTILINE)
    return {
        name: default[1] if (default := re.fullmatch(r"`(.+)`", cell)) else ""
        for names, cell in rows
        for name in re.findall(r"[A-Z_]+", names)
    }


def shown(location: dg.Definitions) -> str:
    """What Dagster and a careless log line can show of a code location."""
    jobs = [location.resolve_job_def(name) for name in ("daily_cdr", "fetch_room", "fetch_conference")]
    resources = dict(location.resources or {})
    return "\n".join(
        [
            *(repr(each) for each in (location, resources, *resources.values(), *(location.assets or ()), *jobs)),
            *(
                repr(resource.config_schema.default_value)
                for job in jobs
                for resource in job.resource_defs.values()
                if resource.config_schema.default_provided
            ),
            *(str(vars(sensor)) for sensor in location.sensors or ()),
        ]
    )


def test_the_readme_names_the_variables_that_are_read_and_no_other() -> None:
    environment = Watched()
    code_location(environment)
    DashboardSettings.read(environment)
    assert environment.looked_up == set(documented())


def test_the_defaults_are_those_of_the_readme() -> None:
    defaults = documented()
    assert {"ENABLEX_BASE_URL", "CDR_DATA_DIR", "CDR_START_DATE"} <= {name for name in defaults if defaults[name]}
    # A default under another one is written with its name, as in a shell.
    expanded = {name: value.replace("$CDR_DATA_DIR", defaults["CDR_DATA_DIR"]) for name, value in defaults.items()}
    bare, spelled_out = code_location({}), code_location({name: value for name, value in expanded.items() if value})
    assert shown_settings(bare) == shown_settings(spelled_out)


def shown_settings(location: dg.Definitions) -> list[str]:
    """Everything that the environment sets, as texts."""
    (daily,) = (asset for asset in location.assets or () if isinstance(asset, dg.AssetsDefinition))
    return [
        *(repr(resource) for resource in (location.resources or {}).values()),
        *(f"{sensor.name} every {sensor.minimum_interval_seconds} s" for sensor in location.sensors or ()),
        repr(daily.partitions_def),
    ]


def test_an_empty_variable_is_as_good_as_none() -> None:
    names = documented()
    assert shown_settings(code_location(dict.fromkeys(names, ""))) == shown_settings(code_location({}))


def test_each_setting_reaches_its_place(tmp_path: Path) -> None:
    location = code_location(
        {"ENABLEX_BASE_URL": "https://other.example/v2", "CDR_DATA_DIR": str(tmp_path), "CDR_START_DATE": "2026-11-01"}
    )
    resources = location.resources or {}
    assert resources["enablex"].base_url == "https://other.example/v2"
    assert resources["landing"].data_dir == str(tmp_path)
    assert resources["warehouse"].database == str(tmp_path / "cdr.duckdb")
    for asset in ("period_cdr", *TABLES):
        days = location.resolve_assets_def(asset).partitions_def
        assert days is not None
        assert days.get_first_partition_key() == "2026-11-01"


@pytest.mark.parametrize("text", ["yesterday", "2026-02-30", "01.11.2026", "2026-11-01T00:00:00Z", " "])
def test_a_start_date_that_is_none_is_explained(text: str) -> None:
    with pytest.raises(ValueError, match="CDR_START_DATE") as error:
        code_location({"CDR_START_DATE": text})
    assert repr(text) in str(error.value)
    assert "YYYY-MM-DD" in str(error.value)


def test_secrets_are_not_part_of_the_definitions() -> None:
    location = code_location(SECRETS)
    said = shown(location)
    assert "ENABLEX_APP_KEY" in said, "nothing was looked at"
    assert [secret for secret in ("an-id-to-keep", "a-key-to-keep", "a-token-to-keep") if secret in said] == []


def test_every_job_and_asset_of_the_contract_is_there() -> None:
    location = code_location({})
    keys = {key.to_user_string() for key in location.resolve_asset_graph().get_all_asset_keys()}
    assert keys == {"period_cdr", "room_cdr", "conference_cdr", *TABLES}
    for name in ("daily_cdr", "fetch_room", "fetch_conference"):
        assert location.resolve_job_def(name).name == name
    dg.Definitions.validate_loadable(location)


def test_every_asset_says_what_it_is() -> None:
    graph = code_location({}).resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.group_name == "cdr", key
        assert node.kinds, key
        assert isinstance(node.partitions_def, dg.DailyPartitionsDefinition), key


def test_every_check_says_what_is_true_when_it_is_green() -> None:
    graph = code_location({}).resolve_asset_graph()
    checks = [graph.get_check_spec(key) for key in graph.asset_check_keys]
    assert all(check.description for check in checks)
    assert {check.name for check in checks if check.blocking} == {
        "cdr_id_is_unique",
        "every_record_lies_in_its_partition",
        "room_usage_adds_up",
        "conference_usage_adds_up",
        "attendance_adds_up",
        "presence_lies_within_the_conference",
        "daily_usage_adds_up",
        "every_connection_counts_in_the_peak",
        "client_usage_adds_up",
        "owner_usage_adds_up",
    }


@pytest.mark.parametrize(("environment", "owners"), [({}, ()), ({"CDR_OWNER": "team:finance"}, ("team:finance",))])
def test_every_asset_has_the_owner_that_is_set(environment: dict[str, str], owners: tuple[str, ...]) -> None:
    graph = code_location(environment).resolve_asset_graph()
    assert {tuple(graph.get(key).owners) for key in graph.get_all_asset_keys()} == {owners}


def test_every_asset_says_where_its_data_lies() -> None:
    graph = code_location({"CDR_DATA_DIR": "/srv/cdr", "CDR_EXPORT_DIR": "/srv/copies"}).resolve_asset_graph()
    places = {
        key.to_user_string(): [graph.get(key).metadata.get(name) for name in ("dagster/uri", "parquet_copy")]
        for key in graph.get_all_asset_keys()
    }
    landed = {name: ["/srv/cdr/landing", None] for name in ("period_cdr", "room_cdr", "conference_cdr")}
    tables = {name: ["/srv/cdr/cdr.duckdb", f"/srv/copies/{name}/*.parquet"] for name in TABLES}
    assert places == landed | tables
