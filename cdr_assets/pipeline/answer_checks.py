"""The checks on what EnableX answered, or did not: no SQL statement can evaluate them. Knows no Dagster."""

from __future__ import annotations

from datetime import date

from cdr_assets.landing.ingest import IngestResult
from cdr_assets.pipeline.names import PERIOD_CDR
from cdr_assets.warehouse.checks import Finding
from cdr_assets.warehouse.table import Check

NO_RECORD_WAS_SET_ASIDE = Check(
    "no_record_was_set_aside",
    "Every record of the answer was valid. Invalid ones are in the quarantine folder, with the reason.",
    "Read the quarantine files named in the sample. A record that EnableX fixes lands when its day is fetched again.",
)
NO_RECORD_VANISHED_UPSTREAM = Check(
    "no_record_vanished_upstream",
    "The answer holds every record that landed for the day before. Records that it lacks are kept.",
    "Expected once EnableX lets CDRs expire; on a recent day, ask EnableX. To drop them, materialize the day with "
    "replace: true.",
)
THE_ANSWER_IS_WHOLE = Check(
    "the_answer_is_whole",
    "The answer does not say that it lacks records: no page after it, no larger total, no error beside its records.",
    "What came has landed. EnableX documents no answer in parts, so ask EnableX how to get the rest. fetch_room and "
    "fetch_conference may bring it.",
)
ROUTES_AGREE = Check(
    "routes_agree",
    "The room and conference routes return the same records and minutes as the table. Sampled once per fetching run: "
    "the busiest rooms and some conferences of its last closed day.",
    "Records that only the routes had have landed, and their days are rebuilt. Ask EnableX about records that only the "
    "table has, and about minutes that differ. CDR_AGREEMENT_SAMPLE sets how many are sampled; with 0 nothing is asked "
    "for, and what was found before stays open until it is acknowledged.",
)
NO_DAY_IS_OVERDUE = Check(
    "no_day_is_overdue",
    "No day lacks its records CDR_OVERDUE_HOURS after it was due because its fetches fail. Evaluated by closed_days.",
    "The failed runs of these days say why. To try now, materialize period_cdr for one of them.",
)
INGEST_CHECKS = (NO_RECORD_WAS_SET_ASIDE, NO_RECORD_VANISHED_UPSTREAM, THE_ANSWER_IS_WHOLE)


def ingest_findings(day: date, ingested: IngestResult) -> list[Finding]:
    """The findings of the checks on answers, for the day's answer."""
    files = ({"file": file.removeprefix("quarantine/")} for file in sorted(ingested.quarantine_files))
    quarantined = sum(ingested.quarantined.values())
    vanished, signs = ingested.changes[day].vanished, ingested.signs_of_more
    return [
        Finding(PERIOD_CDR, NO_RECORD_WAS_SET_ASIDE, day, quarantined, list(files)),
        Finding(PERIOD_CDR, NO_RECORD_VANISHED_UPSTREAM, day, vanished, [{"vanished_records": vanished}]),
        Finding(PERIOD_CDR, THE_ANSWER_IS_WHOLE, day, len(signs), [{"answer": sign} for sign in signs]),
    ]
