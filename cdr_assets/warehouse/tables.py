"""The registry: every table of the warehouse, in the order in which they are built.

A new table is one entry here and one folder `sql/<table>/`.
"""

from __future__ import annotations

from cdr_assets.warehouse.changes import replace_changes
from cdr_assets.warehouse.load import load_records
from cdr_assets.warehouse.partitions import replace_conferences, replace_days, replace_owners, replace_partition
from cdr_assets.warehouse.table import Check, Table

REACHED_DAYS = Table(
    "reached_days",
    grain="per UTC day of records and UTC day of daily_usage that depends on them",
    description="The UTC days whose sums depend on a day's records. Building a day of daily_usage replaces them.",
    build=None,
    exported=False,
)

CLIENTS = Table(
    "clients",
    grain="per agent",
    description="The client of every agent that was met in a record. Building call_detail_records adds to it.",
    build=None,
    exported=False,
    modules=("clients",),
    packages=("ua-parser", "ua-parser-builtins", "ua-parser-rs"),
)

MOVED_RECORDS = Table(
    "moved_records",
    grain="per record and UTC day on which an older version of it landed",
    description="Records that lie under another day than the one on which they landed. Building a day replaces those "
    "near it.",
    build=None,
    exported=False,
)

CALL_DETAIL_RECORDS = Table(
    "call_detail_records",
    grain="per cdr_id, its newest version",
    description="Typed CDRs. Source: every record that landed for the day. One row per cdr_id, the newest version. A "
    "rerun replaces the day's rows and never asks EnableX for the day.",
    build=load_records,
    one_day_at_a_time=True,
    support=(CLIENTS, MOVED_RECORDS),
    checks=(
        Check(
            "cdr_id_is_unique",
            "No cdr_id is in the table twice, on the day itself or within 7 days of it.",
            "Of a record whose newer version has another trans_date only the newest is kept, so something else wrote "
            "these rows: run the job rebuild for the days in the sample.",
            blocking=True,
        ),
        Check(
            "cdr_id_is_unique_over_all_days",
            "No cdr_id is in the table twice, on whatever days. Evaluated once a week.",
            "If the days in the sample lie within 7 days of each other, run the job rebuild for them. Else a newer "
            "version of the record has a trans_date further away, and the record is counted on both days: ask EnableX "
            "which one is right, and materialize the other day with replace: true.",
            over_all_days=True,
        ),
        Check(
            "every_record_lies_in_its_partition",
            "Every record lies under the UTC day of its own trans_date.",
            "A file in this day's landing folder has records of other days: move it out of the landing zone and fetch "
            "those days again.",
            blocking=True,
        ),
        Check(
            "no_field_was_lost_to_its_type",
            "Every field fits the type of its column and is no longer than 64 KiB, no length of time is negative or "
            "longer than 31 days, and no clock time lies more than 183 days from the record's trans_date.",
            "The field is NULL in the table and counts as 0; the landing zone still has it. If EnableX changed its "
            "shape, change the column in sql/call_detail_records: the days are rebuilt by themselves.",
        ),
        Check(
            "room_duration_agrees_with_its_timestamps",
            "The time in the room is disconnect minus connect, within a second.",
            "The API does not document the unit of room.duration. If it is no longer seconds, the minutes in the usage "
            "tables are wrong: ask EnableX before you bill by them.",
        ),
    ),
)

RECORD_CHANGES = Table(
    "record_changes",
    grain="per field that a later version of a record changed",
    description="Why figures moved. Source: every landed version of the day's records. One row per field that a later "
    "version changed, under the UTC day of the newest version. A rerun replaces the day's rows.",
    build=replace_changes,
    one_day_at_a_time=True,
    sources=(CALL_DETAIL_RECORDS,),
    support=(MOVED_RECORDS,),
    modules=("changes",),
)

ROOM_USAGE = Table(
    "room_usage",
    grain="per room and UTC day",
    description="Usage per room. Source: call_detail_records of the day. One row per app, room and UTC day. A rerun "
    "replaces the day's rows.",
    build=replace_partition,
    sources=(CALL_DETAIL_RECORDS,),
    lists=("busiest_rooms",),
    checks=(
        Check(
            "room_usage_adds_up",
            "Connections and minutes of every room are those of its records.",
            "Materialize room_usage for these days. If the check still fails, its insert.sql has a fault.",
            blocking=True,
        ),
    ),
)

CONFERENCE_USAGE = Table(
    "conference_usage",
    grain="per conference, over all its days",
    description="Usage per conference. Source: call_detail_records of the day and of every other day that its "
    "conferences reach. One row per conference over all its days, under the day of its first record. A rerun replaces "
    "the rows of every conference that has a record on the day.",
    build=replace_conferences,
    sources=(CALL_DETAIL_RECORDS,),
    shared_sql=("conferences",),
    lists=("longest_conferences",),
    checks=(
        Check(
            "conference_usage_adds_up",
            "Connections and minutes of every conference of the day are those of its records, over all its days.",
            "Materialize conference_usage for the days from the conference's first to its last. If the check still "
            "fails, its insert.sql has a fault.",
            blocking=True,
        ),
    ),
)

