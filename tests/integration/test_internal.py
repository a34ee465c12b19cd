"""The server that functions call: its socket, its token, and how it comes and
goes with nginx."""

import ctypes
import grp
import http.client
import mmap
import os
import pwd
import signal
import socket
import stat
import subprocess

import pytest

import master

from harness import IS_ROOT, cmdline, free_port, wait_until

SERVER = """
    server { faas_internal;
             location / { faas_invoke; }
             location = /one { faas_invoke probe; } }"""


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self.path)


def call(host, path, token=None):
    headers = {"Faas-Token": token} if token is not None else {}
    c = UnixConnection(host.state / "internal.sock")
    return host.get(path, headers=headers, connection=c)


def token(host, name):
    """From the board itself, by way of the keeper, who holds it."""

    lib = master.library(host.compile.directory)
    for pid in host.processes():
        if "--keeper" not in cmdline(pid):
            continue
        for fd in os.listdir("/proc/%d/fd" % pid):
            path = "/proc/%d/fd/%s" % (pid, fd)
            if "memfd:faas-scoreboard" not in os.readlink(path):
                continue
            # the address of a writable buffer is all that ctypes can have
            with open(path, "r+b") as file:
                board = mmap.mmap(file.fileno(), 0)
            base = ctypes.addressof(ctypes.c_char.from_buffer(board))
            if name == "@events":
                return master.Header.at(base).events_token.decode()
            used = master.Header.at(base).functions_used
            for i in range(used):
                f = master.Function.at(lib.faas_scoreboard_function(base, i))
                if f.name.decode() == name:
                    return f.token.decode()
    raise AssertionError("no board, or no function " + name)


def test_internal_socket_is_for_root_and_the_functions_group(faas):
    host = faas(deploy=["probe"], http=SERVER)
    st = os.lstat(host.state / "internal.sock")
    assert stat.S_ISSOCK(st.st_mode)
    assert stat.S_IMODE(st.st_mode) == 0o660
    assert st.st_uid == os.geteuid()
    if IS_ROOT:
        try:
            user = pwd.getpwnam("faas")
        except KeyError:
            user = pwd.getpwnam("nobody")
        assert grp.getgrgid(st.st_gid).gr_gid == user.pw_gid
    host.stop()
    assert not (host.state / "internal.sock").exists()


def test_call_without_a_right_token_is_403_and_runs_nothing(faas):
    host = faas(deploy=["probe", "other"], http=SERVER)
    good = token(host, "other")
    assert len(good) >= 32
    for bad in (None, "", ":", "other", "other:", "other:" + good[:-1],
                "other:" + good + "0", "probe:" + good,
                "nothing:" + good, "OTHER:" + good, good,
                "other:" + "0" * len(good)):
        r = call(host, "/probe", bad)
        assert r.status == 403, bad
        # who calls can tell it from a function's own 403
        assert "error=http_request_denied" in r.headers["Proxy-Status"]
    r = call(host, "/probe", "other:" + good)
    assert r.status == 200
    assert "Proxy-Status" not in r.headers
    assert r.json["calls"] == 1
    assert call(host, "/one", "other:" + good).json["calls"] == 2
    assert call(host, "/nothing", "other:" + good).status == 404


def test_token_of_the_caller_does_not_reach_the_called(faas):
    host = faas(deploy=["probe"], http=SERVER)
    r = call(host, "/probe", "probe:" + token(host, "probe"))
    assert r.status == 200
    assert not [name for name in r.json["variables"] if "TOKEN" in name]
    assert token(host, "probe") not in r.text


def test_internal_server_is_on_no_other_address(faas):
    host = faas(deploy=["probe"], http=SERVER)
    r = host.get("/probe", headers={"Faas-Token": "probe:" + token(
        host, "probe")})
    assert r.status == 404


