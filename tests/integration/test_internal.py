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

import pytest

import master

from harness import IS_ROOT, cmdline, wait_until

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
        assert call(host, "/probe", bad).status == 403, bad
    r = call(host, "/probe", "other:" + good)
    assert r.status == 200
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


def test_internal_server_that_goes_with_a_reload_takes_its_socket(faas):
    host = faas(deploy=["probe"], http=SERVER)
    host.reload(http="")
    wait_until(lambda: not (host.state / "internal.sock").exists())
    host.reload(http=SERVER)
    wait_until(lambda: call(host, "/probe").status == 403)


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
