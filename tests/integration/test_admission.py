"""Who is let in, and until when: the wait to be expected, the client's
deadline (Faas-Timeout), Retry-After."""

import os
import signal
import subprocess
import time

import pytest

from harness import Background, cmdline, process_table, wait_until

TELL = """add_header X-Outcome $faas_outcome always;
          add_header X-Started $faas_started always;"""


def told(r):
    return r.status, r.headers["X-Outcome"], r.headers["X-Started"]


def waiting(host, name="probe"):
    return host.function(name)["queue"]["waiting"]


def busy(host, name="probe"):
    return host.function(name)["instances"]["busy"]


def napping(host, ms):
    """A nap that goes on while the test does something else."""

    nap = Background(lambda: host.get("/fn/nap?ms=%d" % ms))
    wait_until(lambda: busy(host, "nap") == 1)
    return nap


# nginx is held where it has connected to an instance, and not yet looked
# whether that is still the one that it wanted

HELD = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

int
connect(int fd, const struct sockaddr *sa, socklen_t n)
{
    int              rc, err;
    struct timespec  nap = { 0, 2000000 };
    int            (*next)(int, const struct sockaddr *, socklen_t);

    next = (int (*)(int, const struct sockaddr *, socklen_t))
           dlsym(RTLD_NEXT, "connect");

    rc = next(fd, sa, n);
    err = errno;

    if (sa->sa_family == AF_UNIX
        && strstr(((const struct sockaddr_un *) sa)->sun_path, "/slots/")
        && unlink(GATE ".hold") == 0)
    {
        (void) close(open(GATE ".held", O_CREAT|O_WRONLY, 0666));

        while (access(GATE, F_OK) == -1) {
            nanosleep(&nap, NULL);
        }
    }

    errno = err;

    return rc;
}
"""


def instances(name):
    return [pid for pid in process_table()
            if cmdline(pid).startswith("faas: %s #" % name)]


# -- the wait to be expected ----------------------------------------------------

def test_wait_beyond_the_queues_budget_is_refused_at_once_not_started(faas):
    host = faas(deploy={"nap": "nap.c"}, workers=2, location=TELL, http="""
        faas_function nap { max 1; queue 100 timeout=3s; timeout 60s; }""")
    assert host.get("/fn/nap?ms=700").status == 200
    running = napping(host, 6000)
    patient = [Background(lambda: host.get("/fn/nap?ms=0"))
               for _ in range(8)]

    # 5 of them are within the budget at 700 ms each

    refused = wait_until(lambda: [p for p in patient if p.is_done()])
    r = refused[0].result()
    assert told(r) == (503, "shed", "0")
    assert int(r.headers["Retry-After"]) >= 1
    assert waiting(host, "nap") >= 1, "it was refused before they gave up"

    assert {p.result().status for p in patient} == {503}
    assert running.result().status == 200
    assert host.function("nap")["totals"]["attempts"] == 2
    assert host.log_has('function "nap" refused a request: wait would be '
                        'too long')


def test_wait_beyond_the_clients_deadline_is_refused_at_once(faas):
    host = faas(deploy={"nap": "nap.c"}, location=TELL, http="""
        faas_function nap { max 1; queue 100 timeout=60s; }""")
    assert host.get("/fn/nap?ms=1000").status == 200
    running = napping(host, 2000)
    patient = Background(lambda: host.get("/fn/nap?ms=0"))
    wait_until(lambda: waiting(host, "nap") == 1)

    r = host.get("/fn/nap?ms=0", headers={"Faas-Timeout": "0.5"})
    assert told(r) == (503, "shed", "0")
    assert int(r.headers["Retry-After"]) >= 1
    assert "destination_unavailable" in r.headers["Proxy-Status"]

    # one of which the body is still to come is refused before it comes

    with host.wire() as wire:
        wire.send("POST /fn/nap?ms=0 HTTP/1.1\r\nHost: x\r\n"
                  "Faas-Timeout: 0.5\r\nContent-Length: 1000\r\n\r\n")
        assert told(wire.response()) == (503, "shed", "0")

    assert (running.result().status, patient.result().status) == (200, 200)


def test_nobody_is_refused_for_a_wait_that_nobody_measured(faas):
    host = faas(deploy=["probe"], workers=2, http="""
        faas_function probe { max 1; queue 100 timeout=60s; }""")
    held = host.hold("g")
    patient = [host.held("g", headers={"Faas-Timeout": "50"})
               for _ in range(20)]
    wait_until(lambda: waiting(host) == 20)
    host.open("g")
    assert {h.result().status for h in held + patient} == {200}


def test_who_finds_nobody_waiting_is_let_in_whatever_was_measured(faas):
    host = faas(deploy={"nap": "nap.c"}, location=TELL, http="""
        faas_function nap { max 1; queue 100 timeout=60s; }""")
    assert host.get("/fn/nap?ms=1500").status == 200
    running = napping(host, 1500)
    r = host.get("/fn/nap?ms=0", headers={"Faas-Timeout": "0.2"})
    assert told(r) == (503, "queue_timeout", "0")
    assert running.result().status == 200


def test_function_that_was_slow_serves_all_when_it_is_fast_again(faas):
    host = faas(deploy={"nap": "nap.c"}, workers=2, http="""
        faas_function nap { max 1; queue 100 timeout=1s; }""")
    assert host.get("/fn/nap?ms=2500").status == 200

    def client():
        return [host.get("/fn/nap?ms=0").status for _ in range(100)]

    # none of them waits for long; those that are refused are so at first

    for _ in range(2):
        statuses = [b.result() for b in [Background(client)
                                         for _ in range(4)]]
    assert all(set(s) == {200} for s in statuses), statuses


def test_what_the_cache_has_is_answered_while_the_queue_is_full(faas):
    host = faas(deploy=["probe"], workers=1, start=False)
    host.configure(http="""
        faas_function probe { max 1; queue 1 timeout=60s; }
        fastcgi_cache_path %s/cache keys_zone=c:1m;
        fastcgi_cache_key $arg_key;""" % host.dir, location="""
        fastcgi_cache c; fastcgi_cache_valid 200 1h;
        add_header X-Cache $upstream_cache_status always;""")
    host.start()
    path = "/fn/probe?key=a&text=cached"
    wait_until(lambda: host.get(path).headers["X-Cache"] == "HIT")
    held = host.hold("g", more="&key=b") + [host.held("g", more="&key=c")]
    wait_until(lambda: waiting(host) == 1)
    assert host.get("/fn/probe?key=d").status == 503
    assert host.get(path).text == "cached"
    host.open("g")
    assert {h.result().status for h in held} == {200}


@pytest.mark.parametrize("queue", (0, 1))
def test_function_that_is_full_refuses_before_it_has_the_body(faas, queue):
    host = faas(deploy=["probe"], location=TELL, workers=1, http="""
        faas_function probe { max 1; queue %d timeout=60s; }""" % queue)
    held = host.hold("g")
    if queue:
        held += [host.held("g")]
        wait_until(lambda: waiting(host) == 1)
    with host.wire() as wire:
        wire.send("POST /fn/probe HTTP/1.1\r\nHost: x\r\n"
                  "Content-Length: 1000\r\n\r\n")
        assert wire.head()[0].split()[1] == "503"
    host.open("g")
    assert {h.result().status for h in held} == {200}


# -- the client's deadline ------------------------------------------------------

def test_deadline_that_passes_in_the_queue_is_503_not_started(faas):
    host = faas(deploy=["probe"], location=TELL, http="""
        faas_function probe { max 1; queue 10 timeout=60s; }""")
    held = host.hold("g")
    r = host.post("/fn/probe?log=late", headers={"Faas-Timeout": "0.1"})
    assert told(r) == (503, "queue_timeout", "0")
    assert "client's deadline passed" in r.headers["Proxy-Status"]
    assert int(r.headers["Retry-After"]) >= 1
    host.open("g")
    held[0].result()
    assert host.get("/fn/probe").json["calls"] == 2
    assert "late" not in host.function_log("probe")


def test_deadline_is_the_cause_however_late_nginx_clock_is(faas):
    """A timer is set by what the clock said when the loop's turn began, and
    may be over before the deadline is."""

    host = faas(deploy=["probe"], workers=1,
                main="daemon off; timer_resolution 500ms;",
                http="faas_function probe { max 1; queue 10 timeout=60s; }")
    held = host.hold("g")
    late = []
    for _ in range(10):
        late.append(Background(lambda: host.get(
            "/fn/probe", headers={"Faas-Timeout": "0.45"})))
        time.sleep(0.1)             # at different times of a turn
    for one in late:
        r = one.result()
        assert r.status == 503
        assert "client's deadline passed" in r.headers["Proxy-Status"]
    host.open("g")
    held[0].result()


def test_deadline_that_passes_in_the_function_is_504_and_kills_nothing(faas):
    """Or any client could have instances killed."""

    host = faas(deploy=["probe"], location=TELL, http="""
        faas_function probe { max 1; timeout 60s; }""")
    pid = host.get("/fn/probe").json["pid"]
    r = host.get("/fn/probe?gate=%s/g" % host.gates,
                 headers={"Faas-Timeout": "0.2"})
    assert told(r) == (504, "timeout", "1")
    assert "http_response_timeout" in r.headers["Proxy-Status"]
    assert host.log_has("client's deadline passed while function \"probe\"")
    assert os.path.exists("/proc/%d" % pid)

    # the slot is in use until the instance is free

    later = Background(lambda: host.get("/fn/probe"))
    wait_until(lambda: waiting(host) == 1)
    host.open("g")
    assert later.result().json["pid"] == pid
    assert host.function("probe")["totals"]["kills"] == 0


def test_deadline_is_for_wait_and_execution_together(faas):
    host = faas(deploy={"nap": "nap.c"}, location=TELL, http="""
        faas_function nap { max 1; queue 10 timeout=60s; }""")
    running = napping(host, 700)
    begun = time.monotonic()
    r = host.get("/fn/nap?ms=5000", headers={"Faas-Timeout": "1.2"})
    waited = time.monotonic() - begun
    assert told(r) == (504, "timeout", "1")
    assert running.result().status == 200

    # had it begun with the execution, it would have been 700 ms later

    print("answered after %.3f s" % waited)


def test_deadline_counts_from_the_head_of_the_request(faas):
    host = faas(deploy=["probe"], location=TELL)
    with host.wire() as wire:
        wire.send("POST /fn/probe?log=late HTTP/1.1\r\nHost: x\r\n"
                  "Faas-Timeout: 0.1\r\nContent-Length: 4\r\n\r\nab")
        time.sleep(0.3)
        wire.send("cd")
        assert told(wire.response()) == (503, "queue_timeout", "0")
    assert "late" not in host.function_log("probe")


def test_deadline_goes_on_over_an_error_page(faas):
    host = faas(deploy=["probe", "other"], server="""
        location = /first { faas_pass probe; error_page 504 = @next; %s }
        location @next { faas_pass other; %s }""" % (TELL, TELL))
    path = "/first?gate=%s/g" % host.gates
    r = host.get(path, headers={"Faas-Timeout": "0.2"})
    assert told(r) == (503, "queue_timeout", "1")     # the first one ran
    assert host.function("other")["totals"]["attempts"] == 0
    host.open("g")


def test_deadline_that_is_no_positive_number_is_not_heeded(faas):
    host = faas(deploy=["probe"])
    for value in ("-1", "-0", "+1", "1s", "1e-3", "0x1", "nan", "inf",
                  "soon", ".", "0,1", "1.2.3", ""):
        r = host.get("/fn/probe", headers={"Faas-Timeout": value})
        assert r.status == 200, value
        assert 15000 < r.json["time_left"] <= 30000, value


def test_deadline_of_zero_is_no_time_at_all(faas):
    """As a function says that has none left and calls another."""

    host = faas(deploy=["probe"], location=TELL)
    for value in ("0", "0.000"):
        r = host.get("/fn/probe?log=ran", headers={"Faas-Timeout": value})
        assert told(r) == (503, "queue_timeout", "0")
    assert host.get("/fn/probe").json["calls"] == 1


def test_deadline_that_is_huge_only_leaves_the_timeout(faas):
    host = faas(deploy=["probe"])
    for value in ("31", "4294968", "99999999999999999999999999",
                  "9" * 5000):
        r = host.get("/fn/probe", headers={"Faas-Timeout": value})
        assert r.status == 200, value
        assert 15000 < r.json["time_left"] <= 30000, value


# -- Retry-After -----------------------------------------------------------------

def test_retry_after_is_told_by_what_calls_take(faas):
    host = faas(deploy={"nap": "nap.c"}, workers=1, http="""
        faas_function nap { max 1; queue 2 timeout=60s; }""")
    assert host.get("/fn/nap?ms=2100").status == 200
    running = napping(host, 1500)
    patient = [Background(lambda: host.get("/fn/nap?ms=0"))
               for _ in range(2)]
    wait_until(lambda: waiting(host, "nap") == 2)
    r = host.get("/fn/nap?ms=0")
    assert r.status == 503
    assert 7 <= int(r.headers["Retry-After"]) <= 60     # 3 of 2.1 s at least
    assert running.result().status == 200
    assert {p.result().status for p in patient} == {200}


# -- the wait that was -------------------------------------------------------------

def test_wait_for_a_slot_that_was_lost_again_is_counted_once(faas,
                                                             monkeypatch):
    """Else who is given a slot whose instance dies at that moment would have
    used up the queue's budget in half of its time."""

    host = faas(deploy=["probe"], start=False,
                location="add_header X-Queue-Time $faas_queue_time;",
                http="faas_function probe { max 1; }")
    gate = host.gates / "connect"
    hold, held = (gate.with_suffix(end) for end in (".hold", ".held"))
    (host.dir / "held.c").write_text(HELD)
    subprocess.run(["cc", "-shared", "-fPIC", '-DGATE="%s"' % gate, "-o",
                    host.dir / "held.so", host.dir / "held.c", "-ldl"],
                   check=True)
    monkeypatch.setenv("LD_PRELOAD", str(host.dir / "held.so"))
    host.start()

    # its instance ends with it, so the next request has to connect

    host.held("g", more="&exit=1", method="POST")
    wait_until(lambda: host.entered("g"))

    begun = time.monotonic()
    second = Background(lambda: host.get("/fn/probe"))
    wait_until(lambda: waiting(host) == 1)
    wait_until(lambda: time.monotonic() - begun > 1,
               "a wait that is longer than all that follows")

    hold.touch()
    host.open("g")
    wait_until(held.exists)
    pid, = instances("probe")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: host.function("probe")["totals"]["deaths"] == 2)
    gate.touch()

    r = second.result()
    took = time.monotonic() - begun
    assert r.status == 200
    assert 1 < float(r.headers["X-Queue-Time"]) < took

    totals = host.function("probe")["totals"]
    assert totals["attempts"] == totals["finished"] == 3
    assert totals["queue_us"] < 1.5 * took * 1e6
    assert host.function("probe")["queue"] == {"waiting": 0, "admitted": 0}