def test_stale_internal_socket_does_not_hinder_a_start(faas):
    host = faas(deploy=["probe"], http=SERVER, start=False)
    host.state.mkdir()
    path = host.state / "internal.sock"
    s = socket.socket(socket.AF_UNIX)
    s.bind(str(path))
    s.close()
    assert path.is_socket()
    host.start()
    assert call(host, "/probe").status == 403
    assert "deleting stale socket" in host.output() + host.error_log()


def test_what_is_no_socket_is_not_removed(faas):
    host = faas(start=False, http=SERVER)
    host.state.mkdir()
    (host.state / "internal.sock").write_text("precious")
    host.launch()
    assert host.process.wait(60) == 1
    host.process = None
    host.allowed.append("internal.sock")
    host.allowed.append("still could not bind")
    assert (host.state / "internal.sock").read_text() == "precious"


def test_internal_socket_stays_through_reload_and_upgrade(faas):
    host = faas(deploy=["probe"], http=SERVER, main="daemon on;",
                start=False)
    host.launch()
    assert host.process.wait(60) == 0
    wait_until(lambda: (host.dir / "nginx.pid").exists() and host.answers())
    inode = os.lstat(host.state / "internal.sock").st_ino

    for _ in range(3):
        before = set(host.workers())
        host.nginx("-s", "reload")
        wait_until(lambda: host.workers()
                   and not before & set(host.workers()))
        assert call(host, "/probe").status == 403
    assert os.lstat(host.state / "internal.sock").st_ino == inode

    old = host.pid()
    os.kill(old, signal.SIGUSR2)
    wait_until(lambda: (host.dir / "nginx.pid.oldbin").exists()
               and (host.dir / "nginx.pid").exists() and host.pid() != old
               and host.workers())
    os.kill(old, signal.SIGQUIT)
    wait_until(lambda: not (host.dir / "nginx.pid.oldbin").exists())
    assert call(host, "/probe").status == 403
    assert os.lstat(host.state / "internal.sock").st_ino == inode
    host.nginx("-s", "quit")
    wait_until(lambda: not host.left(), "all to end")


def test_internal_server_is_there_without_being_written(faas):
    host = faas(deploy=["probe"])
    assert stat.S_IMODE(os.lstat(host.state / "internal.sock").st_mode) \
        == 0o660
    assert call(host, "/probe").status == 403
    assert call(host, "/probe", "probe:" + token(host, "probe")).status == 200


def test_written_and_implicit_server_take_turns_with_reloads(faas):
    host = faas(deploy=["probe"], http=SERVER)
    inode = os.lstat(host.state / "internal.sock").st_ino
    good = "probe:" + token(host, "probe")
    host.deploy("other")
    one, two = call(host, "/one", good), call(host, "/other", good)
    assert one.status == two.status == 200 and one.json != two.json
    host.reload(http="")
    # no location of that name any more, no function either
    assert call(host, "/one", good).status == 404
    assert call(host, "/other", good).status == 200
    host.reload(http=SERVER)
    assert call(host, "/one", good).status == 200
    assert os.lstat(host.state / "internal.sock").st_ino == inode


OUTER = """
    client_max_body_size 1; auth_basic x; auth_basic_user_file /nowhere;
    deny all; error_page 403 404 500 503 =200 /x; add_header Outer x always;
    gzip on; gzip_min_length 1; gzip_types *; ssi on; ssi_types *;
    auth_request /x; mirror /y; expires 1h; charset utf-8;
    limit_conn_zone $server_addr zone=z:1m; limit_conn z 1;
    limit_req_zone $server_addr zone=y:1m rate=1r/m; limit_req zone=y;
    fastcgi_intercept_errors on; fastcgi_read_timeout 1s;
    add_before_body /x; keepalive_timeout 0; userid on;
    """


