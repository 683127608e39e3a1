"""What every run of this project does from its start to its end: it holds its lock and carries its tags."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import dagster as dg
from pydantic import Field, PrivateAttr

from cdr_assets.pipeline.event_log import kept_open
from cdr_assets.pipeline.run_lock import RunLocks, run_locks
from cdr_assets.places import Places

PARTITION_TAG = "dagster/partition"
BACKFILL_TAG, PRIORITY_TAG = "dagster/backfill", "dagster/priority"
RANGE_START_TAG, RANGE_END_TAG = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"

# Which EnableX a run is about, for people.
ENABLEX_TAG = "cdr_assets/enablex"
# The range of a run, for people: Dagster's own tags of it are hidden in the list of runs.
DAYS_TAG = "cdr_assets/days"
# The run fetches the day that is open. It is soon followed by another one.
OPEN_DAY_TAG = "cdr_assets/open_day"
# Where the run's lock is. Runs on other data may be in the same Dagster instance.
PLACE_TAG = "cdr_assets/folder"

# Tags of a failed run, by which the sensors learn what to try again and when.
FAILED_DAY_TAG = "cdr_assets/failed_day"
ACCOUNT_ERROR_TAG = "cdr_assets/refusal"
REFUSED_CREDENTIALS_TAG = "cdr_assets/refused_credentials"
UNAVAILABLE_TAG = "cdr_assets/unavailable"
BAD_ROOMS_TAG = "cdr_assets/bad_rooms"
"""The run did its days, but for the table that needs the file of rooms."""
MISTAKE_TAG = "cdr_assets/mistake"
"""The run was asked for something that cannot be done, such as a day to come."""

FAILURE_TAGS = (
    FAILED_DAY_TAG,
    ACCOUNT_ERROR_TAG,
    BAD_ROOMS_TAG,
    REFUSED_CREDENTIALS_TAG,
    UNAVAILABLE_TAG,
    MISTAKE_TAG,
)


class Closable(Protocol):
    def close(self) -> None: ...


Closed = TypeVar("Closed", bound=Closable)


class LiveRun(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Marks the run as alive while its step works, and tags it with its days and its EnableX.

    Every op of this project takes it as `live_run`, if only to be marked.
    """

    data_dir: str = Field(description="Folder of everything on disk.")
    lake: str = Field(default="", description="The lake, a secret; empty on one machine.")
    enablex: str = Field(description="Which EnableX the runs are about: its host, or sandbox.")
    dashboard_url: str = Field(description="Where the dashboard is, for links in metadata.")
    _at_end: ExitStack = PrivateAttr(default_factory=ExitStack)

    def closing(self, opened: Closed) -> Closed:
        """Closes `opened` when the step has ended, however it ends.

        An interrupt between two events of a step leaves its generator as it stands: `with` and `finally` there are not
        left until the interrupt's traceback is gone.
        """
        self._at_end.callback(opened.close)
        return opened

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Generator[LiveRun, None, None]:
        run = context.instance and context.run and context.instance.get_run_by_id(context.run.run_id)
        # A command line sets the resources up once more when its run has ended.
        if context.instance is None or not run or run.is_finished:
            with self._at_end:
                yield self
            return
        with self._locks.hold(run.run_id), kept_open(context.instance, run.run_id), self._at_end:
            context.instance.add_run_tags(run.run_id, self._tags(run.tags))
            yield self

    @property
    def _locks(self) -> RunLocks:
        return run_locks(Places.read(Path(self.data_dir), self.lake))

    def _tags(self, given: Mapping[str, str]) -> dict[str, str]:
        # A retried run starts with the tags of the run before, which tell how that one failed.
        return {
            **{tag: "" for tag in FAILURE_TAGS if tag in given},
            ENABLEX_TAG: self.enablex,
            PLACE_TAG: self._locks.place,
            **range_tag(given),
        }


def range_tag(tags: Mapping[str, str]) -> dict[str, str]:
    """The tag that shows the range of a range run; none for a single day."""
    if RANGE_START_TAG in tags and RANGE_END_TAG in tags:
        return {DAYS_TAG: f"{tags[RANGE_START_TAG]}...{tags[RANGE_END_TAG]}"}
    return {}
