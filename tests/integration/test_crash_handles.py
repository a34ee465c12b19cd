"""Handles belong to one process: what an instance has opened no other process
has, and a child that a function forks is refused all of it."""

import os
import pathlib

import harness
from crash import engine, journal, start                        # noqa: F401
from harness import Background, wait_until
from services import CODES


def opened(pid):
    """{descriptor: what it is} of a process."""

    found = {}
    for path in pathlib.Path("/proc/%d/fd" % pid).iterdir():
        try:
            found[int(path.name)] = os.readlink(path)
        except FileNotFoundError:
            pass
    return found


def instances(host):
    return sorted(pid for pid in host.processes()
                  if harness.cmdline(pid).startswith("faas: handles #"))


def test_no_handle_is_in_two_processes(faas, engine):
    host = start(faas, engine, {"handles": "min 2; max 2;"}, ["handles"])
    wait_until(lambda: host.function("handles")["instances"]["idle"] == 2,
               "two instances")
    pids = instances(host)
    before = {pid: set(opened(pid).values()) for pid in pids}
    assert not [name for names in before.values() for name in names
                if ".db" in name]

    gate = host.gates / "gate"
    held = [Background(lambda: host.get("/fn/handles?op=open&gate=%s" % gate))
            for _ in pids]
    wait_until(lambda: len(journal(host, "opened")) == 2, "both inside")
    tables = {pid: opened(pid) for pid in host.processes()}
    redis = {int(pid): int(fd) for pid, fd, _ in journal(host, "opened")}
    assert sorted(redis) == pids == instances(host)

    for pid in pids:
        new = set(tables[pid].values()) - before[pid]
        assert str(host.state / "data/handles/handles.db") in new
        sockets = {name for name in new if name.startswith("socket:")}
        # nginx's connection, that to the events process, and Redis
        assert len(sockets) >= 2 + len(engine.pids)
        assert (redis[pid] == -1) == (not engine.pids)
        assert redis[pid] == -1 or tables[pid][redis[pid]] in sockets
        assert not [other for other, table in tables.items()
                    if other != pid and sockets & set(table.values())]
    # the database is the instances' and the tender's
    users = {pid for pid, table in tables.items()
             if any("handles.db" in name for name in table.values())}
    assert {harness.cmdline(pid).split()[0]
            for pid in users - set(pids)} <= {"faas-tender"}

    gate.touch()
    assert {int(each.result().text) for each in held} == set(pids)


def test_child_that_a_function_forks_is_refused_and_spoils_nothing(faas,
                                                                   engine):
    host = start(faas, engine, {"sdk": "max 1;"})
    host.deploy("sdk", "sdk.c")
    refused = CODES["UNSUPPORTED"]
    for first in ("", "&first=1", "&first=1"):
        # kv_get, kv_set, faas_db, queue_send, call, faas_redis
        status, codes = host.get("/fn/sdk?op=fork" + first).text.split(": ")
        assert status == "0"
        assert list(map(int, codes.split())) == [
            refused, refused, refused, 0, refused, refused, 0, refused]
        # the parent's own connection is as it was
        for _ in range(2):
            answer = host.get("/fn/sdk?op=kv_get&key=k").text
            assert answer.endswith("parent") if first \
                else answer == "%d\n" % CODES["NOTFOUND"]
            assert host.post("/fn/sdk?op=sql", b"SELECT 7").text \
                == "7\nrc 0\n"
            assert host.get("/fn/sdk?op=send&queue=q&data=x").text[:2] == "0 "
    assert host.function("sdk")["totals"]["deaths"] == 0