def test_implicit_server_is_not_what_the_outer_block_says(faas):
    host = faas(deploy=["probe"], http=OUTER, start=False)
    host.configure(template=host.options["template"].replace(
        "client_max_body_size 0;", ""))
    host.start(ready=False)
    good = "probe:" + wait_until(lambda: token(host, "probe"))
    for _ in range(3):
        c = UnixConnection(host.state / "internal.sock")
        r = host.post("/probe", b"x" * 5000, connection=c, headers={
            "Faas-Token": good, "Accept-Encoding": "gzip"})
        assert r.status == 200, r
        assert r.json["variables"]["CONTENT_LENGTH"] == "5000"
        for name in ("Outer", "Expires", "Content-Encoding", "Set-Cookie",
                     "P3P"):
            assert r.headers[name] is None
        assert c.sock is not None, "not kept"
    # mirror and the rest would have called it as well
    assert r.json["calls"] == 3
    r = call(host, "/probe?fail=1", good)
    assert r.status == 500 and r.headers["Faas-Error"]
    assert call(host, "/nothing", good).status == 404


def test_implicit_server_writes_no_access_log(faas):
    host = faas(deploy=["probe"], start=False)
    host.configure(template=host.options["template"].replace(
        "access_log off;", "access_log %(dir)s/access.log;"))
    host.start()
    good = "probe:" + token(host, "probe")
    assert call(host, "/probe?text=secret", good).status == 200
    assert host.get("/fn/probe?text=mark").status == 200
    log = host.dir / "access.log"
    wait_until(lambda: "mark" in log.read_text())
    assert "secret" not in log.read_text()


def test_calls_go_through_the_nginx_that_was_there_first(faas):
    host = faas(deploy=["probe"])
    inode = os.lstat(host.state / "internal.sock").st_ino
    conf = host.dir / "other.conf"
    conf.write_text((host.dir / "nginx.conf").read_text().replace(
        "nginx.pid", "other.pid").replace(
            ":%d;" % host.port, ":%d;" % free_port()))
    other = subprocess.Popen(
        [a.replace("nginx.conf", "other.conf") for a in host.command()],
        env=host.environment(), stderr=subprocess.DEVNULL)
    host.others.append(other)
    wait_until(lambda: (host.dir / "other.pid").exists())
    assert host.log_has("another nginx listens")
    good = "probe:" + token(host, "probe")
    assert call(host, "/probe", good).status == 200
    other.send_signal(signal.SIGQUIT)
    assert other.wait(30) == 0
    assert os.lstat(host.state / "internal.sock").st_ino == inode
    assert call(host, "/probe", good).status == 200


def test_nginx_that_does_not_start_takes_its_socket_along(faas):
    host = faas(start=False)
    host.configure(template=host.options["template"].replace(
        "%(bin)s/faas-supervisor", "/nowhere/faas-supervisor"))
    host.launch()
    assert host.process.wait(60) == 1
    host.process = None
    host.allowed.append("faas")
    assert not (host.state / "internal.sock").exists()


# -- calls --------------------------------------------------------------------

def events(host):
    return "@events:" + token(host, "@events")


def invoke(host, path="/", method="GET", body=None, **headers):
    headers = {name.replace("_", "-"): str(value)
               for name, value in headers.items()}
    headers.setdefault("Faas-Token", events(host))
    c = UnixConnection(host.state / "internal.sock")
    return host.get(path, method, body=body, headers=headers, connection=c)


def test_events_process_has_a_token_of_its_own(faas):
    host = faas(deploy=["probe"])
    good = token(host, "@events")
    assert len(good) >= 32
    for bad in ("@events:", "@events:" + good[:-1], "events:" + good,
                "@events:" + "0" * len(good), "probe:" + good,
                "@events:" + token(host, "probe"), "@event:" + good):
        assert call(host, "/probe", bad).status == 403, bad
    assert call(host, "/probe", "@events:" + good).status == 200


