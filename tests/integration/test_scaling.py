"""How many instances there are, and who waits for them."""

import collections
import http.client
import os
import signal
import struct
import threading
import time

from harness import CONFIGURATION, Background, wait_until


def instances(host, name="probe"):
    """Living instances, whatever they do."""

    return sum(host.function(name)["instances"].values())


def test_no_instance_before_the_first_request(faas):
    host = faas(deploy=["probe"])
    assert instances(host) == 0


def test_zero_to_max_under_a_burst(faas):
    host = faas(deploy=["probe"], http="faas_function probe { max 4; }")
    held = host.hold("g", count=4)
    assert len(set(host.entered("g"))) == 4
    host.open("g")
    assert {h.result().status for h in held} == {200}


def test_max_is_not_exceeded_and_the_rest_waits_its_turn(faas):
    host = faas(deploy=["probe"], http="faas_function probe { max 2; }")
    held = [host.held("g") for _ in range(6)]
    wait_until(lambda: len(host.entered("g")) == 2
               and host.function("probe")["queue"]["waiting"] == 4)
    assert instances(host) == 2
    host.open("g")
    answers = [h.result() for h in held]
    assert {a.status for a in answers} == {200}
    assert len({a.json["pid"] for a in answers}) == 2


def test_concurrency_counted_by_the_function_never_exceeds_max(faas):
    host = faas(deploy=["probe"], workers=4, http="""
        faas_function probe { max 3; queue 1000 timeout=60s; }""")
    path = host.gates / "count"
    path.write_bytes(bytes(4096))
    path.chmod(0o666)
    clients = [Background(lambda: [host.get(
        "/fn/probe?count=%s&text=x" % path).status for _ in range(60)])
        for _ in range(24)]
    statuses = collections.Counter()
    for client in clients:
        statuses.update(client.result())
    assert statuses == {200: 24 * 60}
    now, most = struct.unpack("II", path.read_bytes()[:8])
    assert now == 0
    assert 1 <= most <= 3


def test_256_connections_on_4_instances_lose_nothing(faas):
    host = faas(deploy=["probe"], connections=2048, http="""
        faas_function probe { max 4; queue 1000 timeout=60s; }""")

    def client():
        with host.wire(timeout=90) as wire:
            for _ in range(20):
                wire.send("GET /fn/probe?text=x HTTP/1.1\r\nHost: x\r\n\r\n")
                assert wire.response().status == 200
        return True

    clients = [Background(client) for _ in range(256)]
    for c in clients:
        c.thread.join(100)
        assert c.result()
    assert instances(host) <= 4


def test_to_zero_after_idle_timeout_and_back(faas):
    host = faas(deploy=["probe"],
                http="faas_function probe { idle_timeout 200ms; }")
    pid = host.get("/fn/probe").json["pid"]
    wait_until(lambda: instances(host) == 0)
    wait_until(lambda: not os.path.exists("/proc/%d" % pid))
    assert host.get("/fn/probe").json["pid"] != pid


def test_from_nothing_when_the_template_is_gone_too(faas):
    host = faas(deploy=["probe"], http="""
        faas_function probe { idle_timeout 100ms; template_timeout 100ms; }
    """)
    assert host.get("/fn/probe").status == 200
    wait_until(lambda: "template" not in host.function("probe")
               or not host.function("probe")["template"])
    assert host.get("/fn/probe").status == 200


def test_template_of_a_function_that_is_never_called_ends(faas):
    host = faas(deploy=["probe"],
                http="faas_function probe { template_timeout 100ms; }")
    wait_until(lambda: not host.function("probe")["template"])
    assert host.get("/fn/probe").status == 200


