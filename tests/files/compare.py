"""Compares `millrace inspect --records --json` with Python's csv module and openpyxl, value by value.

compare.py MILLRACE PLACE [SOFFICE]
"""

import csv
import datetime
import io
import json
import pathlib
import subprocess
import sys

import openpyxl
from openpyxl.cell.rich_text import CellRichText, TextBlock
from openpyxl.cell.text import InlineFont
from openpyxl.utils.datetime import CALENDAR_MAC_1904

millrace, place = sys.argv[1], pathlib.Path(sys.argv[2])
office = sys.argv[3] if len(sys.argv) > 3 else ""
work = place / "files"
work.mkdir(exist_ok=True)
compared = 0


def read(path, *options):
    """The records that Millrace reads."""
    command = [millrace, "inspect", str(path), "--records", "--json", "--header-row", "1", *options]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{path}: {done.stderr.decode()}")
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def compare(name, found, expected):
    """Fails at the first value that differs."""
    global compared
    # A row that ends early, and one whose last cells are empty, hold the same; blank lines are no records.
    cut = [cut_row(row) for row in (found, expected) for row in row]
    found, expected = cut[: len(found)], cut[len(found) :]
    found, expected = [row for row in found if row], [row for row in expected if row]
    for number, (ours, theirs) in enumerate(zip(found, expected)):
        if ours != theirs:
            sys.exit(f"{name}, record {number}:\n  millrace {ours!r}\n  python   {theirs!r}")
    if len(found) != len(expected):
        sys.exit(f"{name}: millrace reads {len(found)} records, python {len(expected)}")
    compared += sum(len(row) for row in found)


def cut_row(row):
    row = list(row)
    while row and row[-1] == "":
        row.pop()
    return row


VALUES = [
    ["id", "user", "date", "amount"],
    ["1", "Ann", "2025-01-31", "1.50"],
    ["", "", "x", ""],
    ["comma,", "semi;colon", "tab\t", "bar|"],
    ['quote"', '"', '""', 'say "hi"'],
    ["two\nlines", "three\r\nline\r\nends", "\n", "end\n"],
    [" leading", "trailing ", "  ", "é東京😀"],
    ["-1", "+1", "=1+1", "@x"],
]
PLAIN = [["id", "user", "date", "amount"], ["1", "Ann", "2025-01-31", "1.50"], ["a b", "", "é東京", "x"]]


def python_csv():
    """Every dialect, delimiter, quoting and line end of Python's csv module."""
    quotings = {
        "minimal": csv.QUOTE_MINIMAL,
        "all": csv.QUOTE_ALL,
        "nonnumeric": csv.QUOTE_NONNUMERIC,
        "none": csv.QUOTE_NONE,
    }
    for dialect in csv.list_dialects():
        for delimiter in (",", ";", "\t", "|"):
            for quoting, number in quotings.items():
                for line_end in ("\n", "\r\n"):
                    rows = PLAIN if quoting == "none" else VALUES
                    file = io.StringIO(newline="")
                    options = {"delimiter": delimiter, "quoting": number, "lineterminator": line_end}
                    csv.writer(file, dialect, **options).writerows(rows)
                    name = f"{dialect} {delimiter!r} {quoting} {line_end!r}"
                    path = work / "python.csv"
                    path.write_bytes(file.getvalue().encode())
                    expected = list(csv.reader(io.StringIO(file.getvalue(), newline=""), delimiter=delimiter))
                    assert expected == rows, name
                    compare(name, read(path), expected)
                    # Conversions go through the disk: not for each of them.
                    encodings = ("utf-8-sig", "utf-16") if (dialect, line_end) == ("excel", "\n") else ()
                    for encoding in encodings:
                        path.write_bytes(file.getvalue().encode(encoding))
                        compare(f"{name} {encoding}", read(path), expected)


def spectrum():
    """The npm package csv-spectrum: difficult files, and what is in them."""
    files = sorted((place / "package" / "csvs").glob("*.csv"))
    assert len(files) >= 12, files
    for path in files:
        records = json.loads((place / "package" / "json" / f"{path.stem}.json").read_text())
        records = [records] if isinstance(records, dict) else records
        # The package's JSON has a record's values by name, in the header's order.
        header = list(records[0])
        if path.stem != "location_coordinates":  # whose JSON is of another file
            compare(path.name, read(path), [header] + [[str(record[name]) for name in header] for record in records])
        with path.open(newline="", encoding="utf-8-sig") as file:
            compare(f"{path.name} by python", read(path), list(csv.reader(file)))


