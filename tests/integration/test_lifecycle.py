"""Start, reload, upgrade, end: what runs when, and that nothing is left."""

import fcntl
import http.client
import os
import pwd
import signal
import subprocess

import pytest

from harness import (IS_ROOT, Background, cmdline, descendants, free_port,
                     is_alive, wait_until)


def of_ours(host):
    return {pid: cmdline(pid) for pid in descendants()
            if "faas" in cmdline(pid).split(" ")[0]
            and str(host.dir) in host.whole(pid)}


def process(host, option):
    for pid in host.processes():
        if option in cmdline(pid):
            return pid
    return None


def nothing_left(host):
    wait_until(lambda: not host.left(), "all to end: %s" % host.left())
    return True


def test_configuration_test_starts_nothing(faas):
    host = faas(deploy=["probe"], start=False)
    output = host.nginx("-t")
    assert "successful" in output
    assert not host.left()
    assert not [p for p in host.state.rglob("*") if p.is_socket()]


def test_configuration_test_beside_a_running_host_disturbs_nothing(faas):
    host = faas(deploy=["probe"], http="faas_function probe { max 1; }")
    pid = host.get("/fn/probe").json["pid"]
    before = set(descendants())
    host.nginx("-t")
    assert host.get("/fn/probe").json["pid"] == pid
    assert set(descendants()) == before


def test_daemon(faas):
    host = faas(deploy=["probe"], main="daemon on;", start=False)
    host.launch()
    assert host.process.wait(30) == 0
    wait_until(lambda: (host.dir / "nginx.pid").exists() and host.answers())
    assert host.get("/fn/probe").status == 200
    host.nginx("-s", "quit")
    nothing_left(host)


def test_single_process(faas):
    host = faas(deploy=["probe"], main="daemon off; master_process off;")
    assert host.get("/fn/probe").status == 200
    assert host.get("/fn/probe").json["calls"] == 2
    host.stop()
    nothing_left(host)


@pytest.mark.parametrize("main", ["daemon off;",
                                  "daemon off; master_process off;"])
@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGTERM,
                                    signal.SIGINT])
def test_signal_leaves_nothing(faas, main, number):
    host = faas(deploy=["probe"], main=main)
    assert host.get("/fn/probe").status == 200
    host.stop(number)
    nothing_left(host)
    assert not [p for p in host.state.rglob("*") if p.is_socket()]


def test_quit_lets_a_running_request_finish(faas):
    host = faas(deploy=["probe"])
    held = host.hold("g")
    host.send(signal.SIGQUIT)
    wait_until(lambda: host.log_has("gracefully shutting down"))
    host.open("g")
    assert held[0].result().status == 200
    host.process.wait(30)
    nothing_left(host)


def test_quit_lets_a_waiting_request_finish(faas):
    host = faas(deploy=["probe"], http="""
        faas_function probe { max 1; queue 10 timeout=60s; }""")
    held = host.hold("g")
    waiting = host.held("g")
    wait_until(lambda: host.function("probe")["queue"]["waiting"] == 1)
    host.send(signal.SIGQUIT)
    wait_until(lambda: host.log_has("gracefully shutting down"))
    host.open("g")
    assert held[0].result().status == 200
    assert waiting.result().status == 200
    host.process.wait(30)
    nothing_left(host)


def test_stop_with_a_running_request_leaves_nothing(faas):
    host = faas(deploy=["probe"])
    held = host.hold("g")
    host.stop(signal.SIGTERM)
    nothing_left(host)
    with pytest.raises(Exception):
        held[0].result()


@pytest.mark.parametrize("busy", [False, True])
def test_kill_9_of_nginx_leaves_nothing(faas, busy):
    host = faas(deploy=["probe"])
    assert host.get("/fn/probe").status == 200
    if busy:
        host.hold("g")
    workers = wait_until(lambda: len(host.workers()) == 2 and host.workers())
    host.allowed.append("exited on signal 9")
    for pid in [host.process.pid] + workers:
        os.kill(pid, signal.SIGKILL)
    host.process.wait(10)
    nothing_left(host)
    # nginx's own socket is found stale by the next one, and removed
    assert [p.name for p in host.state.rglob("*") if p.is_socket()] in (
        [], ["internal.sock"])

    host.start()
    assert host.get("/fn/probe").status == 200


