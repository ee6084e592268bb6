"""Runs the services of docker-compose.yml from the files that build.py made, as their user, with the commands,
environments and health checks of the compose file and the image, until all are healthy; then looks in as a user would
and stops them as an engine does.

The PostgreSQL and Redis are this machine's, at the names and with the passwords that the compose file says; the mail
catcher is left out. Needs a network namespace of its own (run.sh makes it).

    services.py PLACE
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
PATIENCE = 120


class Missing(Exception):
    """A variable that has to be set is not."""


def filled(value, variables):
    """A value of the compose file with its ${NAME}, ${NAME:-default} and ${NAME:?message} filled in."""
    if isinstance(value, dict):
        return {name: filled(one, variables) for name, one in value.items()}
    if isinstance(value, list):
        return [filled(one, variables) for one in value]
    if not isinstance(value, str):
        return value

    def one(found):
        if found[0] == "$$":
            return "$"
        name, kind, word = found["name"], found["kind"], found["word"]
        if variables.get(name):
            return variables[name]
        if kind == ":?":
            raise Missing(word)
        return word or ""

    return re.sub(r"\$\$|\$\{(?P<name>\w+)(?:(?P<kind>:[-?])(?P<word>[^}]*))?\}", one, value)


def read_env(path):
    lines = [line.strip() for line in path.read_text().splitlines()]
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def wait(what, ask, patience=PATIENCE):
    end = time.monotonic() + patience
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > end:
            sys.exit(f"waited in vain for {what}")
        time.sleep(0.2)


class Image:
    def __init__(self, place):
        self.root = place / "image"
        self.config = json.loads((place / "image.json").read_text())

    def command(self, arguments):
        return ["chroot", f"--userspec={self.config['user']}", str(self.root), *arguments]

    def environment(self, service):
        # A name without a value is passed on where it is set, and nothing sets any here.
        named = service.get("environment", {}).items()
        given = {name: str(value) for name, value in named if value is not None}
        return {**self.config["env"], **given, "HOME": self.config["workdir"]}

    def start(self, service, output):
        entry = service.get("entrypoint", self.config["entrypoint"])
        shell = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', self.config["workdir"]]
        arguments = [*shell, *entry, *service.get("command", self.config["cmd"])]
        return subprocess.Popen(
            self.command(arguments), env=self.environment(service), stdout=output, stderr=subprocess.STDOUT
        )

    def is_healthy(self, service):
        test = service.get("healthcheck", {}).get("test", ["CMD", *self.config["healthcheck"]])
        assert test[0] == "CMD", test
        done = subprocess.run(self.command(test[1:]), env=self.environment(service), capture_output=True, text=True)
        return done.returncode == 0


def seconds(text):
    return float(text.removesuffix("s"))


@contextlib.contextmanager
def servers(place, compose, variables):
    """PostgreSQL and Redis, as the compose file has them."""
    data = Path("/tmp") / f"millrace-image-{os.getpid()}"
    data.mkdir(mode=0o755)
    shutil.chown(data, "postgres", "postgres")
    password = variables["POSTGRES_PASSWORD"]
    (data / "password").write_text(password)
    shutil.chown(data / "password", "postgres", "postgres")
    as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
    database = ["--username=millrace", "--auth=scram-sha-256", f"--pwfile={data}/password"]
    quiet = {"stdout": subprocess.DEVNULL, "cwd": data, "check": True}
    subprocess.run([*as_postgres, POSTGRES / "initdb", f"--pgdata={data}/db", *database], **quiet)
    options = compose["services"]["postgres"]["command"].split()[1:]
    log = open(place / "postgres.log", "w")
    postgres = subprocess.Popen(
        [*as_postgres, POSTGRES / "postgres", "-D", f"{data}/db", "-c", f"unix_socket_directories={data}", *options],
        stdout=log, stderr=log, cwd=data,
    )
    redis_command = compose["services"]["redis"]["command"]
    redis = subprocess.Popen(
        redis_command, env={**os.environ, "REDIS_PASSWORD": variables["REDIS_PASSWORD"]}, stdout=log, stderr=log, cwd=data
    )
    environment = {**os.environ, "PGPASSWORD": password}

    def psql(statement, name="millrace"):
        return subprocess.run(
            [POSTGRES / "psql", "-qtAX", "-h", "127.0.0.1", "-U", "millrace", "-d", name, "-c", statement],
            env=environment, capture_output=True, text=True,
        )

    try:
        wait("PostgreSQL", lambda: psql("SELECT 1", "postgres").returncode == 0)
        assert psql("CREATE DATABASE millrace", "postgres").returncode == 0
        yield psql
    finally:
        for process in (redis, postgres):
            process.send_signal(signal.SIGINT)
            process.wait(30)
        shutil.rmtree(data)


def http(method, path, body=None, token=None):
    request = urllib.request.Request(f"http://127.0.0.1:8000{path}", method=method)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    if body is not None:
        request.add_header("Content-Type", "application/json")
        request.data = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def main():
    place = Path(sys.argv[1])
    image = Image(place)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    (image.root / "etc/hosts").write_text("127.0.0.1 localhost postgres redis mail api\n")
    raw = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    example = read_env(ROOT / ".env.example")

    # Nothing starts while a secret is missing: .env.example as it is will not do.
    try:
        filled(raw, example)
        sys.exit("docker-compose.yml is content without secrets")
    except Missing as missing:
        print(f"refused without secrets: {missing}")
    made = {name: value or secrets.token_hex(16) for name, value in example.items()}
    made["MILLRACE_ADMIN_EMAIL"] = "admin@example.com"
    compose = filled(raw, made)
    services = compose["services"]
    # Containers have a network each; here they share one, so the scheduler's port becomes another.
    services["scheduler"] = json.loads(json.dumps(services["scheduler"]).replace("9464", "9465"))

    with servers(place, compose, made) as psql:
        logs = {name: open(place / f"{name}.log", "w") for name in ("migrate", "api", "worker", "scheduler", "sample")}
        start = lambda name: image.start(services[name], logs[name])
        assert start("migrate").wait(PATIENCE) == 0, (place / "migrate.log").read_text()
        assert start("migrate").wait(PATIENCE) == 0, "migrating twice changes nothing"
        running = {name: start(name) for name in ("api", "worker", "scheduler")}
        try:
            for name in running:
                wait(f"a healthy {name}", lambda: image.is_healthy(services[name]))
                assert running[name].poll() is None, (place / f"{name}.log").read_text()
                print(f"healthy: {name}")
            wait("a worker", lambda: "1 alive" in http("GET", "/readyz")[1])
            status, ready = http("GET", "/readyz")
            checks = json.loads(ready)
            assert (status, checks["status"]) == (200, "ready"), ready
            print(f"/readyz: {status}", ", ".join(f"{check['name']} {check['detail']}" for check in checks["checks"]))
            user = image.config["user"].split(":")[0]
            for name, process in running.items():
                uid = re.search(r"^Uid:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text(), re.M)[1]
                assert uid == user != "0", (name, uid)
            print(f"all of them run as user {user}")

            credentials = {"username": made["MILLRACE_ADMIN_USERNAME"], "password": made["MILLRACE_ADMIN_PASSWORD"]}
            status, answer = http("POST", "/api/v1/token", credentials)
            assert status == 200, answer
            token = json.loads(answer)["access_token"]
            assert start("sample").wait(PATIENCE) == 0, (place / "sample.log").read_text()
            uploads = json.loads(http("GET", "/api/v1/uploads", token=token)[1])["items"]
            counts = uploads[0]["counts"]
            assert counts["read"] == 100_000, uploads
            print(f"the sample: {counts['read']} records read, {counts['inserted']} loaded")
            assert psql("SELECT count(*) FROM transactions").stdout.strip() == str(counts["inserted"])
            assert http("GET", "/api/v1/uploads")[0] == 401
        finally:
            for name, process in running.items():
                process.send_signal(signal.SIGTERM)
            for name, process in running.items():
                status = process.wait(seconds(services[name]["stop_grace_period"]))
                print(f"SIGTERM: {name} ended with {status}")
    print("1 passed, 0 failed")


main()