def test_function_cannot_say_in_our_name_that_it_did_not_run(faas):
    host = faas(deploy=["probe"])
    good = "@events:" + token(host, "@events")
    for value, kept in (("nginx-faas;%20error=destination_unavailable", None),
                        ("other;%20error=dns_error",
                         "other; error=dns_error")):
        r = call(host, "/probe?status=503&header=proxy-STATUS:" + value, good)
        assert r.status == 503
        assert r.headers["Proxy-Status"] == kept
    r = call(host, "/nothing", good)
    assert r.headers["Proxy-Status"].startswith(
        "nginx-faas; error=destination_not_found")


def test_wrong_token_learns_nothing_of_what_there_is(faas):
    host = faas(deploy=["probe"])
    for path in ("/probe", "/nothing"):
        assert call(host, path, "probe:x").status == 403


ROUTED = ("probe.c", "-DPROBE_DESCRIPTOR=, .routes = "
          "\"GET /users/(?<id>[0-9]+)\"")


def test_function_is_chosen_by_header_whatever_the_path(faas):
    host = faas(deploy={"probe": "probe.c", "other": ROUTED})
    own = invoke(host, "/probe").json
    r = invoke(host, "/probe/x?a=b", Faas_Function="other")
    assert r.status == 200
    v = r.json["variables"]
    assert r.json["pid"] != own["pid"]
    assert v["SCRIPT_NAME"] == "/other" and v["PATH_INFO"] == "/probe/x"
    assert v["QUERY_STRING"] == "a=b"
    v = invoke(host, "/other/x", Faas_Function="other").json["variables"]
    assert v["SCRIPT_NAME"] == "/other" and v["PATH_INFO"] == "/x"
    v = invoke(host, "/other", "POST", b"m",
               Faas_Function="other").json["variables"]
    assert v["SCRIPT_NAME"] == "/other" and v["PATH_INFO"] == ""
    assert v["REQUEST_METHOD"] == "POST"


def test_path_of_a_chosen_function_gives_captures(faas):
    host = faas(deploy={"probe": "probe.c", "other": ROUTED})
    v = invoke(host, "/users/12", Faas_Function="other").json["variables"]
    assert v["FAAS_PARAMS"] == "id=12" and v["FAAS_PATH"] == "/users/12"
    v = invoke(host, "/users/x", Faas_Function="other").json["variables"]
    assert v.get("FAAS_PARAMS", "") == ""
    v = invoke(host, "/users/12", Faas_Function="probe").json["variables"]
    assert v.get("FAAS_PARAMS", "") == ""


@pytest.mark.parametrize("name", ["nothing", "Probe", "../probe", "_calls",
                                  "probe,probe", "*"])
def test_chosen_function_that_is_not_there_is_404(faas, name):
    host = faas(deploy=["probe"])
    r = invoke(host, "/probe", Faas_Function=name)
    assert r.status == 404
    assert "destination_not_found" in r.headers["Proxy-Status"]


def test_location_with_a_name_gives_way_to_the_header(faas):
    host = faas(deploy=["probe", "other"], http=SERVER)
    assert invoke(host, "/one", Faas_Function="other").json["pid"] \
        == invoke(host, "/other").json["pid"]


@pytest.mark.parametrize("depth,status", [
    (None, 200), ("0", 200), ("1", 200), ("16", 200), ("17", 508),
    ("99999999999999999999999", 508), ("-1", 508), ("1x", 508), (" ", 508)])
def test_calls_below_each_other_end_at_sixteen(faas_module, depth, status):
    host = shared(faas_module)
    r = invoke(host, "/probe", **({} if depth is None
                                  else {"Faas_Depth": depth}))
    assert r.status == status
    if status == 200:
        assert r.json["variables"]["HTTP_FAAS_DEPTH"] == (depth or "1")
    else:
        assert r.headers["Proxy-Status"] == (
            "nginx-faas; error=proxy_loop_detected; details=\"functions call "
            "each other too deeply\"")
        before = host.function("probe")["totals"]
        assert before["outcomes"]["loop"] >= 1


HOSTS = []