ATTENDANCE = Table(
    "attendance",
    grain="per person in each conference, over all its days",
    description="Who was in which conference, and for how long. Source: as conference_usage. One row per person and "
    "conference, under the day of the conference's first record. A rerun replaces the rows of every conference that "
    "has a record on the day.",
    build=replace_conferences,
    sources=(CALL_DETAIL_RECORDS,),
    support=(CLIENTS,),
    shared_sql=("conferences",),
    checks=(
        Check(
            "attendance_adds_up",
            "People, connections and minutes of every conference of the day are those of its row in conference_usage.",
            "Materialize attendance for these days. If the check still fails, its insert.sql has a fault.",
            blocking=True,
        ),
        Check(
            "presence_lies_within_the_conference",
            "Nobody is present for longer than the conference lasts, all people together are present at least twice as "
            "long as they meet, and a conference with a length has a peak of at least 1.",
            "Materialize attendance for these days. If the check still fails, its insert.sql has a fault.",
            blocking=True,
        ),
    ),
)

DAILY_USAGE = Table(
    "daily_usage",
    grain="per UTC day",
    description="Usage of the whole account. Source: call_detail_records of the day, and of every other day whose "
    "connections overlap it. One row per app and UTC day. A rerun replaces the rows of the day and of the other days "
    "that its connections overlap.",
    build=replace_days,
    sources=(CALL_DETAIL_RECORDS,),
    support=(REACHED_DAYS,),
    shared_sql=("conferences",),
    version_of_facts=lambda facts, day: "provisional" if facts.is_provisional(day) else "",
    checks=(
        Check(
            "daily_usage_adds_up",
            "Connections and minutes of every day are those of its records.",
            "Materialize daily_usage for these days. If the check still fails, its insert.sql has a fault.",
            blocking=True,
        ),
        Check(
            "every_connection_counts_in_the_peak",
            "A day on which a connection was open has a peak of at least 1.",
            "Materialize daily_usage for these days. If the check still fails, its peaks.sql has a fault.",
            blocking=True,
        ),
    ),
)

CONNECTION_QUALITY = Table(
    "connection_quality",
    grain="per record, direction and kind of media",
    description="Bitrates and quality of the connections. Source: stats_quality in call_detail_records of the day. One "
    "row per record, direction and kind of media. A rerun replaces the day's rows.",
    build=replace_partition,
    sources=(CALL_DETAIL_RECORDS,),
    support=(CLIENTS,),
)

CLIENT_USAGE = Table(
    "client_usage",
    grain="per client and UTC day",
    description="Usage, short connections and quality per client. Source: call_detail_records and connection_quality "
    "of the day. One row per app, client and UTC day. A rerun replaces the day's rows.",
    build=replace_partition,
    sources=(CALL_DETAIL_RECORDS, CONNECTION_QUALITY),
    support=(CLIENTS,),
    checks=(
        Check(
            "client_usage_adds_up",
            "Connections, minutes and ratings of all clients together are those of the day's records.",
            "Materialize client_usage for these days. If the check still fails, its insert.sql has a fault.",
            blocking=True,
        ),
    ),
)

OWNER_USAGE = Table(
    "owner_usage",
    grain="per owner, billing code and UTC day",
    description="Usage per owner and billing code. Source: call_detail_records of the day, and the file of rooms. One "
    "row per app, owner, billing code and UTC day. A rerun replaces the day's rows.",
    build=replace_owners,
    sources=(CALL_DETAIL_RECORDS,),
    version_of_facts=lambda facts, day: facts.rooms.version(day),
    checks=(
        Check(
            "owner_usage_adds_up",
            "Connections and minutes of all owners together are those of the day's records.",
            "Materialize owner_usage for these days. If the check still fails, its insert.sql has a fault.",
            blocking=True,
        ),
    ),
)

CHECK_FINDINGS = Table(
    "check_findings",
    grain="per check and UTC day with an open or acknowledged finding",
    description="Findings of the checks. One row per check and UTC day with an open or acknowledged finding, none for "
    "a clean day. Building or checking a day replaces its findings.",
    build=None,
)

BUILD_LOG = Table(
    "build_log",
    grain="per table and UTC day that is built and not blocked",
    description="What each partition was built from, and its Parquet copy. One row per table and UTC day that is built "
    "and not blocked by a check, written in the transaction that builds it.",
    build=None,
    exported=False,
)

TABLES = (
    CALL_DETAIL_RECORDS,
    RECORD_CHANGES,
    ROOM_USAGE,
    CONFERENCE_USAGE,
    ATTENDANCE,
    DAILY_USAGE,
    CONNECTION_QUALITY,
    CLIENT_USAGE,
    OWNER_USAGE,
    CHECK_FINDINGS,
    REACHED_DAYS,
    CLIENTS,
    MOVED_RECORDS,
    BUILD_LOG,
)

DAILY_TABLES = tuple(table for table in TABLES if table.build)
"""The tables that are built partition by partition; each is an asset."""

EXPORTED_TABLES = tuple(table for table in TABLES if table.exported)
"""The tables that have Parquet copies."""


def tables_below(table: Table) -> list[Table]:
    """The tables that are built from `table`, directly or not."""
    below = [each for each in DAILY_TABLES if table in each.sources]
    return [*below, *(further for each in below for further in tables_below(each))]
