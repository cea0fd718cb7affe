"""The times of a cron expression in a time zone, days on which clocks are changed included. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from cairn.api.pipeline_schedule import MACROS

MARGIN = timedelta(days=1)
EARLIEST = datetime.min.replace(tzinfo=UTC)


class InvalidScheduleError(ValueError):
    """The schedule has no times; the message says why."""


class Times:
    """The times of a schedule, as Debian's cron takes them (https://manpages.debian.org/stable/cron/crontab.5.en.html)."""

    def __init__(self, schedule: str, time_zone: str) -> None:
        """Read a schedule.

        Raises:
            InvalidScheduleError: it cannot be read, or never comes.
        """
        self._expression = MACROS.get(schedule, schedule)
        try:
            self._zone = ZoneInfo(time_zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            message = f"spec.timeZone: there is no time zone {time_zone}; name one such as Europe/Berlin"
            raise InvalidScheduleError(message) from error
        try:
            self.after(datetime.now(UTC))
        except CronSimError as error:
            message = f"spec.schedule: {schedule} is no cron expression: {error}"
            raise InvalidScheduleError(message) from error
        except StopIteration as error:
            raise InvalidScheduleError(f"spec.schedule: {schedule} never comes; mend its day or month") from error

    def after(self, moment: datetime) -> datetime:
        """Return the first time after a moment."""
        return next(self._following(moment))

    def between(self, since: datetime, until: datetime, most: int) -> list[datetime]:
        """Return the times after one moment, up to and including another: the newest ones of them, oldest first."""
        times: deque[datetime] = deque(maxlen=most)
        following = self._following(max(since, self._before(until, most)))
        times.extend(takewhile(lambda time: time <= until, following))
        return list(times)

    def date_of(self, time: datetime) -> str:
        """Return the date of a time in the schedule's zone, as ISO 8601 writes it."""
        return time.astimezone(self._zone).date().isoformat()

    def _following(self, moment: datetime) -> Iterator[datetime]:
        """Yield the times after a moment. In an hour that clocks show twice, the first may be one that has passed."""
        for time in CronSim(self._expression, moment.astimezone(self._zone)):
            if (later := time.astimezone(UTC)) > moment:
                yield later

    def _before(self, moment: datetime, times: int) -> datetime:
        """Return a moment that so many times lie after, so that years of minutes need not be counted through.

        Backwards, days on which clocks are changed may have a time more or less; hence the margin.
        """
        oldest = EARLIEST
        try:
            for time in islice(CronSim(self._expression, moment.astimezone(self._zone), reverse=True), times):
                oldest = time.astimezone(UTC) - MARGIN
        except OverflowError:  # such as a date that comes every 28 years
            return EARLIEST
        return oldest
