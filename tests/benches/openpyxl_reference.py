"""What a typical service does with a workbook: openpyxl, row by row, and executemany.

openpyxl_reference.py make FILE ROWS             writes a workbook in service A's form
openpyxl_reference.py load FILE DSN              loads it; prints the seconds
"""

import datetime
import random
import sys
import time

import openpyxl

HEADER = (
    "transaction_id client_id transaction_type transaction_date stock_ticker stock_name shares price "
    "amount currency transaction_channel"
).split()


def make(path, rows):
    draw = random.Random(7)
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("transactions")
    sheet.append(HEADER)
    start = datetime.datetime(2023, 1, 1)
    for row in range(rows):
        shares, cents = draw.randint(1, 500), draw.randint(1000, 200000)
        kind = draw.choice(["buy", "sell"])
        amount = shares * cents / 100 * (1 if kind == "buy" else -1)
        day = start + datetime.timedelta(days=draw.randrange(730))
        sheet.append(
            [f"{row:08x}", f"{draw.randrange(10000):08x}", kind, day, "AAPL", "Apple Inc.", shares]
            + [cents / 100, round(amount, 2), draw.choice(["USD", "EUR", "GBP"]), "online"]
        )
    book.save(path)


def load(path, dsn):
    import psycopg2

    connection = psycopg2.connect(dsn)
    cursor = connection.cursor()
    cursor.execute(
        "CREATE TABLE reference (transaction_id text, client_id text, transaction_type text, "
        "transaction_date date, stock_ticker text, stock_name text, shares integer, price numeric(15,2), "
        "amount numeric(15,2), currency text, transaction_channel text, "
        "PRIMARY KEY (transaction_id, transaction_date))"
    )
    cursor.execute("CREATE INDEX ON reference (client_id, transaction_date)")
    connection.commit()
    started = time.monotonic()
    sheet = openpyxl.load_workbook(path, read_only=True).active
    rows = sheet.iter_rows(min_row=2, values_only=True)
    places = ", ".join(["%s"] * len(HEADER))
    batch = []
    for row in rows:
        batch.append(row)
        if len(batch) == 1000:
            cursor.executemany(f"INSERT INTO reference VALUES ({places})", batch)
            batch.clear()
    cursor.executemany(f"INSERT INTO reference VALUES ({places})", batch)
    connection.commit()
    print(time.monotonic() - started)


if sys.argv[1] == "make":
    make(sys.argv[2], int(sys.argv[3]))
else:
    load(sys.argv[2], sys.argv[3])
