#!/usr/bin/env bash
# cron-converter 2.0.2 (PyPI) beside cronsim 2.8 and croniter 7.0.0, where the clocks of Europe/Berlin change in 2026.
#
# Seen: in spring an hourly expression (`0 * * * *`) gives the instant 01:00 UTC twice, once as 02:00, which no clock in
# Berlin shows that night, and once as 03:00. In autumn it leaves out the second 02:00 (01:00 UTC), though `0 * * * *` in
# cronsim and croniter comes then. A daily `30 2 * * *` comes in spring at 01:30 UTC here and at 01:00 UTC there; in
# autumn croniter alone has it twice.
# Why one would not expect it: `next()` of a schedule should go forward. Whoever starts a job at every answer starts one
# twice. Three libraries with the same five fields give three sets of instants for the same zone.
# Sluice asks its library for times on the wall without a zone, and applies one rule itself (docs/schedules.md).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  cron-converter==2.0.2 cronsim==2.8 croniter==7.0.0 tzdata==2026.6 2>/dev/null
"$folder/env/bin/python" - <<'PY'
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cron_converter import Cron
from croniter import croniter
from cronsim import CronSim

BERLIN = ZoneInfo("Europe/Berlin")


def answers(expression, start, n):
    start = start.replace(tzinfo=BERLIN)
    schedule, ahead, sim = Cron(expression).schedule(start), croniter(expression, start), CronSim(expression, start)
    found = {
        "cron-converter": [schedule.next() for _ in range(n)],
        "croniter": [ahead.get_next(datetime) for _ in range(n)],
        "cronsim": [next(sim) for _ in range(n)],
    }
    found = {name: [at.astimezone(UTC).strftime("%d %H:%M") for at in times] for name, times in found.items()}
    print(expression, "from", start.date(), *(f"\n  {name:15}{times}" for name, times in found.items()))
    return found


spring = answers("0 * * * *", datetime(2026, 3, 29, 0, 30), 4)
assert spring["cron-converter"] == ["29 00:00", "29 01:00", "29 01:00", "29 02:00"]
assert spring["croniter"] == spring["cronsim"] == ["29 00:00", "29 01:00", "29 02:00", "29 03:00"]
autumn = answers("0 * * * *", datetime(2026, 10, 25, 0, 30), 4)
assert autumn["cron-converter"] == ["24 23:00", "25 00:00", "25 02:00", "25 03:00"]
assert autumn["croniter"] == autumn["cronsim"] == ["24 23:00", "25 00:00", "25 01:00", "25 02:00"]
daily = answers("30 2 * * *", datetime(2026, 3, 28, 20), 2)
assert daily["cron-converter"][0] == "29 01:30"
assert daily["croniter"][0] == daily["cronsim"][0] == "29 01:00"
twice = answers("30 2 * * *", datetime(2026, 10, 24, 20), 3)
assert twice["croniter"] == ["25 00:30", "25 01:30", "26 01:30"]
assert twice["cronsim"] == twice["cron-converter"] == ["25 00:30", "26 01:30", "27 01:30"]
print("as described")
PY