LOADING = """
#include <faas.h>
#include <unistd.h>
static int init(void) {
    while (access(GATE, F_OK)) { usleep(1000); }
    return 0;
}
static int answer(faas_request_t *r) { return faas_printf(r, "loaded"); }
FAAS_FUNCTION(.handler = answer, .init = init)
"""


def test_nginx_killed_while_the_host_starts_leaves_nothing(faas):
    host = faas(start=False)
    host.deploy("slow", LOADING, "-DGATE=\"%s/go\"" % host.gates, wait=False)
    host.launch()
    wait_until(lambda: process(host, "--supervise"))
    host.process.kill()
    host.process.wait(10)
    nothing_left(host)
    assert host.log_has("the host ends: no nginx is there")


def test_nginx_killed_while_another_host_ends_leaves_nothing(faas):
    host = faas(deploy=["probe"], start=False)
    host.state.mkdir()
    directory = os.open(host.state, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    host.launch()
    wait_until(lambda: process(host, "--keeper"))
    host.process.kill()
    host.process.wait(10)
    nothing_left(host)
    assert host.log_has("nginx does not wait for us any more")
    os.close(directory)


def test_kill_9_of_everything_at_once_and_a_plain_start_works(faas):
    host = faas(deploy=["probe"])
    assert host.get("/fn/probe").status == 200
    # the master first: it would replace a worker that it sees die
    for pid in [host.process.pid] + sorted(descendants(), reverse=True):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    host.process.wait(10)
    nothing_left(host)

    # each may see another go before it is gone itself
    host.allowed += ["exited on signal 9", "starting another"]

    # what is on disk now was not cleaned up by anybody
    host.start()
    assert host.get("/fn/probe").status == 200


def test_kill_9_of_the_master_alone_workers_serve_on_as_orphans(faas):
    host = faas(deploy=["probe"])
    workers = host.workers()
    os.kill(host.process.pid, signal.SIGKILL)
    host.process.wait(10)
    assert host.get("/fn/probe").status == 200
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
    nothing_left(host)


def test_reload_keeps_the_warm_instance(faas):
    host = faas(deploy=["probe"], http="faas_function probe { max 1; }")
    first = host.get("/fn/probe").json
    # the one that looks after its database comes when that is known to be
    ours = wait_until(lambda: "faas-tender" in of_ours(host).values()
                      and of_ours(host))
    for _ in range(3):
        host.reload()
    answer = host.get("/fn/probe").json
    assert (answer["pid"], answer["calls"]) == (first["pid"], 2)
    assert of_ours(host) == ours


def test_reload_under_load_fails_no_request(faas):
    host = faas(deploy=["probe"])
    failures, done = [], []

    def client():
        while not done:
            # a new connection each time: a kept one may be closed by reload
            r = host.get("/fn/probe?text=x")
            if r.status != 200:
                failures.append(r)

    clients = [Background(client) for _ in range(4)]
    for i in range(6):
        host.reload(http="faas_function probe { max %d; }" % (1 + i % 3))
    done.append(1)
    for c in clients:
        c.result()
    assert not failures


def test_reload_applies_new_settings(faas):
    host = faas(deploy=["probe"], http="faas_function probe { max 1; }")
    host.reload(http="faas_function probe { max 3; env PROBE=abc; }")
    held = host.hold("g", count=3)
    host.open("g")
    assert {h.result().status for h in held} == {200}
    wait_until(lambda: host.get("/fn/probe").json["config"] == "abc")


def test_reload_with_an_invalid_file_keeps_the_old_settings(faas):
    host = faas(deploy=["probe"], http="faas_function probe { max 1; }")
    pid = host.get("/fn/probe").json["pid"]
    host.configure(http="faas_function probe { max nonsense; }")
    host.send(signal.SIGHUP)
    line = wait_until(lambda: host.log_has("[emerg]"))
    assert "nginx.conf:" in line
    host.allowed.append("nginx.conf:")
    assert host.get("/fn/probe").json["pid"] == pid
    host.reload(http="faas_function probe { max 2; }")
    assert host.get("/fn/probe").status == 200


def test_reload_that_adds_and_removes_the_host(faas):
    """faas_functions only appears with a reload, and goes with one."""

    host = faas(start=False)
    full = host.options["template"]
    start, end = full.index("    faas_functions"), full.index("    %(http)s")
    without = full[:start] + full[end:].replace("faas_pass;", "return 204;"
                                                ).replace(
        "faas_status;", "return 200;")
    host.deploy("probe", wait=False)
    host.configure(template=without)
    host.start()
    assert host.get("/fn/probe").status == 204
    assert not of_ours(host)

    host.reload(template=full)
    wait_until(lambda: host.get("/fn/probe").status == 200)


def test_reload_while_the_host_ends_starts_another(faas):
    host = faas(deploy=["probe"])
    host.allowed += ["the keeper is gone", "the host is gone"]
    held = host.hold("g")
    keeper = [pid for pid in host.processes() if "--keeper" in cmdline(pid)]
    host.send(signal.SIGKILL, keeper[0])
    wait_until(lambda: host.get("/fn/probe").status == 503)
    host.reload()
    wait_until(lambda: host.get("/fn/probe").status == 200)
    assert host.log_has("the host is gone, starting another")
    # no instance outlives its host, whatever it is doing
    assert held[0].result().status in (502, 503, 504)


def test_worker_shutdown_timeout_cuts_requests_and_leaves_nothing(faas):
    host = faas(deploy=["probe"],
                main="daemon off; worker_shutdown_timeout 200ms;", http="""
        faas_function probe { max 1; queue 10 timeout=1h; timeout 1h; }""")
    held = host.hold("g")
    waiting = [host.held("w") for _ in range(3)]
    wait_until(lambda: host.function("probe")["queue"]["waiting"] == 3)
    host.reload()
    for request in held + waiting:
        with pytest.raises((http.client.HTTPException, OSError)):
            request.result()
    # what it ran for nobody is finished, and what waited never began
    host.open("g")
    assert host.get("/fn/probe").status == 200
    assert host.entered("w") == []
    f = host.function("probe")
    assert (f["queue"]["waiting"], f["instances"]["idle"]) == (0, 1)


PRINTS = """
#include <stdio.h>
#include <faas.h>
static int prints(faas_request_t *r) {
    int  i;

    for (i = 0; i < 20000; i++) {
        printf("line %d, and more than a pipe holds of them\\n", i);
    }

    return fflush(stdout) == 0 ? faas_printf(r, "printed") : -1;
}
FAAS_FUNCTION(.handler = prints)
"""


def test_function_prints_on_while_there_is_no_supervisor(faas):
    host = faas(deploy={"prints": PRINTS})
    host.allowed.append("supervisor was killed by signal 9")
    for done in (1, 2, 3):
        host.send(signal.SIGKILL, process(host, "--supervise"))
        assert host.get("/fn/prints").text == "printed"
        wait_until(lambda: host.function_log("prints").count("line ")
                   == 20000 * done, "all lines")
        wait_until(lambda: process(host, "--supervise"))


def is_refused_as_ending(answer):
    return (answer.status, "host is ending" in answer.headers["Proxy-Status"],
            bool(answer.headers["Retry-After"])) == (503, True, True)


def test_keeper_killed_what_runs_finishes_and_the_rest_is_refused(faas):
    host = faas(deploy=["probe"], http="""
        faas_function probe { max 1; queue 10 timeout=1h; timeout 1h; }""")
    host.allowed += ["the keeper is gone", "the host is gone"]
    held = host.hold("g")
    waiting = [host.held("g") for _ in range(3)]
    wait_until(lambda: host.function("probe")["queue"]["waiting"] == 3)
    host.send(signal.SIGKILL, process(host, "--keeper"))

    # nobody waits for an instance that will not come
    for w in waiting:
        assert is_refused_as_ending(w.result())
    assert is_refused_as_ending(host.get("/fn/probe"))
    host.open("g")
    assert held[0].result().status == 200

    wait_until(lambda: not host.processes(), "the host's end")
    assert is_refused_as_ending(host.get("/fn/probe"))
    assert host.answers()
    host.reload()
    wait_until(lambda: host.get("/fn/probe").status == 200)


def test_keeper_and_supervisor_killed_all_is_refused_until_a_reload(faas):
    host = faas(deploy=["probe"], http="""
        faas_function probe { max 2; queue 10 timeout=1h; timeout 1h; }""")
    host.allowed += ["the host is gone"]
    held = host.hold("g", count=2)
    waiting = [host.held("g") for _ in range(3)]
    wait_until(lambda: host.function("probe")["queue"]["waiting"] == 3)
    keeper, supervisor = (process(host, option)
                          for option in ("--keeper", "--supervise"))
    # neither sees the other's end
    host.send(signal.SIGSTOP, keeper)
    host.send(signal.SIGKILL, supervisor)
    host.send(signal.SIGKILL, keeper)
    for w in waiting + held:
        assert is_refused_as_ending(w.result())
    wait_until(lambda: not host.processes(), "the end of what is left")
    wait_until(lambda: is_refused_as_ending(host.get("/fn/probe")))
    assert host.answers()
    host.reload()
    wait_until(lambda: host.get("/fn/probe").status == 200)
    assert host.log_has("the host is gone, functions are not served")


def test_binary_upgrade_shares_the_host(faas):
    # nginx refuses it while its starter is its parent
    host = faas(deploy=["probe"], main="daemon on;", start=False,
                http="faas_function probe { max 1; }")
    host.launch()
    assert host.process.wait(30) == 0
    wait_until(lambda: (host.dir / "nginx.pid").exists() and host.answers())
    first = host.get("/fn/probe").json["pid"]
    old = host.pid()

    host.send(signal.SIGUSR2)
    wait_until(lambda: (host.dir / "nginx.pid.oldbin").exists()
               and (host.dir / "nginx.pid").exists()
               and host.pid() != old and host.workers())
    new = host.pid()
    for _ in range(10):
        assert host.get("/fn/probe").json["pid"] == first

    # both masters' workers together never exceed max
    held = host.hold("g")
    waiting = [host.held("g") for _ in range(4)]
    wait_until(lambda: host.function("probe")["queue"]["waiting"] == 4)
    assert len(host.entered("g")) == 1
    host.open("g")
    assert {h.result().status for h in held + waiting} == {200}

    os.kill(old, signal.SIGQUIT)
    wait_until(lambda: not is_alive(old))
    assert host.get("/fn/probe").json["pid"] == first
    os.kill(new, signal.SIGQUIT)
    nothing_left(host)


def test_second_nginx_on_the_same_state_shares_or_is_refused(faas):
    host = faas(deploy=["probe"])
    assert host.get("/fn/probe").status == 200
    other = (host.dir / "other.conf")
    other.write_text((host.dir / "nginx.conf").read_text().replace(
        "nginx.pid", "other.pid").replace(
            ":%d;" % host.port, ":%d;" % free_port()))
    process = subprocess.Popen(
        [a.replace("nginx.conf", "other.conf") for a in host.command()],
        stderr=subprocess.PIPE, text=True, env=host.environment())
    host.others.append(process)
    wait_until(lambda: (host.dir / "other.pid").exists()
               or process.poll() is not None)
    assert host.get("/fn/probe").status == 200
    if process.poll() is None:
        process.send_signal(signal.SIGQUIT)
        process.wait(30)
    host.allowed.append("faas")
    assert host.get("/fn/probe").status == 200


@pytest.mark.skipif(not IS_ROOT, reason="is one already")
def test_ordinary_user_can_run_it(faas):
    host = faas(deploy=["probe"], user="nobody")
    assert host.get("/fn/probe").status == 200
    assert host.get("/fn/probe").json["calls"] == 2
    uid = os.stat("/proc/%d" % host.get("/fn/probe").json["pid"]).st_uid
    assert uid == os.stat(host.dir).st_uid
    for _ in range(2):
        host.reload()
    host.deploy("other")
    assert host.get("/fn/other").status == 200


@pytest.mark.skipif(not IS_ROOT, reason="root's matter")
def test_function_does_not_run_as_root_nor_as_nginx(faas):
    host = faas(deploy=["probe"])
    uid = os.stat("/proc/%d" % host.get("/fn/probe").json["pid"]).st_uid
    assert uid not in (0, pwd.getpwnam("www-data").pw_uid)


@pytest.mark.skipif(not IS_ROOT, reason="needs another user")
def test_function_that_runs_as_nginx_does_is_warned_of(faas):
    host = faas(deploy=["probe"], http="faas_user www-data;")
    assert host.get("/fn/probe").status == 200
    assert host.log_has("functions run as \"www-data\", as nginx's workers do")


def test_function_has_no_descriptor_of_another_process(faas):
    host = faas(deploy={"fds": """
#include <dirent.h>
#include <stdio.h>
#include <unistd.h>
#include <faas.h>

static int
fds(faas_request_t *r)
{
    DIR            *dir;
    char            path[300], target[300];
    ssize_t         n;
    struct dirent  *d;

    dir = opendir("/proc/self/fd");

    while ((d = readdir(dir)) != NULL) {
        snprintf(path, sizeof(path), "/proc/self/fd/%s", d->d_name);
        n = readlink(path, target, sizeof(target) - 1);

        if (n > 0) {
            target[n] = '\\0';
            faas_printf(r, "%s %s\\n", d->d_name, target);
        }
    }

    closedir(dir);
    return 0;
}

FAAS_FUNCTION(.handler = fds)
"""})
    text = host.get("/fn/fds").text
    assert text.count("eventfd") <= 1       # its own
    assert "board" not in text
    assert "error.log" not in text and "nginx" not in text
    assert text.count("\n") <= 12, text


def test_missing_supervisor_is_an_error_that_names_it(faas):
    host = faas(start=False)
    host.configure(template=host.options["template"].replace(
        "%(bin)s/faas-supervisor", "%(bin)s/no-such-program"))
    host.launch()
    assert host.process.wait(30) != 0
    host.process = None
    assert "no-such-program" in host.error_log() + host.output()
    host.allowed.append("no-such-program")


def test_state_directory_that_can_not_be_made_is_an_error_that_names_it(faas):
    host = faas(start=False)
    (host.dir / "state").write_text("a file")
    host.launch()
    assert host.process.wait(30) != 0
    host.process = None
    assert "state" in host.error_log() + host.output()
    host.allowed.append("state")
    (host.dir / "state").unlink()


def test_quick_starts_and_stops_leave_nothing(faas):
    host = faas(deploy=["probe"], start=False)
    for i in range(10):
        host.launch()
        if i % 2:
            wait_until(host.answers)
        else:
            wait_until(lambda: (host.dir / "nginx.pid").exists()
                       or host.process.poll() is not None)
        host.stop(signal.SIGTERM)
        nothing_left(host)


def descriptors(pid):
    """What a process holds; nothing when it is gone or not ours to see, as
    that of a function is for all but root."""

    links = set()
    try:
        for fd in os.listdir("/proc/%d/fd" % pid):
            links.add(os.readlink("/proc/%d/fd/%s" % (pid, fd)))
    except OSError:
        pass
    return links


def test_descriptors_given_to_nginx_do_not_reach_the_host(faas):
    """A pipe that nginx inherits ends when nginx does, not with an orphan of
    ours: else `make run | cat` would hang."""

    host = faas(deploy=["probe"], start=False)
    read_end, write_end = os.pipe()
    host.process = subprocess.Popen(
        host.command(), pass_fds=[write_end], stdin=subprocess.DEVNULL,
        env=host.environment())
    os.close(write_end)
    wait_until(host.answers)
    assert host.get("/fn/probe").status == 200
    pipe = os.readlink("/proc/self/fd/%d" % read_end)
    for pid in host.processes():
        assert pipe not in descriptors(pid), cmdline(pid)
    os.close(read_end)


def test_ports_of_nginx_are_free_when_only_the_host_lives(faas):
    """No process of ours holds a listening socket of nginx."""

    host = faas(deploy=["probe"])
    assert host.get("/fn/probe").status == 200
    inodes = set()
    with open("/proc/net/tcp") as file:
        for line in file.readlines()[1:]:
            fields = line.split()
            if int(fields[1].split(":")[1], 16) == host.port \
                    and fields[3] == "0A":
                inodes.add("socket:[%s]" % fields[9])
    assert inodes
    for pid in host.processes():
        if "nginx:" in cmdline(pid):
            continue
        assert not inodes & descriptors(pid), cmdline(pid)


def test_worker_killed_is_replaced_and_its_slots_come_back(faas):
    host = faas(deploy=["probe"], workers=2,
                http="faas_function probe { max 2; }")
    held = [Background(lambda: host.get("/fn/probe?gate=%s/g" % host.gates))
            for _ in range(2)]
    wait_until(lambda: len(host.entered("g")) == 2)
    for pid in host.workers():
        os.kill(pid, signal.SIGKILL)
    host.allowed += ["exited on signal 9"]
    host.open("g")
    for h in held:
        h.thread.join(30)
    wait_until(lambda: len(host.workers()) == 2)
    held = host.hold("h", count=2)
    host.open("h")
    assert {h.result().status for h in held} == {200}
    assert is_alive(host.process.pid)
