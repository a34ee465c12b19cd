#!/usr/bin/env python3
"""R1: kill -9 of a random instance every 200 ms, under load of GETs and POSTs
on three functions.

A killed instance costs the POST that it was running, and nothing else: GETs
are run again elsewhere, what waits goes on waiting, and another takes its
place."""

import time

import fault

FUNCTIONS = {
    "echo": "max 8; queue 1000 timeout=10s; timeout 5s;",
    "body": "max 4; queue 1000 timeout=10s; timeout 5s;",
    "id": "max 4; queue 1000 timeout=10s; timeout 5s;",
}


def run(x):
    host = x.host(FUNCTIONS)
    seconds = x.seconds(4, 60)
    paths = ["/fn/echo", "/fn/body?ms=10", "/fn/id?ms=5"]
    load = x.load(host, paths, connections=x.pick(60, 200), seconds=seconds,
                  methods={"GET": 1, "POST": 1}, body="0-100000",
                  bound=16000)
    kills = 0
    while load.is_running():
        time.sleep(0.2)
        victims = list(fault.instances(host).values())
        if victims and load.seconds() < seconds:
            kills += fault.kill(x.random.choice(victims))
    records = load.result()
    x.summary(records)
    x.figure("kills", kills)


fault.main(run, "R1", "killed instances fail only what they ran")