def test_min_is_kept_warm_and_refilled_after_a_kill(faas):
    host = faas(deploy=["probe"],
                http="faas_function probe { min 2; idle_timeout 100ms; }")
    wait_until(lambda: host.function("probe")["instances"]["idle"] == 2)
    for _ in range(3):
        pid = host.get("/fn/probe").json["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not os.path.exists("/proc/%d" % pid))
        wait_until(lambda: host.function("probe")["instances"]["idle"] == 2)


def test_full_queue_answers_503_with_retry_after(faas):
    host = faas(deploy=["probe"], workers=1, http="""
        faas_function probe { max 1; queue 2 timeout=60s; }""")
    held = host.hold("g")
    held += [host.held("g") for _ in range(2)]
    wait_until(lambda: host.function("probe")["queue"]["waiting"] == 2)

    r = host.get("/fn/probe")
    assert r.status == 503
    assert int(r.headers["Retry-After"]) >= 1
    assert "Proxy-Status" in r.headers

    host.open("g")
    assert {h.result().status for h in held} == {200}


def test_queue_zero_refuses_when_all_are_busy(faas):
    host = faas(deploy=["probe"],
                http="faas_function probe { max 1; queue 0; min 1; }")
    wait_until(lambda: host.function("probe")["instances"]["idle"] == 1)
    held = host.hold("g")
    assert host.get("/fn/probe").status == 503
    host.open("g")
    assert held[0].result().status == 200


def test_wait_over_the_queue_timeout_answers_503(faas):
    host = faas(deploy=["probe"], http="""
        faas_function probe { max 1; queue 10 timeout=100ms; }""")
    held = host.hold("g")
    r = host.get("/fn/probe")
    assert r.status == 503
    assert int(r.headers["Retry-After"]) >= 1
    host.open("g")
    assert held[0].result().status == 200
    assert host.get("/fn/probe").status == 200


def test_busy_status_may_be_another(faas):
    host = faas(deploy=["probe"], http="""
        faas_busy_status 429;
        faas_function probe { max 1; queue 0; min 1; }""")
    wait_until(lambda: host.function("probe")["instances"]["idle"] == 1)
    held = host.hold("g")
    assert host.get("/fn/probe").status == 429
    host.open("g")
    held[0].result()


def test_client_that_leaves_the_queue_never_reaches_an_instance(faas):
    host = faas(deploy=["probe"], workers=1, http="""
        faas_function probe { max 1; queue 100 timeout=60s; }""")
    count = host.gates / "count"
    held = host.hold("g")
    wires = [host.wire() for _ in range(20)]
    for wire in wires:
        wire.send("GET /fn/probe?log=abandoned HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until(lambda: host.function("probe")["queue"]["waiting"] == 20)
    for wire in wires:
        wire.close()
    wait_until(lambda: host.function("probe")["queue"]["waiting"] == 0)
    host.open("g")
    held[0].result()
    assert host.get("/fn/probe").json["calls"] == 2
    assert "abandoned" not in host.function_log("probe")
    assert not count.exists()


def test_waiters_of_two_nginx_workers_are_served_alike(faas):
    """Neither worker may keep the only instance to itself."""

    host = faas(deploy=["probe"], workers=2, http="""
        faas_function probe { max 1; queue 1000 timeout=60s; }""")
    stop = threading.Event()
    counts = [0] * 16

    def client(i):
        with host.wire(timeout=60) as wire:
            while not stop.is_set():
                wire.send("GET /fn/probe?text=x HTTP/1.1\r\nHost: x\r\n\r\n")
                assert wire.response().status == 200
                counts[i] += 1

    clients = [Background(lambda i=i: client(i)) for i in range(16)]
    wait_until(lambda: min(counts) >= 30, "each client's 30th answer")
    stop.set()
    for c in clients:
        c.result()


def test_busy_function_does_not_hold_up_another(faas):
    host = faas(deploy=["busy", "other"],
                http="faas_function busy { max 2; }")
    held = host.hold("g", "busy", count=2)
    waiting = [host.held("g", "busy") for _ in range(5)]
    wait_until(lambda: host.function("busy")["queue"]["waiting"] == 5)
    for _ in range(5):
        assert host.get("/fn/other").status == 200
    host.open("g")
    assert {h.result().status for h in held + waiting} == {200}


def test_head_and_204_on_a_busy_function_do_not_hand_out_a_busy_instance(
        faas):
    """Stock nginx releases the peer before END_REQUEST then: the slot drains
    until the instance is free."""

    host = faas(deploy=["probe"], http="faas_function probe { max 1; }",
                server="location /now/ { faas_pass; fastcgi_buffering off; }")
    for turn in range(5):
        gate = "g%d" % turn
        with host.wire() as wire:
            wire.send("HEAD /fn/probe?flush=1&gate=%s/%s HTTP/1.1\r\n"
                      "Host: x\r\n\r\n" % (host.gates, gate))
            assert wire.response("HEAD").status == 200
            wait_until(lambda: host.entered(gate))
            next_one = Background(lambda: host.get("/fn/probe"))
            wait_until(lambda: host.function("probe")["queue"]["waiting"]
                       == 1)
            host.open(gate)
            assert next_one.result().status == 200

        # a FastCGI answer has a status line, so stock sends the 204 at its end

        gate = "h%d" % turn
        with host.wire() as wire:
            wire.send("GET /now/probe?status=204&flush=1&gate=%s/%s HTTP/1.1"
                      "\r\nHost: x\r\n\r\n" % (host.gates, gate))
            wait_until(lambda: host.entered(gate))
            next_one = Background(lambda: host.get("/fn/probe"))
            wait_until(lambda: host.function("probe")["queue"]["waiting"]
                       == 1)
            host.open(gate)
            assert wire.response().status == 204
            assert next_one.result().status == 200
    assert instances(host) == 1


BIG = """
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <faas.h>

static int
big(faas_request_t *r)
{
    char             *p;
    struct stat       st;
    struct timespec   nap = { 0, 2000000 };

    p = faas_alloc(r, 24 << 20);
    memset(p, 1, 24 << 20);

    while (stat(faas_query(r, "gate", NULL), &st) == -1) {
        nanosleep(&nap, NULL);
    }

    return faas_printf(r, "%d", p[12345]);
}

FAAS_FUNCTION(.handler = big)
"""


def test_no_more_instances_than_the_memory_of_all_allows(faas):
    """faas_memory: measured, so it is known a moment after it is used."""

    host = faas(deploy={"big": BIG, "other": "probe.c"}, http="""
        faas_memory 64m;
        faas_function big { max 3; }
        faas_function other {
            mode oneshot; spare 0; queue 0 timeout=200ms;
        }""")
    big = [host.held("g", "big") for _ in range(3)]
    wait_until(lambda: host.get("/fn/other").status == 503)
    assert host.log_has("faas_memory")

    host.open("g")
    assert {b.result().text for b in big} == {"1"}
    wait_until(lambda: host.get("/fn/other").status == 200)


def test_one_instance_is_shared_evenly_by_two_workers(faas):
    """Both nginx workers have requests waiting all the time: neither gets
    less than 40 % of what is served in 5 seconds."""

    listen = "listen 127.0.0.1:%(port)d"
    host = faas(workers=2, http="faas_function nap { max 1; queue 100; }",
                server="add_header X-Worker $pid always;",
                template=CONFIGURATION.replace(listen, listen + " reuseport"))
    host.deploy("nap", "nap.c")

    def ask(client):
        client.request("GET", "/fn/nap?ms=3")
        answer = client.getresponse()
        answer.read()
        assert answer.status == 200
        return int(answer.headers["X-Worker"])

    # a connection stays with the worker that accepted it
    clients = collections.defaultdict(list)
    while len(clients) < 2 or min(map(len, clients.values())) < 4:
        client = http.client.HTTPConnection("127.0.0.1", host.port)
        clients[ask(client)].append(client)
    served = collections.Counter()
    end = time.monotonic() + 5

    def load(worker, client):
        n = 0
        while time.monotonic() < end:
            assert ask(client) == worker
            n += 1
        return worker, n

    loads = [Background(lambda w=w, c=c: load(w, c))
             for w in clients for c in clients[w][:4]]
    for worker, n in (one.result() for one in loads):
        served[worker] += n
    print(served)
    for several in clients.values():
        for client in several:
            client.close()
    assert min(served.values()) >= 0.4 * sum(served.values())
