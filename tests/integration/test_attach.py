"""nginx's end of the host, against a supervisor that does what the test
wants (fake_supervisor.py): what it is told, how it is started, and what nginx
makes of bad answers."""

import json
import os
import pwd
import shutil
import signal
import subprocess

import pytest

import harness
from harness import IS_ROOT, ROOT, is_alive, wait_until

FAKE = ROOT / "tests/integration/fake_supervisor.py"

CONF = """\
load_module %(bin)s/ngx_http_faas_module.so;
%(user)s
%(main)s
env SECRET=of-nginx;
worker_processes %(workers)d;
pid %(dir)s/nginx.pid;
error_log %(dir)s/error.log %(log_level)s;
events { worker_connections %(connections)d; }
http {
    access_log off;
    client_body_temp_path %(dir)s/tmp/body;
    fastcgi_temp_path %(dir)s/tmp/fastcgi;
    proxy_temp_path %(dir)s/tmp/proxy;
    scgi_temp_path %(dir)s/tmp/scgi;
    uwsgi_temp_path %(dir)s/tmp/uwsgi;
    faas_functions %(dir)s/functions;
    faas_state %(dir)s/state;
    faas_supervisor %(dir)s/faas-supervisor;
    %(http)s
    server {
        listen 127.0.0.1:%(port)d;
        %(server)s
        location /fn/ { faas_pass; %(location)s }
        location = /faas/ { return 200; }
    }
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("library") / "scoreboard.so"
    done = subprocess.run(
        ["cc", "-shared", "-fPIC", "-std=gnu11", "-D_GNU_SOURCE", "-I",
         str(ROOT / "scoreboard"), "-o", str(path)]
        + [str(p) for p in sorted((ROOT / "scoreboard").glob("*.c"))],
        capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture
def fake(faas, library, tmp_path):
    def make(start=True, **behaviour):
        host = faas(start=False, template=CONF)
        shutil.copy(FAKE, host.dir / "faas-supervisor")
        (host.dir / "faas-supervisor").chmod(0o755)
        shutil.copy(library, host.dir / "scoreboard.so")
        host.behaviour = dict(ready="ready\n", listen=True, answer="board",
                              reload="accepted", pages=[], release="0.1.0",
                              layout=harness.layout(),
                              library=str(host.dir / "scoreboard.so"))
        behave(host, **behaviour)
        if start:
            host.start()
        return host

    return make


def behave(host, **behaviour):
    host.behaviour.update(behaviour)
    (host.dir / "behaviour").write_text(json.dumps(host.behaviour))


def seen(host, event=None):
    path = host.dir / "seen"
    lines = path.read_text().splitlines() if path.exists() else []
    return [what for what in map(json.loads, lines)
            if event in (None, what["event"])]


def fails(host, *texts):
    """nginx must not start, and say why."""

    host.launch()
    assert host.process.wait(60) == 1
    host.process = None
    output = host.error_log() + host.output()
    for text in texts:
        assert text in output, output
    host.allowed.append("faas")
    host.allowed.append("control")


# -- how it is started ----------------------------------------------------------

def test_keeper_is_started_with_nothing_of_nginx(fake):
    os.environ["FAAS_TEST_SECRET"] = "of the shell"
    try:
        host = fake()
    finally:
        del os.environ["FAAS_TEST_SECRET"]

    start = seen(host, "start")[0]
    assert start["arguments"] == ["--keeper", "--state", str(host.state)]
    assert start["ppid"] != host.pid()
    assert start["session"] != start["pid"], "it could get a terminal"
    assert start["session"] != os.getsid(host.pid())
    assert start["directory"] == "/"
    assert start["umask"] == 0o22
    assert start["blocked"] == []
    # Python itself ignores SIGPIPE and SIGXFSZ
    assert set(start["ignored"]) <= {signal.SIGPIPE, signal.SIGXFSZ}
    assert "FAAS_TEST_SECRET" not in start["environment"]
    assert "SECRET" not in start["environment"]
    assert start["environment"].get("PATH") == os.environ["PATH"]

    links = {int(fd): link for fd, link in start["descriptors"].items()}
    assert sorted(fd for fd in links if fd < 5) == [0, 1, 2, 3, 4]
    assert links[0] == "/dev/null"
    assert links[1] == links[2] == str(host.dir / "error.log")
    assert links[3].startswith("pipe:")
    assert "faas-config" in links[4]
    for fd, link in links.items():
        assert fd < 5 or "socket" not in link and "memfd" not in link, links


def test_configuration_is_told_as_text(fake):
    host = fake(start=False)
    host.configure(log_level="warn", http="""
        faas_user nobody; faas_deployer root; faas_scoreboard 1m;
        faas_memory 1g;
        faas_core on keep=7 body=64k;
        faas_function * { max 64; queue 500 timeout=1m; memory 1g; }
        faas_function a-1 {
            mode oneshot; min 1; max 3; spare 2; queue 5 timeout=1500ms;
            timeout 7s; init_timeout 2s; idle_timeout 3m;
            template_timeout 0; max_requests 1; memory 64m; accel on;
            user nobody; routes "/a b/%"; env A=b; env "B= c%=\\n";
        }
        faas_function b { }""")
    host.start()

    lines = seen(host, "start")[0]["text"].splitlines()
    user = pwd.getpwnam("www-data") if IS_ROOT else pwd.getpwuid(os.getuid())
    assert lines == [
        "functions %s" % host.functions,
        "state %s" % host.state,
        "user nobody",
        "deployer root",
        "error_log %s" % (host.dir / "error.log"),
        "worker_uid %d" % user.pw_uid,
        "group %d" % user.pw_gid,
        "log_level 5",
        "scoreboard 1048576",
        "memory 1073741824",
        "core 1",
        "core_keep 7",
        "core_body 65536",
        "function *",
        " max 64",
        " queue 500",
        " queue_timeout 60000",
        " memory 1073741824",
        "function a-1",
        " mode oneshot",
        " min 1",
        " max 3",
        " spare 2",
        " queue 5",
        " queue_timeout 1500",
        " timeout 7000",
        " init_timeout 2000",
        " idle_timeout 180000",
        " template_timeout 0",
        " max_requests 1",
        " memory 67108864",
        " accel 1",
        " user nobody",
        " routes /a%20b/%25",
        " env A=b",
        " env B=%20c%25=%0a",
        "function b",
    ]

    attach = seen(host, "attach")[0]
    assert attach["text"].splitlines() == lines
    assert attach["seals"] & 0xf == 0xf
    assert attach["release"] == "0.1.0"


def test_workers_tell_their_records_and_helpers_do_not(fake):
    host = fake(start=False)
    host.configure(workers=3, http="""
        fastcgi_cache_path %(dir)s/cache keys_zone=z:1m;""" % {
            "dir": host.dir})
    host.start()
    wait_until(lambda: len(seen(host, "worker")) == 3)
    assert sorted(w["record"] for w in seen(host, "worker")) == [0, 1, 2]


def test_host_ends_with_nginx_however_that_ends(fake):
    for number in (signal.SIGQUIT, signal.SIGTERM, signal.SIGKILL):
        host = fake()
        master, workers = host.pid(), list(host.workers())
        pid = seen(host, "start")[0]["pid"]
        os.kill(master, number)
        host.process.wait(30)
        if number == signal.SIGKILL:
            # orphaned workers serve on, and so does the host
            assert host.answers() and is_alive(pid)
            for worker in workers:
                os.kill(worker, number)
        wait_until(lambda: not is_alive(pid))


# -- what it may answer at the start ---------------------------------------------

def test_keeper_that_says_nothing_is_an_error(fake):
    fails(fake(start=False, ready=None), "ended before it was ready")


def test_keeper_that_says_why_is_quoted(fake):
    fails(fake(start=False, ready="error: no room here\n"),
          "the host did not start: no room here")


@pytest.mark.parametrize("text", ["hello\n", "readyready\n", "x" * 3000])
def test_program_that_is_no_supervisor_is_an_error(fake, text):
    fails(fake(start=False, ready=text), "is no faas-supervisor")


def test_host_without_a_control_socket_is_an_error(fake):
    fails(fake(start=False, listen=False), "connect() to", "/control")


def test_refusal_is_quoted(fake):
    fails(fake(start=False, answer="refused"), "refused: not today",
          "did not let nginx attach")


def test_other_layout_is_an_error_that_names_both(fake):
    fails(fake(start=False, answer="layout"),
          "of layout %d," % (harness.layout() + 7),
          "release 0.1.0, of layout %d:" % harness.layout())


@pytest.mark.parametrize("answer", ["end", "magic", "size", "eventfds"])
def test_bad_answer_to_attach_is_an_error(fake, answer):
    texts = {"end": "did not let nginx attach",
             "magic": "recvmsg() from",
             "size": "has not the size",
             "eventfds": "sent no eventfds"}
    fails(fake(start=False, answer=answer), texts[answer])


def test_board_of_another_kind_is_an_error_that_names_both(fake, library):
    host = fake(start=False, release="9.9.9")
    done = subprocess.run(
        ["cc", "-shared", "-fPIC", "-std=gnu11", "-D_GNU_SOURCE", "-o",
         str(host.dir / "scoreboard.so"),
         "-DFAAS_SCOREBOARD_LAYOUT=%d" % (harness.layout() + 4),
         str(ROOT / "scoreboard/faas_scoreboard.c"),
         str(ROOT / "scoreboard/faas_slot.c")],
        capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    fails(host, "release 9.9.9", "release 0.1.0", "layout")


def test_other_release_of_the_same_layout_is_a_warning(fake):
    host = fake(release="0.1.9")
    line = host.log_has("is of release 0.1.9")
    assert "[warn]" in line and "release 0.1.0" in line


# -- reload ----------------------------------------------------------------------

def reload(host, **options):
    before = len(host.error_log())
    host.configure(**options)
    host.send(signal.SIGHUP)
    return lambda text: wait_until(
        lambda: text in host.error_log()[before:], "%r in the log" % text)


def test_reload_sends_the_new_configuration(fake):
    host = fake(reload="note")
    says = reload(host, http="faas_function new { max 5; }")
    says("[warn]")
    says("something was clamped")
    assert "function new\n max 5\n" in seen(host, "reload")[0]["text"]
    assert len(seen(host, "start")) == 1


def test_refused_reload_is_logged_and_nginx_goes_on(fake):
    host = fake(reload="refused")
    first = set(host.workers())
    says = reload(host)
    says("refused the new configuration, the old one stays in force: "
         "not this one")
    wait_until(lambda: host.workers() and not first & set(host.workers()))
    assert host.answers()


def test_host_that_is_gone_at_a_reload_is_started_anew(fake):
    host = fake(reload="end")
    host.allowed.append("host is gone")
    says = reload(host)
    says("the host is gone, starting another")
    wait_until(lambda: len(seen(host, "start")) == 2)
    wait_until(lambda: len(seen(host, "worker")) >= 4)
    assert host.answers()


def test_host_that_can_not_be_started_at_a_reload_does_not_end_nginx(fake):
    host = fake(reload="end")
    host.allowed.extend(["host is gone", "faas"])
    behave(host, ready="error: no room here\n")
    says = reload(host)
    says("there is no host, functions are not served")
    wait_until(lambda: host.get("/fn/x").status == 503)

    # and the next reload mends it

    behave(host, ready="ready\n")
    says = reload(host)
    says("attached to the host")


def test_changed_state_needs_a_restart(fake):
    host = fake()
    template = CONF.replace("faas_state %(dir)s/state;",
                            "faas_state %(dir)s/other;")
    says = reload(host, template=template)
    says("\"faas_state\" changed from")
    says("which needs a restart")
    assert not seen(host, "reload")


def test_faas_functions_that_goes_lets_the_host_end(fake):
    host = fake()
    start, end = CONF.index("    faas_functions"), CONF.index("    %(http)s")
    reload(host, template=CONF[:start] + CONF[end:].replace(
        "faas_pass;", "return 204;"))
    wait_until(lambda: seen(host, "end"))
    wait_until(lambda: host.get("/fn/x").status == 204)


def test_silent_host_does_not_keep_a_reload_waiting_for_ever(fake):
    host = fake(reload="nothing")
    first = set(host.workers())
    says = reload(host)
    says("has not said that the new configuration is in force")
    wait_until(lambda: host.workers() and not first & set(host.workers()))

    # an answer that comes late is not taken for that of the next one

    assert host.answers()


# -- pages -------------------------------------------------------------------------

def test_pages_are_checked_before_they_are_mapped(fake):
    host = fake(start=False, pages=[[0, "good"], [1, "unsealed"],
                                    [2, "short"], [1000000, "good"],
                                    [3, "good"], [0, "good"]])
    host.configure(workers=1)
    host.allowed.append("page of slot")
    host.start()
    wait_until(lambda: host.log_has("page of slot 1000000"))
    assert host.log_has("page of slot 1 is not sealed")
    assert host.log_has("page of slot 2 is not sealed")
    wait_until(lambda: maps(host) == 2, "two pages mapped")


def maps(host):
    with open("/proc/%d/maps" % list(host.workers())[0]) as file:
        return sum("memfd:page" in line for line in file)


def test_worker_connects_again_when_the_supervisor_is_back(fake):
    host = fake(start=False, pages=[[0, "good"]])
    host.configure(workers=1)
    host.allowed += ["could not connect", "the host is gone"]
    host.start()
    wait_until(lambda: maps(host) == 1)

    os.kill(seen(host, "start")[0]["pid"], signal.SIGKILL)
    wait_until(lambda: host.log_has("supervisor has closed the connection"))
    assert maps(host) == 1, "what is mapped stays"

    # the same host again, by hand

    with open(os.devnull, "r+") as null:
        again = harness.popen(
            [host.dir / "faas-supervisor", "--keeper", "--state", host.state],
            [null.fileno()] * 2)
    host.others.append(again)
    wait_until(lambda: len(seen(host, "worker")) == 2)
    wait_until(lambda: maps(host) == 1)
    assert seen(host, "worker")[0] == seen(host, "worker")[1]

    again.kill()
    again.wait()
    (host.state / "control").unlink()


def test_worker_without_a_supervisor_quits_in_peace(fake):
    host = fake()
    host.allowed += ["could not connect", "the host is gone"]
    os.kill(seen(host, "start")[0]["pid"], signal.SIGKILL)
    wait_until(lambda: host.log_has("supervisor has closed the connection"))
    os.kill(host.pid(), signal.SIGQUIT)
    assert host.process.wait(30) == 0
    (host.state / "control").unlink()


# -- without the module -------------------------------------------------------------

def descriptors(host):
    return len(os.listdir("/proc/%d/fd" % host.pid()))


def test_module_that_goes_lets_the_host_end(fake):
    host = fake()
    before = descriptors(host)
    start, end = CONF.index("    faas_functions"), CONF.index("    %(http)s")
    without = CONF[CONF.index("%(user)s"):start] + CONF[end:].replace(
        "faas_pass;", "return 204;")
    for n in range(1, 4):
        reload(host, template=without)
        wait_until(lambda: len(seen(host, "end")) == n)
        wait_until(lambda: host.get("/fn/x").status == 204)
        wait_until(lambda: descriptors(host) < before - 250)
        reload(host, template=CONF)
        wait_until(lambda: len(seen(host, "start")) == n + 1)
        wait_until(lambda: len(seen(host, "worker")) == 2 * (n + 1))
    wait_until(lambda: descriptors(host) == before)
