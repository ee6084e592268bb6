"""Runs deploy.sh against a made-up ECS: python test_deploy.py

Programs named `aws` and `curl` stand in for the real ones; they keep their state in a file and note what was asked.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

IMAGE = "ghcr.io/owner/millrace@sha256:" + "a" * 64
TARGET = {
    "AWS_REGION": "eu-central-1",
    "CLUSTER": "cluster",
    "LOG_GROUP": "/millrace/migrate",
    "SECURITY_GROUPS": "sg-1",
    "SUBNETS": "subnet-1,subnet-2",
    "TASK_DEFINITION": "arn:aws:ecs:eu-central-1:1:task-definition/millrace-migrate:4",
    "URL": "https://millrace.example.com/",
}

AWS = '''
import json, os, sys

path = os.environ["STATE"]
state = json.load(open(path))
action, options = sys.argv[2], dict(zip(sys.argv[3::2], sys.argv[4::2]))
service = options.get("--service") or options.get("--services")
definition = options.get("--task-definition")
if action == "describe-task-definition":
    assert ":" not in definition, definition
    answer = {"taskDefinitionArn": "x", "revision": 4, "status": "ACTIVE", "family": definition, "cpu": "256",
        "containerDefinitions": [{"name": "x", "image": "old"}]}
elif action == "register-task-definition":
    asked = json.loads(options["--cli-input-json"])
    assert "revision" not in asked and asked["cpu"] == "256"
    assert asked["containerDefinitions"] == [{"name": "x", "image": os.environ["IMAGE"]}]
    print(f"arn/{asked['family']}:5")
elif action == "run-task":
    assert options["--network-configuration"].startswith("awsvpcConfiguration={subnets=[subnet-1,subnet-2],")
    state["log"].append(f"run {definition}")
    print("None" if state["fault"] == "no task" else "task")
elif action == "describe-tasks":
    print({
        "tasks[0].lastStatus": "STOPPED",
        "tasks[0].stoppedReason": "CannotPullContainerError",
        "tasks[0].containers[0].exitCode": {"migrate": "1", "image": "None"}.get(state["fault"], "0"),
    }[options["--query"]])
elif action == "get-log-events":
    print("log of migrate")
elif action == "update-service":
    state["log"].append(f"{service} {definition}")
    state["running"][service] = definition
    answer = {}
elif action == "describe-services":
    running = state["running"].get(service, f"arn/millrace-{service}:3")
    if "text" in sys.argv:
        print(running)
        sys.exit()
    new = {"taskDefinition": running, "status": "PRIMARY", "rolloutState": "COMPLETED"}
    old = {"taskDefinition": f"arn/millrace-{service}:3", "status": "ACTIVE", "rolloutState": "COMPLETED"}
    if state["fault"] == f"{service} fails" and running.endswith(":5"):
        new["rolloutState"] = "FAILED"
    if state["fault"] == f"{service} hangs" and running.endswith(":5"):
        new["rolloutState"] = "IN_PROGRESS"
    if state["fault"] == f"{service} goes back" and running.endswith(":5"):
        old["status"], new["status"] = "PRIMARY", "INACTIVE"
    answer = [new, old]
if "answer" in globals():
    json.dump(answer, sys.stdout)
json.dump(state, open(path + ".new", "w"))
os.replace(path + ".new", path)
'''

CURL = '''
import json, os, sys

assert sys.argv[-1] == "https://millrace.example.com/readyz", sys.argv
sys.exit(22 if json.load(open(os.environ["STATE"]))["fault"] == "unready" else 0)
'''

FORWARD = ["run arn/millrace-migrate:5", *(f"{it} arn/millrace-{it}:5" for it in ("api", "worker", "scheduler"))]
BACK = [f"{it} arn/millrace-{it}:3" for it in ("scheduler", "worker", "api")]


class Deploy(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.place = Path(place.name)
        for name, text in (("aws", AWS), ("curl", CURL)):
            program = self.place / name
            program.write_text(f"#!{os.path.realpath(sys.executable)} -IS{text}")
            program.chmod(0o755)

    def start(self, fault=None, image=IMAGE, target=TARGET, **settings):
        self.state = self.place / "state.json"
        self.state.write_text(json.dumps({"fault": fault, "log": [], "running": {}}))
        return subprocess.Popen(
            [Path(__file__).with_name("deploy.sh"), image],
            env={
                "PATH": f"{self.place}:{os.environ['PATH']}",
                "STATE": str(self.state),
                "IMAGE": image,
                **target,
                "PAUSE_SECONDS": "0.02",
                **settings,
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def log(self):
        return json.loads(self.state.read_text())["log"]

    def deploy(self, *arguments, **settings):
        process = self.start(*arguments, **settings)
        _, said = process.communicate(timeout=60)
        return process.returncode, said, self.log()

    def test_all_services_are_replaced_after_migrating(self):
        code, said, log = self.deploy()
        self.assertEqual((code, log), (0, FORWARD), said)
        self.assertIn("ok: ", said)

    def test_nothing_is_replaced_unless_migrate_ends_with_0(self):
        for fault, word in (("migrate", "ended with 1"), ("image", "CannotPull"), ("no task", "no task")):
            code, said, log = self.deploy(fault)
            self.assertEqual((code, log), (1, FORWARD[:1]), said)
            self.assertIn(word, said)

    def test_a_service_that_does_not_come_up_takes_back_those_before_it(self):
        for fault in ("worker fails", "worker goes back"):
            code, said, log = self.deploy(fault)
            self.assertEqual((code, log), (1, FORWARD[:3] + BACK[1:]), said)

    def test_a_service_that_hangs_is_given_up(self):
        code, said, log = self.deploy("api hangs", ROLLOUT_SECONDS="1")
        self.assertEqual((code, log), (1, FORWARD[:2] + BACK[2:]), said)
        self.assertIn("has not come up within 1 s", said)

    def test_an_api_that_is_not_ready_takes_all_back(self):
        code, said, log = self.deploy("unready", READY_SECONDS="0")
        self.assertEqual((code, log), (1, FORWARD + BACK), said)

    def test_told_to_stop_it_takes_back_what_it_replaced(self):
        process = self.start("worker hangs")
        deadline = time.monotonic() + 30
        while len(self.log()) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        self.assertEqual((process.returncode, self.log()), (1, FORWARD[:3] + BACK[1:]), said)

    def test_a_tag_or_an_incomplete_target_is_refused(self):
        self.assertEqual(self.deploy(image="ghcr.io/owner/millrace:latest")[::2], (1, []))
        code, said, log = self.deploy(target={**TARGET, "URL": ""})
        self.assertEqual((code, log), (1, []))
        self.assertIn("URL is not set", said)


if __name__ == "__main__":
    unittest.main()