def shown(value):
    """What a spreadsheet shows of a cell, in Millrace's words."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else plain(f"{value:.15g}")
    if isinstance(value, datetime.datetime):
        if value.time() == datetime.time():
            return value.date().isoformat()
        return value.strftime("%Y-%m-%d %H:%M:%S") + fraction(value.microsecond)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, datetime.time):
        return value.strftime("%H:%M:%S") + fraction(value.microsecond)
    if isinstance(value, datetime.timedelta):
        seconds = round(value.total_seconds())
        return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return str(value)


def plain(number):
    """Without an exponent."""
    return f"{float(number):.20f}".rstrip("0") if "e" in number else number


def fraction(microseconds):
    return f".{microseconds // 1000:03}" if microseconds else ""


def sheet(path, name=None):
    """The rows that openpyxl reads of a sheet: values as computed."""
    book = openpyxl.load_workbook(path, data_only=True)
    rows = (book[name] if name else book.worksheets[0]).iter_rows(values_only=True)
    return [[shown(value) for value in row] for row in rows]


def openpyxl_books():
    """Workbooks of every kind of cell, of both calendars, in memory and streamed."""
    day = datetime.datetime(2025, 1, 31, 14, 5, 6)
    rows = [
        ["id", "user", "date", "amount"],
        [1, 0, -7, 1_000_000],
        [100045, 123456789012345, 0.1, 0.1 + 0.2],
        [1.5, -2.25, 1e-7, 99999999999.99],
        [day, day.date(), datetime.time(10, 30), datetime.timedelta(hours=30, minutes=5)],
        [datetime.datetime(1900, 1, 1), datetime.datetime(1999, 12, 31, 23, 59, 59, 125000), None, day],
        [True, False, None, "TRUE"],
        ["two\nlines", 'say "hi"', "comma, semi;", "é東京😀 <&>"],
        [" leading", "trailing ", "", "."],
        [None, None, None, None],
        ["#N/A", "#DIV/0!", "00123", "1E5"],
        [CellRichText("plain ", TextBlock(InlineFont(b=True), "bold")), "x", "y", "z"],
    ]
    for calendar in ("1900", "1904"):
        for streamed in (False, True):
            book = openpyxl.Workbook(write_only=streamed)
            if calendar == "1904":
                book.epoch = CALENDAR_MAC_1904
            target = book.create_sheet("Data") if streamed else book.active
            for row in rows:
                if calendar == "1904":
                    row = [None if isinstance(value, datetime.datetime) and value.year < 1904 else value for value in row]
                target.append(row)
            path = work / f"openpyxl-{calendar}-{streamed}.xlsx"
            book.save(path)
            compare(path.name, read(path), sheet(path))
    book = openpyxl.Workbook()
    book.active.title = "First"
    other = book.create_sheet("Second")
    for number, row in enumerate([["id", "user", "date", "amount"], ["m", 1, 2, 3], ["n", 4, 5, 6]], 1):
        for column, value in enumerate(row, 1):
            other.cell(number, column, value)
    other.merge_cells("B2:B3")
    other["E2"] = "=1+1"
    path = work / "merged.xlsx"
    book.save(path)
    compare("merged", read(path, "--sheet", "Second"), sheet(path, "Second"))
    compare("merged by number", read(path, "--sheet", "2"), sheet(path, "Second"))


def libre_office():
    """What LibreOffice makes of such files: formulas computed, styles of its own, and CSV again."""
    profile = f"-env:UserInstallation=file://{place}/office"
    source = work / "source.xlsx"
    book = openpyxl.Workbook()
    for row in (
        ["id", "user", "date", "amount"],
        ["a", 1, datetime.datetime(2025, 1, 31, 14, 5, 6), "=B2*2"],
        ["b", 2.5, datetime.date(2025, 1, 31), '="x"&A2'],
        ["c", 1e15, True, "=1/0"],
        ["two\nlines", 'say "hi"', "semi;colon", "é東京"],
    ):
        book.active.append(row)
    book.save(source)
    made = work / "made"
    for target in ("xlsx", "csv:Text - txt - csv (StarCalc):44,34,76,1", "csv:Text - txt - csv (StarCalc):59,34,76,1"):
        command = [office, profile, "--headless", "--convert-to", target, "--outdir", str(made), str(source)]
        subprocess.run(command, capture_output=True, check=True)
        path = made / f"source.{target[:4].strip(':')}"
        if path.suffix == ".xlsx":
            compare("LibreOffice XLSX", read(path), sheet(path))
        else:
            delimiter = chr(int(target.split(":")[2].split(",")[0]))
            with path.open(newline="", encoding="utf-8") as file:
                compare(f"LibreOffice CSV {delimiter}", read(path), list(csv.reader(file, delimiter=delimiter)))
    for target, said in (
        ("ods", "an OpenDocument spreadsheet (ODS); save the sheet as XLSX or CSV"),
        ("xls", "an old Excel file (XLS)"),
        ("fods", "an XML file"),
    ):
        command = [office, profile, "--headless", "--convert-to", target, "--outdir", str(made), str(source)]
        subprocess.run(command, capture_output=True, check=True)
        command = [millrace, "inspect", str(made / f"source.{target}")]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode != 1 or said not in done.stderr.decode():
            sys.exit(f"source.{target}: {done.returncode}: {done.stdout.decode()}{done.stderr.decode()}")


python_csv()
spectrum()
openpyxl_books()
if office:
    libre_office()
else:
    print("LibreOffice is not here: its files are not compared (MILLRACE_TEST_LIBREOFFICE=1 installs it)")
print(f"all values agree: {compared} compared")
