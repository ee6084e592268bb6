"""An SMTP server that treats a message as its recipient's name says. Arguments: a directory, and how it is spoken to:
plain (no TLS, no login), starttls or tls (both with a login, USER and PASSWORD below).

Writes into the directory: ca.pem, the authority of its certificate; port, once it listens; messages.jsonl, a line for
each message that it accepts.
"""

import asyncio
import email.policy
import json
import os
import ssl
import sys

import certificates
from aiosmtpd.smtp import SMTP, AuthResult

DIRECTORY, MODE = sys.argv[1:]
USER, PASSWORD = b"mill@example.com", b"p@ss:w/rd?#%"

REFUSALS = {
    "refused": "550 5.1.1 no such user",
    "later": "451 4.7.1 try again later",
    "foreign": "554 5.7.1 relay access denied",
}


def path(name):
    return os.path.join(DIRECTORY, name)


def write(name, content):
    """All of it at once, for who waits for the file."""
    with open(path(name + ".new"), "wb") as file:
        file.write(content)
    os.rename(path(name + ".new"), path(name))


def tls_context():
    certificates.make(DIRECTORY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path("cert.pem"), path("key.pem"))
    return context


def body(message, kind):
    part = message.get_body((kind,))
    return None if part is None else part.get_content().replace("\r\n", "\n")


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        refusal = REFUSALS.get(address.split("@")[0])
        if refusal is None:
            envelope.rcpt_tos.append(address)
        return refusal or "250 OK"

    async def handle_DATA(self, server, session, envelope):
        treatment = envelope.rcpt_tos[0].split("@")[0]
        if treatment == "drop":
            server.transport.abort()
        if treatment in ("drop", "hang"):
            await asyncio.sleep(3600)
        if treatment == "spam":
            return "554 5.7.1 looks like spam"
        if treatment == "full":
            return "452 4.3.1 the disk is full"
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        record = {
            "connection": session.peer[1],
            "encrypted": server.transport.get_extra_info("sslcontext") is not None,
            "login": session.auth_data.decode() if session.authenticated else None,
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "headers": [name for name, _ in message.items()],
            "sender": message["from"],
            "subject": message["subject"],
            "id": message["message-id"],
            "text": body(message, "plain"),
            "html": body(message, "html"),
        }
        with open(path("messages.jsonl"), "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if treatment == "last":
            # Runs when the answer below has been written.
            asyncio.get_running_loop().call_soon(server.transport.close)
        return "250 2.0.0 accepted"


def authenticate(server, session, envelope, mechanism, data):
    if (data.login, data.password) != (USER, PASSWORD):
        return AuthResult(success=False, handled=False)
    return AuthResult(success=True, auth_data=data.login)


async def main():
    context = None if MODE == "plain" else tls_context()
    options = {"enable_SMTPUTF8": True, "hostname": "localhost"}
    if MODE != "plain":
        options |= {"auth_required": True, "authenticator": authenticate, "auth_require_tls": MODE == "starttls"}
    if MODE == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    handler, loop = Handler(), asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(handler, loop=loop, **options), "127.0.0.1", 0, ssl=context if MODE == "tls" else None
    )
    write("port", str(server.sockets[0].getsockname()[1]).encode())
    await server.serve_forever()


asyncio.run(main())
