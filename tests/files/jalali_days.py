"""Every day of a hundred Jalali years as persiantools knows them: Gregorian date, Jalali date, first day of its
week (from Saturday), first and last day of its month, whether its year is a leap year."""

from datetime import timedelta

from persiantools.jdatetime import JalaliDate

day = JalaliDate(1330, 1, 1).to_gregorian()
end = JalaliDate(1430, 1, 1).to_gregorian()
while day < end:
    jalali = JalaliDate(day)
    # Saturday is day 0 of persiantools' weeks.
    week = day - timedelta(days=jalali.weekday())
    first = JalaliDate(jalali.year, jalali.month, 1).to_gregorian()
    last = first + timedelta(days=JalaliDate.days_in_month(jalali.month, jalali.year) - 1)
    print(day, jalali.strftime("%Y-%m-%d"), week, first, last, jalali.is_leap(jalali.year))
    day += timedelta(days=1)
