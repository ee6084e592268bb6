"""Service B's own clients, against another base URL: a dashboard that listens, a tester that posts as many at once as
it is told to and asks for the figures, and the end of a test, which deletes everything.

Usage: live_monitoring.py BASE_URL ADMIN_TOKEN USERS POSTS
"""

import asyncio
import json
import random
import string
import sys
from datetime import datetime, timezone

import aiohttp
import websockets

FRAME = ["transaction_id", "status", "created_at", "amount", "user"]
OBTAINED = {"message": "Transaction detail was obtained successfully."}


def transaction(user):
    """What the service's tester sends: digits as an id, three digits as an amount, the time as Python writes it."""
    return {
        "transaction_id": "".join(random.choices(string.digits, k=16)),
        "status": "PENDING",
        "user": user,
        "amount": "".join(random.choices(string.digits, k=3)),
        "created_at": str(datetime.now(timezone.utc)),
    }


async def hear(socket):
    message = await asyncio.wait_for(socket.recv(), 60)
    assert isinstance(message, str), "a text frame"
    frame = json.loads(message)
    assert isinstance(frame, dict) and list(frame) == FRAME, message
    return frame


async def listen(base, ready, expected):
    """The dashboard: no credentials, nothing is sent."""
    heard = {}
    async with websockets.connect(f"{base.replace('http', 'ws', 1)}/ws/admin/transactions/") as socket:
        # The socket does not say from when on it listens: somebody posts until it is heard.
        probing = asyncio.create_task(probe(base))
        await hear(socket)
        probing.cancel()
        ready.set()
        while len(heard) < expected:
            frame = await hear(socket)
            if frame["user"] == "probe":
                continue
            assert frame["transaction_id"] not in heard, "it is told once"
            heard[frame["transaction_id"]] = frame
    return heard


async def probe(base):
    async with aiohttp.ClientSession() as session:
        while True:
            # Of a time that no figure below is of.
            body = {**transaction("probe"), "created_at": "2000-01-01T00:00:00Z"}
            async with session.post(f"{base}/api/add-transaction/", json=body) as answer:
                assert answer.status == 200, await answer.text()
            await asyncio.sleep(0.2)


async def post_all(base, user, posts):
    """One client: all of its requests at once, each on a connection of its own."""
    sent = [transaction(user) for _ in range(posts)]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def post(body):
            async with session.post(f"{base}/api/add-transaction/", json=body) as answer:
                assert answer.status == 200, await answer.text()
                assert await answer.json() == OBTAINED

        await asyncio.gather(*(post(body) for body in sent))
    return sent


async def figures(session, base, **params):
    async with session.get(f"{base}/api/transactions", params=params) as answer:
        assert answer.status == 200, await answer.text()
        data = (await answer.json())["data"]
    # As the tester prints them.
    f"{data['whole_profit']:,.2f} {data['avgerage_of_transactions']:,.2f}"
    return data


def expect_figures(data, sent):
    amounts = [int(body["amount"]) for body in sent]
    assert data["numer_of_sales"] == len(amounts), data
    assert data["whole_profit"] == sum(amounts) and isinstance(data["whole_profit"], int), data
    assert abs(data["avgerage_of_transactions"] - sum(amounts) / len(amounts)) < 1e-9, data
    assert isinstance(data["selected_time_frame"], str), data


async def main(base, admin, users, posts):
    ready = asyncio.Event()
    listening = asyncio.create_task(listen(base, ready, users * posts))
    await ready.wait()
    begun = datetime.now(timezone.utc)
    clients = await asyncio.gather(*(post_all(base, user, posts) for user in range(1, users + 1)))
    sent = [body for client in clients for body in client]
    frames = await listening
    for body in sent:
        # Where the amount is a number again, the frame is what was sent.
        assert frames[body["transaction_id"]] == {**body, "amount": int(body["amount"])}, body

    async with aiohttp.ClientSession() as session:
        everything = await figures(session, base, **{"from": "", "to": ""})
        assert everything["numer_of_sales"] > len(sent), everything
        ended = datetime.now(timezone.utc)
        naive = {"from": str(begun.replace(tzinfo=None, microsecond=0)), "to": str(ended.replace(tzinfo=None))}
        expect_figures(await figures(session, base, **naive), sent)
        today = {"from": str(begun.date()), "to": str(ended.date())}
        expect_figures(await figures(session, base, **today), sent)
        async with session.get(f"{base}/api/transactions/average/", params=today) as answer:
            days = await answer.json()
        assert sum(day["count"] for day in days) == len(sent), days

        body = sent[0]
        for path in [f"/api/transactions/{body['transaction_id']}", f"/api/get-transaction/{body['transaction_id']}"]:
            async with session.get(base + path) as answer:
                row = await answer.json()
            assert row["amount"] == int(body["amount"]) and row["user"] == body["user"], row
            assert datetime.fromisoformat(row["created_at"]) == datetime.fromisoformat(body["created_at"]), row

        async with session.delete(f"{base}/api/delete-transactions/") as answer:
            assert answer.status == 401, "not without credentials"
        headers = {"Authorization": f"Bearer {admin}"}
        async with session.delete(f"{base}/api/delete-transactions/", headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            assert await answer.json() == {"message": "Deleted all rows from transactions_transaction table"}
        data = await figures(session, base)
        assert (data["numer_of_sales"], data["avgerage_of_transactions"]) == (0, 0), data
        assert data["selected_time_frame"] == "0 seconds", data
    print(f"{len(sent)} transactions, each told once")


if __name__ == "__main__":
    url, token, number_of_users, number_of_posts = sys.argv[1:]
    asyncio.run(main(url, token, int(number_of_users), int(number_of_posts)))
