"""The local cluster for the scripts in Python beside this one: its directories, its tools, and devstack's view of it."""

import json
import os
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = Path(os.environ.get("DEVSTACK_LOCAL_CLUSTER", "/var/tmp/devstack-local-cluster"))
SOCKET = ROOT / "host-1/state/api.sock"


def tool(name, *args):
    """Runs a script beside this one and returns its output. An interrupt waits for the script, which cleans up."""
    process = subprocess.Popen([HERE / name, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        printed, _ = process.communicate()
    finally:
        process.wait()
    if process.returncode != 0:
        raise SystemExit(f"error: {name} {' '.join(args)}: status {process.returncode}")
    return printed


def program(variable, name):
    """A program of devstack, found as the shell scripts find it."""
    script = f'here={HERE}; . "$here/common"; program {variable} {name}'
    return subprocess.run(["bash", "-c", script], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


class Devstack:
    """The `devstack` command, connected to the Taskmaster's socket."""

    def __init__(self, project=None):
        self.project = project
        self.command = [program("DEVSTACK", "devstack"), "--address", f"unix://{SOCKET}"]

    def run(self, *args, **options):
        return subprocess.run([*self.command, *args], stdin=subprocess.DEVNULL, text=True, check=True, **options)

    def json(self, *args):
        return json.loads(self.run(*args, "-o", "json", stdout=subprocess.PIPE).stdout)

    def tasks(self):
        return self.json("task", "list", "--project", self.project)["tasks"]

    def hosts(self):
        return self.json("host", "list")["hosts"]

    def shown(self, task):
        return self.json("task", "show", f"{self.project}/{task}")["task"]


def agent_hosts():
    """Names of all hosts but the Taskmaster's, which is the first."""
    names = [path.name for path in ROOT.glob("host-*")]
    return sorted((name for name in names if name != "host-1"), key=lambda name: int(name.removeprefix("host-")))


def until(what, seconds, holds):
    """Polls until `holds` returns something true, and returns that."""
    deadline = time.monotonic() + seconds
    while not (result := holds()):
        if time.monotonic() > deadline:
            raise SystemExit(f"error: never within {seconds} s: {what}")
        time.sleep(0.2)
    return result
