"""The names of the assets that are landed. Those of the tables are in the registry."""

PERIOD_CDR = "period_cdr"
ROOM_CDR = "room_cdr"
CONFERENCE_CDR = "conference_cdr"