def shared(faas_module):
    if not HOSTS:
        HOSTS.append(faas_module(deploy=["probe"]))
    return HOSTS[0]


def test_request_id_and_trace_of_the_caller_go_on(faas_module):
    host = shared(faas_module)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    r = invoke(host, "/probe", X_Request_ID="caller-1", traceparent=trace,
               Idempotency_Key="k")
    v = r.json["variables"]
    assert v["REQUEST_ID"] == "caller-1"
    assert v["HTTP_TRACEPARENT"] == trace
    assert v["HTTP_IDEMPOTENCY_KEY"] == "k"


EVENT = {"Event": "queue", "Name": "orders", "Id": "i1", "Attempt": "2",
         "Sent": "5", "Due": "6", "Fence": "7", "Messages": "3"}


def test_headers_of_an_event_reach_the_function_from_inside_only(faas_module):
    host = shared(faas_module)
    headers = {"Faas-" + name: value for name, value in EVENT.items()}
    v = invoke(host, "/probe", **{name.replace("-", "_"): value
                                  for name, value in headers.items()}
               ).json["variables"]
    for name, value in EVENT.items():
        assert v["HTTP_FAAS_" + name.upper()] == value
    assert "HTTP_FAAS_TOKEN" not in v and "HTTP_FAAS_FUNCTION" not in v

    # a function is no events process
    v = invoke(host, "/probe", Faas_Token="probe:" + token(host, "probe"),
               **{name.replace("-", "_"): value
                  for name, value in headers.items()}).json["variables"]
    assert [name for name in v if name.startswith("HTTP_FAAS_")] \
        == ["HTTP_FAAS_DEPTH"]

    headers.update({"Faas-Depth": "1", "Faas-Function": "x",
                    "Faas-Token": "y", "faas-event": "z"})
    v = host.get("/fn/probe", headers=headers).json["variables"]
    assert not [name for name in v if name.startswith("HTTP_FAAS_")]


def test_underscores_do_not_smuggle_an_event_in(faas):
    host = faas(deploy=["probe"], server="underscores_in_headers on;")
    v = host.get("/fn/probe", headers={"Faas_Event": "queue",
                                       "FAAS_DEPTH": "1"}).json["variables"]
    assert not [name for name in v if name.startswith("HTTP_FAAS_")]


def test_timeout_of_the_caller_shortens_the_budget(faas):
    host = faas(deploy=["probe"])
    r = invoke(host, "/probe?gate=%s/never" % host.gates, Faas_Timeout="0.2")
    assert r.status == 504
    host.open("never")


def test_log_of_a_written_server_names_the_caller(faas):
    host = faas(deploy=["probe"], start=False)
    host.configure(http="""
        log_format calls "$faas_caller $faas_depth $faas_function "
                         "$faas_outcome $faas_async $faas_event";
        server { faas_internal; access_log %s/calls.log calls;
                 location / { faas_invoke; } }""" % host.dir)
    host.start()
    assert invoke(host, "/probe", Faas_Event="timer").status == 200
    assert invoke(host, "/probe", Faas_Token="probe:" + token(host, "probe"),
                  Faas_Event="timer", Faas_Depth="17").status == 508
    log = host.dir / "calls.log"
    wait_until(lambda: len(log.read_text().splitlines()) == 2)
    assert log.read_text().splitlines() == [
        "@events 1 probe ok 0 timer", "probe 17 probe loop 0 -"]


@pytest.mark.skipif(not IS_ROOT, reason="root's matter")
def test_strangers_can_not_connect(faas):
    host = faas(deploy=["probe"], http=SERVER)
    stranger = pwd.getpwnam("daemon")
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setgid(stranger.pw_gid)
        os.setuid(stranger.pw_uid)
        try:
            socket.socket(socket.AF_UNIX).connect(
                str(host.state / "internal.sock"))
        except PermissionError:
            os._exit(0)
        except BaseException:
            os._exit(2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
