"""Fire times of cron expressions by croniter and zoneinfo, which are not ours: for each expression, zone and pair of
policies their number and the SHA-256 of their seconds since 1970, one on each line.

fire_times.py FIRST LAST EXPRESSIONS ZONES      years; lists separated by |"""

import hashlib
import sys
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from croniter import croniter

UTC = timezone.utc


def read(wall, zone):
    """The two moments that a time on a wall may be, and whether it exists."""
    first = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    second = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if first == second:
        return first, second, True
    return first, second, first.astimezone(zone).replace(tzinfo=None) == wall


def moments(first, second, exists, missing, repeated):
    """The moments at which it fires."""
    if not exists:
        # By the offset before the change it is later by as much as the clock goes forward.
        return [first] if missing == "shift" else []
    return {"first": [first], "second": [second], "both": [first, second]}[repeated]


first_year, last_year = int(sys.argv[1]), int(sys.argv[2])
begin, end = datetime(first_year, 1, 1, tzinfo=UTC), datetime(last_year, 1, 1, tzinfo=UTC)
around = timedelta(days=2)
for expression in sys.argv[3].split("|"):
    walls = []
    times = croniter(expression, begin.replace(tzinfo=None) - around, ret_type=datetime)
    while not walls or walls[-1] < end.replace(tzinfo=None) + around:
        walls.append(times.get_next())
    for name in sys.argv[4].split("|"):
        zone = ZoneInfo(name)
        known = [read(wall, zone) for wall in walls]
        for missing in ["skip", "shift"]:
            for repeated in ["first", "second", "both"]:
                fired = {at for one in known for at in moments(*one, missing, repeated)}
                seconds = sorted(int(at.timestamp()) for at in fired if begin <= at < end)
                digest = hashlib.sha256("".join(f"{second}\n" for second in seconds).encode()).hexdigest()
                print(expression, name, missing, repeated, len(seconds), digest, sep="|")
