"""When schedules come round: where clocks change, against a second library's answers, and what is no schedule."""

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from importlib.resources import files
from itertools import islice, takewhile
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter

from shared import zones
from shared.errors import BadSchedule
from shared.schedules import cron

SPRING = {"Europe/Berlin": "2026-03-29", "America/New_York": "2026-03-08", "Australia/Lord_Howe": "2026-10-04"}
AUTUMN = {"Europe/Berlin": "2026-10-25", "America/New_York": "2026-11-01", "Australia/Lord_Howe": "2026-04-05"}
CHANGES = [*((zone, day, "spring") for zone, day in SPRING.items()), *((z, d, "autumn") for z, d in AUTUMN.items())]
EXPRESSIONS = ["30 2 * * *", "15 2 * * *", "45 1 * * *", "0 * * * *", "*/10 * * * *", "5,35 1-3 * * *", "0 12 * * sun"]


def midnight(zone: str, day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).timestamp()


def ours(expression: str, zone: str, day: str) -> list[str]:
    """All instants of a day on the wall and the one after it, as UTC."""
    start = midnight(zone, day)
    end = midnight(zone, (datetime.fromisoformat(day) + timedelta(days=2)).date().isoformat())
    found = takewhile(lambda at: at < end, cron.instants(expression, zone, start - 1))
    return [datetime.fromtimestamp(at, UTC).strftime("%m-%d %H:%M") for at in found]


@pytest.mark.parametrize(
    ("zone", "day", "expression", "first"),
    [
        # Spring: what the clock leaves out is skipped, what stands beside it is not moved.
        ("Europe/Berlin", "2026-03-29", "30 2 * * *", ["03-30 00:30"]),
        ("Europe/Berlin", "2026-03-29", "59 1 * * *", ["03-29 00:59", "03-29 23:59"]),
        ("Europe/Berlin", "2026-03-29", "0 3 * * *", ["03-29 01:00", "03-30 01:00"]),
        ("America/New_York", "2026-03-08", "30 2 * * *", ["03-09 06:30"]),
        ("America/New_York", "2026-03-08", "0 3 * * *", ["03-08 07:00", "03-09 07:00"]),
        ("Australia/Lord_Howe", "2026-10-04", "15 2 * * *", ["10-04 15:15"]),
        ("Australia/Lord_Howe", "2026-10-04", "30 2 * * *", ["10-03 15:30", "10-04 15:30"]),
        # Autumn: what comes twice counts once, the first time.
        ("Europe/Berlin", "2026-10-25", "30 2 * * *", ["10-25 00:30", "10-26 01:30"]),
        ("Europe/Berlin", "2026-10-25", "0 3 * * *", ["10-25 02:00", "10-26 02:00"]),
        ("America/New_York", "2026-11-01", "30 1 * * *", ["11-01 05:30", "11-02 06:30"]),
        ("Australia/Lord_Howe", "2026-04-05", "45 1 * * *", ["04-04 14:45", "04-05 15:15"]),
        ("Australia/Lord_Howe", "2026-04-05", "15 1 * * *", ["04-04 14:15", "04-05 14:45"]),
    ],
)
def test_what_is_left_out_is_skipped_and_what_comes_twice_counts_once(
    zone: str, day: str, expression: str, first: list[str]
) -> None:
    assert ours(expression, zone, day) == first


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize(("zone", "day", "season"), CHANGES)
def test_a_second_library_differs_by_moved_and_repeated_times_alone(
    zone: str, day: str, season: str, expression: str
) -> None:
    where = ZoneInfo(zone)
    start = datetime.fromtimestamp(midnight(zone, day) - 1, where)
    ahead = croniter(expression, start)
    mine = [round(at) for at in islice(cron.instants(expression, zone, start.timestamp()), 60)]
    theirs = [ahead.get_next(datetime) for _ in range(75)]
    known = {round(at.timestamp()): at for at in theirs if at.timestamp() <= mine[-1]}
    assert sorted(set(mine) - set(known)) == []
    for at in sorted(set(known) - set(mine)):
        wall = datetime.fromtimestamp(at, where)
        again = wall.fold == 1  # the second of two in autumn
        moved = not croniter.match(expression, wall.replace(tzinfo=None))  # in spring, to a time nobody asked for
        assert (again, moved) == (season == "autumn", season == "spring"), wall
    assert mine == sorted(set(mine))


@pytest.mark.parametrize(("zone", "day", "_season"), CHANGES)
def test_going_on_from_any_instant_gives_the_same_as_going_on(zone: str, day: str, _season: str) -> None:
    at = midnight(zone, day)
    whole = list(islice(cron.instants("*/10 * * * *", zone, at), 40))
    stepped = []
    for _ in whole:
        found = cron.next_after("*/10 * * * *", zone, at)
        assert found is not None
        stepped.append(at := found)
    assert stepped == whole


def test_a_time_within_the_repeated_hour_is_followed_by_what_is_really_later() -> None:
    second = datetime(2026, 10, 25, 1, 30, tzinfo=UTC).timestamp()  # 02:30 the second time
    found = cron.next_after("45 2 * * *", "Europe/Berlin", second)
    assert found == datetime(2026, 10, 26, 1, 45, tzinfo=UTC).timestamp()


