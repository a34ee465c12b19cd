"""faas_status: what the host says of itself."""

import os
import pathlib
import signal

from harness import wait_until

INSTANCE_STATES = {"starting", "idle", "busy", "handed", "draining",
                   "condemned", "retiring"}
OUTCOMES = {"ok", "function_error", "timeout", "crash", "oom", "queue_full",
            "queue_timeout", "init_error", "not_found", "shed", "cancelled",
            "loop"}


def test_host_and_board(faas):
    host = faas(deploy=["probe"], workers=3)
    status = host.status()
    assert status["release"] == status["supervisor"]["release"]
    assert status["state"] == str(host.state)
    assert status["draining"] is False
    assert status["uptime"] >= 0
    assert status["supervisor"]["alive"] is True
    assert status["supervisor"]["restarts"] == 0
    wait_until(lambda: sorted(w["pid"] for w in host.status()["workers"])
               == sorted(host.workers()))
    assert host.get("/fn/probe").status == 200
    board = host.status()["board"]
    assert board["size_bytes"] == 64 << 20
    # the probe, and _calls
    assert board["functions"] == {"used": 2, "capacity": 512}
    for region in ("versions", "chunks", "route_bytes"):
        assert 1 <= board[region]["used"] < board[region]["capacity"]


def test_function(faas):
    host = faas(deploy={"probe": ("probe.c", "-DPROBE_DESCRIPTOR=, .routes = "
                                  "\"GET /x/(?<name>\\\\w+)\\n/y\"")},
                http="""faas_function probe {
                    min 1; max 3; spare 1; queue 7 timeout=2s; timeout 3s;
                    idle_timeout 1m; max_requests 99; memory 64m; }""")
    f = host.function("probe")
    assert (f["state"], f["mode"], f["last_error"]) == (
        "ready", "resident", "")
    assert [v["id"] for v in f["versions"]] == [f["version"]]
    assert f["versions"][0]["state"] == "ready"
    assert set(f["instances"]) == INSTANCE_STATES
    assert set(f["totals"]["outcomes"]) == OUTCOMES
    limits = f["limits"]
    assert (limits["min"], limits["max"], limits["spare"], limits["queue"],
            limits["queue_timeout_ms"], limits["timeout_ms"],
            limits["idle_timeout_ms"], limits["max_requests"],
            limits["memory_bytes"]) == (1, 3, 1, 7, 2000, 3000, 60000, 99,
                                        64 << 20)
    assert f["routes"] == [
        {"methods": "GET, HEAD", "pattern": "/x/(?<name>\\w+)"},
        {"methods": "any", "pattern": "/y"}]
    wait_until(lambda: host.function("probe")["instances"]["idle"] >= 1)


def test_totals_count_each_request_once_by_outcome(faas):
    host = faas(deploy=["probe"], workers=2,
                http="faas_function probe { max 2; }")
    for _ in range(7):
        assert host.post("/fn/probe", b"12345").status == 200
    for _ in range(3):
        assert host.get("/fn/probe?fail=1").status == 500
    assert host.post("/fn/probe?die=9").status == 502

    def totals():
        return host.function("probe")["totals"]

    wait_until(lambda: sum(totals()["outcomes"].values()) == 11)
    t = totals()
    assert {k: n for k, n in t["outcomes"].items() if n} == {
        "ok": 7, "function_error": 3, "crash": 1}
    assert (t["arrivals"], t["attempts"], t["finished"]) == (11, 11, 11)
    assert t["bytes_in"] == 35
    assert t["bytes_out"] > 0
    assert t["service_us"] > 0
    wait_until(lambda: totals()["deaths"] == 1)


def test_answers_while_every_instance_is_busy_and_others_wait(faas):
    host = faas(deploy=["probe"],
                http="faas_function probe { max 2; queue 5; }")
    held = host.hold("gate0") + host.hold("gate1")
    waiting = [host.held("gate%d" % i) for i in (2, 3, 4)]
    wait_until(lambda: host.function("probe")["queue"]
               == {"waiting": 3, "admitted": 5})
    f = host.function("probe")
    assert f["instances"]["busy"] == 2
    assert sum(f["instances"].values()) == 2
    for i in range(5):
        host.open("gate%d" % i)
    assert [b.result().status for b in held + waiting] == [200] * 5
    wait_until(lambda: host.function("probe")["queue"]
               == {"waiting": 0, "admitted": 0})


def test_answers_while_the_supervisor_is_dead(faas):
    host = faas(deploy=["probe"], http="faas_function probe { max 1; }")
    assert host.get("/fn/probe").status == 200
    host.allowed.append("supervisor was killed by signal 9")
    first = host.status()["supervisor"]["pid"]
    os.kill(first, signal.SIGKILL)
    assert host.function("probe")["state"] == "ready"

    wait_until(lambda: host.status()["supervisor"]["alive"]
               and host.status()["supervisor"]["pid"] != first)
    assert host.status()["supervisor"]["restarts"] == 1


def test_failed_function_and_its_reason(faas):
    host = faas()
    (host.functions / "text.so").write_text("not a shared object")
    wait_until(lambda: host.function("text").get("last_error"))
    f = host.function("text")
    assert (f["state"], f["version"], f["routes"]) == ("failed", "", [])


def test_any_bytes_in_a_reason_leave_the_answer_valid(faas):
    host = faas()
    host.deploy("odd", "probe.c", "-DPROBE_DESCRIPTOR=, .routes = "
                "\"/\\xff\\\"\\\\[(\"", wait=False)
    error = wait_until(lambda: host.function("odd").get("last_error"))
    assert "\ufffd\"\\[(" in error


def test_answer_of_many_buffers(faas):
    host = faas(start=False)
    for i in range(100):
        (host.functions / ("bad%d.so" % i)).write_text("no")
    host.start()
    # ours are _calls as well
    wait_until(lambda: len(host.status()["functions"]) == 101)
    r = host.get("/faas/")
    assert len(r.body) == int(r.headers["Content-Length"]) > 3 * 16384
    assert {f["name"] for f in r.json["functions"]
            if not f["platform"]} == {"bad%d" % i for i in range(100)}


def test_only_get_and_head(faas):
    host = faas(deploy=["probe"])
    get = host.get("/faas/")
    assert get.headers["Content-Type"] == "application/json"
    assert get.headers["Cache-Control"] == "no-store"
    head = host.get("/faas/", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["Content-Length"]) > 100
    assert host.post("/faas/", b"x").status == 405
    with host.wire() as wire:
        wire.send("GET /faas/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
                  "abcGET /faas/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert [wire.response().status for _ in range(2)] == [200, 200]


def test_status_needs_no_instance(faas):
    host = faas(deploy=["probe"])
    before = host.function("probe")["totals"]["arrivals"]
    for _ in range(5):
        host.status()
    f = host.function("probe")
    assert f["totals"]["arrivals"] == before == 0
    assert pathlib.Path("/proc/%d" % host.pid()).exists()
