"""A connection as EnableX describes it, in either shape, and how a record is written."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from random import Random
from typing import Any

import msgspec

from cdr_assets.sandbox.company import TELEPHONE, Room, digest
from cdr_assets.sandbox.plan import DAY, MINUTE, SECOND, Conference
from cdr_assets.sandbox.settings import Settings
from cdr_assets.sandbox.stories import Connection

Record = dict[str, Any]

_MINUTES_OF_A_DAY = tuple(f"T{minute // 60:02}:{minute % 60:02}:" for minute in range(24 * 60))
_SECONDS = tuple(f"{second:02}" for second in range(60))
_THOUSANDTHS = tuple(f".{thousandth:03}Z" for thousandth in range(1_000))
_PARTNER = digest("partner")


class Thousandths(float):
    """A number that is written with three decimals."""

    __slots__ = ()


_encoder = msgspec.json.Encoder(enc_hook=lambda number: msgspec.Raw(b"%.3f" % number))


def encode(record: Record) -> bytes:
    """The record as JSON. Every route sends the same bytes."""
    return _encoder.encode(record)


def stamp(moment: datetime) -> str:
    """An aware moment as text in the form of the records. The order of the texts is that of the moments."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds")[:23] + "Z"


class Writer:
    """Writes the connections of one conference as records. Both shapes describe the same connections."""

    def __init__(self, settings: Settings, conference: Conference, rng: Random) -> None:
        self._settings = settings
        self._conference = conference
        self._rng = rng
        # The day before is for signalling that begins just before midnight.
        self._days = [str(conference.day + timedelta(days=days)) for days in (-1, 0, 1)]
        self._shares_screen = rng.random() < 0.4
        self._id = f"{conference.number[:12]}{conference.place:06x}"
        self._written = 0

    def record(self, connection: Connection) -> Record:
        """The next record of the conference."""
        current = self._settings.shape == "current"
        number = _shortest if current else Thousandths
        conference, rng = self._conference, self._rng
        join, leave, name, ref, role, ip, agent, _ = connection
        # Each shape uses other parts of it, so that both describe the same connections.
        luck = rng.randbytes(67)
        signal_join, signal_leave = join - 200 - 9 * luck[17], leave + 20 + luck[18]
        duration, minutes = leave - join, (leave - join) / MINUTE
        begin, end = self._stamp(join), self._stamp(leave)
        sip, speaks = agent == TELEPHONE, role in ("moderator", "participant")
        tracks: dict[str, Any] = {
            "audio": speaks,
            "data": not sip,
            "video": speaks and not sip and luck[0] < 218,
            "screen": role == "moderator" and self._shares_screen,
            "url": False,
        }
        received = minutes * min(conference.people - 1, 9) * (0.7 + 0.3 * rng.random())
        sent = minutes * (0.8 + 0.2 * rng.random()) if speaks else 0.0
        record: Record = {
            "trans_date": end,
            "conf_num": conference.number,
            "call_num": f"{int.from_bytes(luck[12:17], 'big') % 10**10:010d}",
            "call_log_id": luck[:12].hex(),
            "room": {
                "room_id": conference.room.room_id,
                "connect_dt": begin,
                "disconnect_dt": end,
                "duration": number(duration / SECOND),
            },
            "user": {"ip": ip, "name": name, "role": role, "ref": ref, "agent": agent},
            "sigserver": {
                "connect_dt": self._stamp(signal_join),
                "ip": f"203.0.113.{1 + conference.place % 8}",
                "disconnect_dt": self._stamp(signal_leave),
                "duration": number((signal_leave - signal_join) / SECOND),
                "hold_duration": number(39 * luck[2] / SECOND if luck[1] < 13 else 0),
            },
            "published_track": tracks,
            "usage": {
                "subscribed_minutes": number(int(received * 1_000) / 1_000),
                "published_minutes": number(int(sent * 1_000) / 1_000),
            },
            "app_id": self._settings.app_id,
            "cdr_id": f"{self._id}{self._written:06x}",
        }
        self._written += 1
        if current:
            self._add_current_fields(record, connection, tracks, luck[19:])
        else:
            record["published_track"] = {track: "true" if on else "false" for track, on in tracks.items()}
            record["user"]["token"] = f"eyJhbGciOiJIUzI1NiJ9.{luck[19:].hex()}"
            record["user"]["confName"] = conference.room.name
        return record

    def _add_current_fields(self, record: Record, connection: Connection, tracks: dict[str, Any], luck: bytes) -> None:
        """Adds the fields that only later documents and clients have."""
        thousandths = (connection.leave - connection.join) * 1_000 // MINUTE
        exact, begun = _shortest(thousandths / 1_000), -(-(connection.leave - connection.join) // MINUTE)
        sip = connection.agent == TELEPHONE
        room, usage = record["room"], record["usage"]
        room["sip"] = sip
        room["room_details"] = _details(self._conference.room)
        usage["screen_minutes"] = usage["published_minutes"] if tracks["screen"] else 0
        usage["connect_minutes"] = exact
        usage["connect_minutes_cal"] = begun
        usage["room_connect_minutes"] = exact
        record["sip"] = sip
        record["parent_partner_id"] = _PARTNER
        record["price"] = {"connect_duration": _shortest(begun * 4 / 1_000)}
        if not sip:
            record["stats_quality"] = self._quality(connection, tracks, luck)

    def _quality(self, connection: Connection, tracks: dict[str, Any], luck: bytes) -> dict[str, Any]:
        """`stats_quality`: what was sent and received, as far as it lasted long enough to be measured."""
        if connection.leave - connection.join < 10 * SECOND:
            return {"send": {}, "receive": {}}
        spelling = _OF_BROWSERS if connection.agent.startswith("Mozilla") else _OF_APPS
        shaky = connection.shaky
        send, receive = {}, {}
        if tracks["video"]:
            send["video"] = _measured(spelling, _VIDEO, shaky, luck[0:3])
        if tracks["audio"]:
            send["audio"] = _measured(spelling, _AUDIO, shaky, luck[3:6])
        if tracks["screen"]:
            send["sharing"] = _measured(spelling, _SHARING, shaky, luck[6:9])
        if self._conference.people > 1:
            receive["video"] = _measured(spelling, _VIDEO, shaky, luck[9:12])
            receive["audio"] = _measured(spelling, _AUDIO, shaky, luck[12:15])
            if self._shares_screen and not tracks["screen"]:
                receive["sharing"] = _measured(spelling, _SHARING, shaky, luck[15:18])
        return {"send": send, "receive": receive}

    def _stamp(self, milliseconds: int) -> str:
        """The moment, counted from midnight of the conference's day, as text."""
        days, milliseconds = divmod(milliseconds, DAY)
        minute, milliseconds = divmod(milliseconds, MINUTE)
        second, milliseconds = divmod(milliseconds, SECOND)
        return f"{self._days[days + 1]}{_MINUTES_OF_A_DAY[minute]}{_SECONDS[second]}{_THOUSANDTHS[milliseconds]}"


def _details(room: Room) -> dict[str, Any]:
    """`room_details`. A room with neither owner nor billing code says nothing of itself."""
    if not room.owner_ref and not room.billing_code:
        return {}
    settings = {"mode": "lecture" if room.kind in ("class", "webinar") else "group"}
    if room.billing_code:
        settings["billing_code"] = room.billing_code
    return {"name": room.name, "owner_ref": room.owner_ref, "settings": settings}


# (name of the verdict, name of the share of time that was good). Clients name the same figures in two ways.
_OF_BROWSERS = ("avg_quality", "good_percent")
_OF_APPS = ("avg_bitrate_quality", "bitrate_good_percent")
# (lowest average bit rate, how much more it may be) on a good network.
_VIDEO, _AUDIO, _SHARING = (250, 1_500), (24, 24), (80, 500)


def _measured(spelling: tuple[str, str], usual: tuple[int, int], shaky: bool, luck: bytes) -> dict[str, Any]:
    """The figures of one medium in one direction. On a bad network most media are bad, and audio suffers least."""
    least, more = usual
    average = least + more * luck[0] // 256
    if shaky and luck[1] < (96 if usual is _AUDIO else 208):
        average, good = average // 4, 15 + luck[2] // 4
    else:
        good = 100 - (luck[1] * luck[2] >> 11)
    verdict, share = spelling
    return {
        "avg_bitrate": average,
        "max_bitrate": average * 3 // 2,
        "min_bitrate": average // 3,
        verdict: "Good" if good >= 80 else "Bad",
        share: good,
    }


def _shortest(number: float) -> float:
    return int(number) if number == int(number) else number