def test_the_library_is_the_one_that_schedules_name() -> None:
    assert f"cronsim {version('cronsim')}" == cron.LIBRARY


def test_day_of_month_and_weekday_are_either_enough() -> None:
    assert ours("0 12 30 * mon", "UTC", "2026-03-29") == ["03-30 12:00"]
    assert ours("0 12 30 * sun", "UTC", "2026-03-29") == ["03-29 12:00", "03-30 12:00"]


@pytest.mark.parametrize("expression", ["0 8 30 2 *", "0 0 31 4,6,9,11 *", "0 8 32 * *"])
def test_a_day_that_never_comes_is_told(expression: str) -> None:
    with pytest.raises(BadSchedule) as told:
        cron.shortest_gap(expression, "UTC", 1_790_000_000)
    assert told.value.param == "cron"


@pytest.mark.parametrize("expression", ["30 2 * 3 7L", "0 2 * mar 7L", "59 2 * 3 0L"])
def test_a_time_that_the_clocks_leave_out_every_year_never_comes(expression: str) -> None:
    with pytest.raises(BadSchedule) as told:
        cron.shortest_gap(expression, "Europe/Berlin", 1_790_000_000)
    assert told.value.param == "cron"
    assert cron.shortest_gap(expression, "UTC", 1_790_000_000) is not None


def test_a_leap_day_is_waited_for_over_a_century_that_has_none() -> None:
    found = cron.next_after("0 8 29 2 *", "Europe/Berlin", datetime(2096, 3, 1, tzinfo=UTC).timestamp())
    assert found == datetime(2104, 2, 29, 7, tzinfo=UTC).timestamp()


def test_a_leap_day_comes() -> None:
    found = cron.next_after("0 8 29 2 *", "UTC", datetime(2026, 1, 1, tzinfo=UTC).timestamp())
    assert found == datetime(2028, 2, 29, 8, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "expression",
    ["", "* * * *", "* * * * * *", "@daily", "60 * * * *", "* 24 * * *", "a * * * *", "*/0 * * * *", "5-1 * * * *",
     "* * * 13 *", "* * * * 8", "0 0 L-9 * * *", "* " * 5 + "x" * 200, "\u0661 * * * *"],
)  # fmt: skip
def test_what_is_no_expression(expression: str) -> None:
    with pytest.raises(BadSchedule) as told:
        cron.instants(expression, "UTC", 0)
    assert told.value.param == "cron"


@pytest.mark.parametrize(
    "zone",
    ["", "Mars/Base", "../etc/passwd", "/etc/localtime", "Europe", "é", "a\0b", "x" * 64, "zones", "__init__.py"],
)
def test_what_is_no_zone(zone: str) -> None:
    with pytest.raises(BadSchedule) as told:
        cron.instants("* * * * *", zone, 0)
    assert told.value.param == "timezone"


@pytest.fixture
def zones_of_the_machine(tmp_path: Path) -> Iterator[None]:
    """A folder of zones as machines have it: older, and with names that are the machine's own."""
    for name in ("localtime", "posix/Europe/Berlin", "right/Europe/Berlin", "Europe/Berlin"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((files("tzdata") / "zoneinfo" / "Asia" / "Tokyo").read_bytes())
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath([tmp_path])
    ZoneInfo.clear_cache()
    yield
    zoneinfo.reset_tzpath(before)
    ZoneInfo.clear_cache()


@pytest.mark.usefixtures("zones_of_the_machine")
def test_zones_are_those_of_the_pinned_package_whatever_the_machine_has() -> None:
    assert ZoneInfo("Europe/Berlin").utcoffset(datetime(2026, 1, 1)) == timedelta(hours=9)  # noqa: DTZ001
    zones.zone_of.cache_clear()
    assert cron.next_after("30 2 * * *", "Europe/Berlin", 1_767_225_600.0) == 1_767_231_000.0
    for name in ("localtime", "posix/Europe/Berlin", "right/Europe/Berlin"):
        with pytest.raises(BadSchedule, match="no time zone"):
            cron.instants("* * * * *", name, 0)


@pytest.mark.parametrize(
    ("text", "zone", "utc"),
    [
        ("2026-07-01T08:00:00Z", "Europe/Berlin", "2026-07-01T08:00:00+00:00"),
        ("2026-07-01T08:00:00+05:30", "Europe/Berlin", "2026-07-01T02:30:00+00:00"),
        ("2026-07-01T08:00:00", "Europe/Berlin", "2026-07-01T06:00:00+00:00"),
        ("2026-10-25T02:30", "Europe/Berlin", "2026-10-25T00:30:00+00:00"),
    ],
)
def test_a_single_time(text: str, zone: str, utc: str) -> None:
    assert cron.instant_of(text, zone) == datetime.fromisoformat(utc).timestamp()


@pytest.mark.parametrize("text", ["", "tomorrow", "2026-02-30T08:00:00Z", "2026-13-01", "2026-03-29T02:30", "9999999"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(BadSchedule) as told:
        cron.instant_of(text, "Europe/Berlin")
    assert told.value.param == "at"
