"""Resident and one-shot."""

import collections
import os
import threading

from harness import Background, wait_until

ONESHOT = "-DPROBE_DESCRIPTOR=, .mode = \"oneshot\""
RESIDENT = "-DPROBE_DESCRIPTOR=, .mode = \"resident\""


def test_resident_state_survives_between_calls(faas):
    host = faas(deploy=["probe"], http="faas_function probe { max 1; }")
    answers = [host.get("/fn/probe").json for _ in range(5)]
    assert len({a["pid"] for a in answers}) == 1
    assert [a["calls"] for a in answers] == [1, 2, 3, 4, 5]


def ask(host, path, count, clients):
    """count requests from so many clients at once; the answers."""

    answers, lock, left = [], threading.Lock(), [count]

    def client():
        while True:
            with lock:
                if left[0] == 0:
                    return
                left[0] -= 1
            answer = host.get(path)
            with lock:
                answers.append(answer)

    clients = [Background(client) for _ in range(clients)]
    for c in clients:
        c.result()
    return answers


def test_oneshot_gives_each_request_a_process_of_its_own(faas):
    host = faas(deploy={"probe": ("probe.c", ONESHOT)},
                http="faas_function probe { max 6; spare 2; }")
    answers = ask(host, "/fn/probe", 200, 16)
    assert collections.Counter(a.status for a in answers) == {200: 200}
    pids = collections.Counter(a.json["pid"] for a in answers)
    assert len(pids) == 200 and set(pids.values()) == {1}
    assert {a.json["calls"] for a in answers} == {1}


def test_oneshot_instance_is_gone_after_its_request(faas):
    host = faas(deploy={"probe": ("probe.c", ONESHOT)})
    pid = host.get("/fn/probe").json["pid"]
    wait_until(lambda: not os.path.exists("/proc/%d" % pid))


def test_oneshot_on_one_client_connection_is_many_processes(faas):
    host = faas(deploy={"probe": ("probe.c", ONESHOT)})
    with host.wire() as wire:
        pids = set()
        for _ in range(10):
            wire.send("GET /fn/probe HTTP/1.1\r\nHost: x\r\n\r\n")
            pids.add(wire.response().json["pid"])
    assert len(pids) == 10


def test_oneshot_forks_spares_ahead(faas):
    host = faas(deploy={"probe": ("probe.c", ONESHOT)},
                http="faas_function probe { spare 3; max 8; min 1; }")
    host.get("/fn/probe")
    wait_until(lambda: host.function("probe")["instances"]["idle"] >= 3)


def test_mode_in_nginx_conf_overrides_the_descriptor(faas):
    host = faas(deploy={"one": ("probe.c", ONESHOT),
                        "stay": ("probe.c", RESIDENT)},
                http="faas_function one { mode resident; max 1; }"
                     "faas_function stay { mode oneshot; }")
    assert len({host.get("/fn/one").json["pid"] for _ in range(5)}) == 1
    assert len({host.get("/fn/stay").json["pid"] for _ in range(5)}) == 5


def test_mode_changes_with_a_reload(faas):
    host = faas(deploy=["probe"], http="faas_function probe { max 1; }")
    assert len({host.get("/fn/probe").json["pid"] for _ in range(5)}) == 1
    host.reload(http="faas_function probe { mode oneshot; max 4; }")
    wait_until(lambda: host.get("/fn/probe").json["pid"]
               != host.get("/fn/probe").json["pid"])
    assert len({host.get("/fn/probe").json["pid"] for _ in range(5)}) == 5


def test_max_requests_replaces_an_instance_without_a_failure(faas):
    host = faas(deploy=["probe"],
                http="faas_function probe { max 2; max_requests 3; }")
    answers = ask(host, "/fn/probe", 60, 4)
    assert {a.status for a in answers} == {200}
    pids = collections.Counter(a.json["pid"] for a in answers)
    assert max(pids.values()) == 3


def test_oneshot_streams_and_takes_large_bodies(faas):
    host = faas(deploy={"probe": ("probe.c", ONESHOT)})
    r = host.post("/fn/probe", os.urandom(3 << 20))
    assert r.json["bytes"] == 3 << 20
    r = host.get("/fn/probe?size=3000000")
    assert len(r.body) == 3000000
