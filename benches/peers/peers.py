"""Peers of devstack on the same machine in the same run: /bin/true as tasks, two slots.

Prints one line per measurement: name, shape, tasks, seconds, tasks per second. Needs `make`, `xargs` and, for Dask
and HyperQueue, the packages of requirements.txt; a peer that is missing is skipped loudly.

    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install -r benches/peers/requirements.txt
    /tmp/peers/bin/python benches/peers/peers.py [independent tasks] [chain length]
"""

import logging
import os
import subprocess
import sys
import tempfile
import time

SLOTS = 2


def report(name, shape, tasks, seconds):
    print(f"{name:<12} {shape:<12} {tasks:>7} tasks {seconds:8.3f} s {tasks / seconds:9.0f}/s "
          f"{1000 * seconds / tasks:8.3f} ms each", flush=True)


def timed(name, shape, tasks, run):
    start = time.monotonic()
    run()
    report(name, shape, tasks, time.monotonic() - start)


def make(tasks, chain):
    with tempfile.TemporaryDirectory() as directory:
        def build(lines):
            path = os.path.join(directory, "Makefile")
            with open(path, "w", encoding="utf-8") as file:
                file.write(lines)
            subprocess.run(["make", "-s", "-f", path, f"-j{SLOTS}", "all"], check=True)

        names = [f"t{i}" for i in range(tasks)]
        rules = "".join(f"{name}:\n\t@/bin/true\n" for name in names)
        flat = f".PHONY: all {' '.join(names)}\nall: {' '.join(names)}\n{rules}"
        timed("make -j2", "independent", tasks, lambda: build(flat))
        links = [f"t{i}" for i in range(chain)]
        rules = "".join(
            f"{name}: {links[i - 1] if i else ''}\n\t@/bin/true\n" for i, name in enumerate(links))
        line = f".PHONY: all {' '.join(links)}\nall: {links[-1]}\n{rules}"
        timed("make -j2", "chain", chain, lambda: build(line))


def xargs(tasks):
    numbers = "\n".join(str(i) for i in range(tasks)).encode()
    timed("xargs -P2", "independent", tasks,
          lambda: subprocess.run(["xargs", "-n1", f"-P{SLOTS}", "/bin/true"], input=numbers, check=True))


def hyperqueue(tasks, chain):
    try:
        from hyperqueue import Job, LocalCluster
        from hyperqueue.cluster import WorkerConfig
    except ImportError as error:
        print(f"SKIPPED: HyperQueue: {error}", file=sys.stderr)
        return
    with LocalCluster() as cluster:
        cluster.start_worker(WorkerConfig(cores=SLOTS))
        client = cluster.client()

        def run(count, linked):
            job = Job(max_fails=0)
            last = None
            for _ in range(count):
                task = job.program(["/bin/true"], stdout=None, stderr=None, deps=[last] if linked and last else ())
                last = task
            client.wait_for_jobs([client.submit(job)])

        run(10, False)
        timed("HyperQueue", "independent", tasks, lambda: run(tasks, False))
        timed("HyperQueue", "chain", chain, lambda: run(chain, True))


def dask(tasks, chain):
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        print(f"SKIPPED: Dask: {error}", file=sys.stderr)
        return

    def true(number, _previous=None):
        subprocess.run(["/bin/true"], check=True)
        return number

    with LocalCluster(n_workers=SLOTS, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        client.gather(client.map(true, range(10), pure=False))
        timed("Dask", "independent", tasks, lambda: client.gather(client.map(true, range(tasks), pure=False)))

        def line():
            last = None
            for i in range(chain):
                last = client.submit(true, i, last, pure=False)
            last.result()

        timed("Dask", "chain", chain, line)


def main():
    logging.disable(logging.WARNING)
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    chain = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000
    xargs(tasks)
    make(tasks, chain)
    hyperqueue(tasks, chain)
    dask(tasks, chain)


if __name__ == "__main__":
    main()
