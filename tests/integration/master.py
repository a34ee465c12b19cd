"""Plays nginx to a real faas-supervisor: a master that starts the keeper and
attaches, and workers that claim records and use slots.  The board is mapped
and used through scoreboard/*.c itself, compiled as a library."""

import contextlib
import ctypes
import fcntl
import hashlib
import mmap
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import tempfile

import pytest

import fcgi_client
import harness

from harness import wait_until

INCLUDE = harness.ROOT / "worker" / "include"

MAGIC, WORKERS = 0x43414146, 256
LAYOUT = harness.layout()
(ATTACH, BOARD, EVENTFDS, REFUSED, RELOAD, ACCEPTED, WORKER,
 PAGE) = range(1, 9)

FUNCTION = ["free", "loading", "ready", "failed", "removed"]
VERSION = ["free", "loading", "ready", "draining", "failed"]
SLOT = ["free", "starting", "idle", "busy", "handed", "draining",
        "condemned", "retiring"]
OUTCOME_OK = 0

u8, u32, u64, i32 = (ctypes.c_uint8, ctypes.c_uint32, ctypes.c_uint64,
                     ctypes.c_int32)


class Struct(ctypes.Structure):
    @classmethod
    def at(cls, address):
        return cls.from_address(address)


class Text(Struct):
    _fields_ = [("sequence", u32), ("length", u32),
                ("data", ctypes.c_char * 256)]


class Death(Struct):
    _fields_ = [("at", u64), ("kind", u32), ("code", u32), ("slot", u32),
                ("version", ctypes.c_char * 12)]


DEATHS = ["signal", "exit", "oom", "timeout", "killed", "start", "stuck",
          "template", "lost"]


class Tally(Struct):
    _fields_ = [("total", u64), ("count", u64 * 9), ("last", Death * 8)]

    def counts(self):
        return {k: n for k, n in zip(DEATHS, self.count) if n}

    def kinds(self):
        """[(kind, code)] of the last ones, newest first."""

        last = [self.last[i % 8] for i in range(max(0, self.total - 8),
                                                self.total)]
        return [(DEATHS[d.kind], d.code) for d in reversed(last)]


class Limits(Struct):
    _fields_ = [(n, u32) for n in (
        "mode min max spare queue queue_timeout_ms timeout_ms "
        "init_timeout_ms idle_timeout_ms template_timeout_ms max_requests "
        "idempotent accel reserved").split()] + [("memory_bytes", u64)]


class Function(Struct):
    _fields_ = [("state", u32), ("generation", u32),
                ("name", ctypes.c_char * 64), ("current", u32),
                ("limits_sequence", u32), ("limits", Limits),
                ("instances", u32), ("service_us", u32), ("start_us", u32),
                ("backoff", u32), ("backoff_until_ms", u64), ("starts", u64),
                ("cold_starts", u64), ("deaths", u64), ("kills", u64),
                ("deploys", u64), ("kick", u32), ("backoff_row", u32),
                ("waiting_mask", u64 * 4), ("token", ctypes.c_char * 40),
                ("last_error", Text), ("tally", Tally), ("failure", Text),
                ("failed_at", u64), ("good", ctypes.c_char * 65),
                ("reserved", u8 * 7)]


class Version(Struct):
    _fields_ = [("state", u32), ("generation", u32), ("function", u32),
                ("chunks", u32), ("chunk", u32 * 16),
                ("id", ctypes.c_char * 12), ("sha256", ctypes.c_char * 65),
                ("label", ctypes.c_char * 64), ("reserved0", u8 * 3),
                ("init_pid", i32), ("template_pid", i32),
                ("deployed_at", u64), ("proven", u32),
                ("reserved", u8 * 252)]


class Slot(Struct):
    _fields_ = [("word", u64), ("handed_ms", u64), ("idle_ms", u64),
                ("started_ms", u64), ("pid", i32), ("served", u32),
                ("cold", u32), ("inner_pid", i32), ("requests", u32),
                ("base", u32), ("cause", u32), ("oom", u32)]

    @property
    def state(self):
        return SLOT[self.word & 15]

    @property
    def owner(self):
        return self.word >> 4 & 0xfff

    @property
    def generation(self):
        return self.word >> 16


class Chunk(Struct):
    _fields_ = [("owner", u32), ("slots", u32), ("idle", u64),
                ("handed", u64), ("reserved", u64 * 5), ("slot", Slot * 64),
                ("born", u64 * 64)]


class Cell(Struct):
    _fields_ = [("admitted", u32), ("waiting", u32), ("oldest_ms", u64)] + [
        (n, u64) for n in ("arrivals attempts service_us queue_us warm "
                           "retries bytes_in bytes_out finished").split()
    ] + [("outcome", u64 * 12), ("reserved", u64 * 9)]


class WorkerRecord(Struct):
    _fields_ = [("pid", i32), ("ready", u32), ("started", u64),
                ("reserved", u8 * 48)]


class Header(Struct):
    _fields_ = [("magic", u64), ("layout", u32), ("header_size", u32),
                ("size", u64), ("functions", u32), ("versions", u32),
                ("chunks", u32), ("workers", u32), ("route_size", u64),
                ("workers_offset", u64), ("functions_offset", u64),
                ("versions_offset", u64), ("chunks_offset", u64),
                ("cells_offset", u64), ("routes_offset", u64 * 2),
                ("release", ctypes.c_char * 32), ("supervisor_pid", i32),
                ("functions_used", u32), ("workers_used", u32),
                ("draining", u32), ("route_epoch", u64), ("restarts", u64),
                ("started_at", u64), ("last_error", Text),
                ("events_token", ctypes.c_char * 40)]


def library(directory):
    """scoreboard/*.c as this process can call it."""

    path = pathlib.Path(directory) / "libscoreboard.so"
    if not path.exists():
        new = path.with_suffix(".%d" % os.getpid())
        subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O1", "-shared",
                        "-fPIC", "-o", new] + sorted(
                            (harness.ROOT / "scoreboard").glob("*.c")),
                       check=True)
        new.rename(path)
    lib = ctypes.CDLL(str(path))
    for name in ("worker", "function", "version", "chunk", "slot"):
        f = getattr(lib, "faas_scoreboard_" + name)
        f.restype, f.argtypes = ctypes.c_void_p, [ctypes.c_void_p, u32]
    lib.faas_scoreboard_cell.restype = ctypes.c_void_p
    lib.faas_scoreboard_cell.argtypes = [ctypes.c_void_p, u32, u32]
    lib.faas_scoreboard_check.restype = ctypes.c_char_p
    lib.faas_scoreboard_check.argtypes = [ctypes.c_void_p, u64]
    lib.faas_worker_claim.restype = u32
    lib.faas_worker_claim.argtypes = [ctypes.c_void_p, i32, u64]
    lib.faas_slot_acquire.argtypes = [ctypes.c_void_p, u32, u32,
                                      ctypes.POINTER(u32),
                                      ctypes.POINTER(u64)]
    lib.faas_slot_take_handed.argtypes = lib.faas_slot_acquire.argtypes
    lib.faas_slot_change.argtypes = [ctypes.c_void_p, u32, u64, ctypes.c_int,
                                     u32]
    return lib


class Refused(Exception):
    pass


def packet(kind, payload=b"", magic=MAGIC, layout=LAYOUT):
    return struct.pack("=IIII", magic, layout, kind, len(payload)) + payload


def receive(s):
    """(type, payload, fds), None at the end of the stream."""

    data, fds, _, _ = socket.recv_fds(s, 8192, 128)
    if not data:
        return None
    magic, layout, kind, length = struct.unpack("=IIII", data[:16])
    assert (magic, layout, len(data)) == (MAGIC, LAYOUT, 16 + length)
    return kind, data[16:], fds


def config_memfd(text):
    fd = os.memfd_create("config")
    os.write(fd, text.encode())
    return fd


def start_time(pid):
    text = pathlib.Path("/proc/%d/stat" % pid).read_text()
    return int(text.rsplit(")", 1)[1].split()[19])


def sha256(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


class Worker:
    """An nginx worker: a record of the process pid, by default this one."""

    def __init__(self, host, pid=None):
        self.host = host
        self.pid = pid or os.getpid()
        self.index = host.lib.faas_worker_claim(host.base, self.pid,
                                                start_time(self.pid))
        assert self.index < WORKERS
        self.record = WorkerRecord.at(host.lib.faas_scoreboard_worker(
            host.base, self.index))
        self.record.ready = 1

    def cell(self, function):
        return Cell.at(self.host.lib.faas_scoreboard_cell(
            self.host.base, function, self.index))

    def wait(self, name, n=1):
        """n requests begin to wait for a slot."""

        i = self.host.index(name)
        f, cell = self.host.function(name), self.cell(i)
        cell.arrivals += n
        cell.admitted += n
        cell.waiting += n
        if not cell.oldest_ms:
            cell.oldest_ms = harness.time.monotonic_ns() // 1000000
        f.waiting_mask[self.index // 64] |= 1 << self.index % 64
        if not f.kick:
            f.kick = 1
            self.host.kick()

    def stop_waiting(self, name, n=1):
        i = self.host.index(name)
        cell = self.cell(i)
        cell.waiting -= n
        cell.admitted -= n
        if not cell.waiting:
            cell.oldest_ms = 0
            f = self.host.function(name)
            f.waiting_mask[self.index // 64] &= ~(1 << self.index % 64)

    def take(self, name):
        """(slot, word) of an instance, now BUSY; None when there is none."""

        f = self.host.function(name)
        slot, word = u32(), u64()
        if f.current == 0xffffffff:
            return None
        for call in (self.host.lib.faas_slot_take_handed,
                     self.host.lib.faas_slot_acquire):
            if call(self.host.base, f.current, self.index,
                    ctypes.byref(slot), ctypes.byref(word)) == 0:
                s = self.host.slot(slot.value)
                s.handed_ms = harness.time.monotonic_ns() // 1000000
                s.served += 1
                return slot.value, word.value
        return None

    def give_back(self, name):
        """Passes on what was handed to this worker when it waited no more."""

        f = self.host.function(name)
        slot, word = u32(), u64()
        while f.current != 0xffffffff and self.host.lib.faas_slot_take_handed(
                self.host.base, f.current, self.index, ctypes.byref(slot),
                ctypes.byref(word)) == 0:
            self.release(slot.value, word.value)

    def acquire(self, name):
        """Waits until an instance can be had, starting it if need be."""

        got = self.take(name)
        if got:
            return got
        self.wait(name)
        got = wait_until(lambda: self.take(name), "an instance of " + name)
        self.stop_waiting(name)
        return got

    def release(self, slot, word, state="idle", owner=0):
        if state == "idle":
            self.host.slot(slot).idle_ms = (
                harness.time.monotonic_ns() // 1000000)
        return self.host.lib.faas_slot_change(
            self.host.base, slot, word, SLOT.index(state), owner) == 0

    def call(self, name, path="/", **params):
        """One request, as nginx would do it: acquire, FastCGI, release."""

        slot, word = self.acquire(name)
        cell = self.cell(self.host.index(name))
        with self.host.connect(slot) as c:
            r = c.request(params=dict(FAAS_PATH=path, **params), keep=True)
        cell.finished += 1
        cell.outcome[OUTCOME_OK] += 1
        s = self.host.slot(slot)
        spent = 0 < s.requests <= s.served
        self.release(slot, word, "draining" if spent else "idle")
        return r


class Host:
    """A keeper and all below it, started as nginx's master starts it."""

    def __init__(self, programs, compiler, directory, **settings):
        self.programs = pathlib.Path(programs)
        self.compiler = compiler
        self.directory = pathlib.Path(directory)
        self.functions = self.directory / "functions"
        self.state = self.directory / "state"
        self.error_log = self.directory / "error.log"
        self.functions.mkdir(mode=0o755)
        self.settings = settings
        self.blocks = {}
        self.lib = library(self.directory.parent)
        self.lifelines = []
        self.fds = []               # eventfds, ours to close
        self.keeper = None

    # -- configuration and start

    def config(self, **more):
        settings = dict(functions=self.functions, state=self.state,
                        error_log=self.error_log, log_level=7,
                        worker_uid=os.getuid(), scoreboard=8 << 20)
        settings.update(self.settings)
        settings.update(more)
        text = "".join("%s %s\n" % i for i in settings.items())
        for name, block in self.blocks.items():
            text += "function %s\n" % name
            text += "".join(" %s %s\n" % i for i in block.items())
        return text

    def start(self, wait=True, **more):
        """Starts a keeper and attaches; returns what it said."""

        ready, far = os.pipe()
        config = config_memfd(self.config(**more))
        log = os.open(self.error_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND,
                      0o644)
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                moved = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in
                         (os.open("/dev/null", os.O_RDWR), log, log, far,
                          config)]
                for i, fd in enumerate(moved):
                    os.dup2(fd, i)
                os.closerange(5, 4096)
                os.execv(self.programs / "faas-supervisor",
                         ["faas-supervisor", "--keeper", "--state",
                          str(self.state)])
            finally:
                os._exit(127)
        for fd in (far, config, log):
            os.close(fd)
        answer = b""
        while not answer.endswith(b"\n"):
            data = os.read(ready, 1000)
            if not data:
                break
            answer += data
        # held until it has attached, or will not
        if answer == b"ready\n" and wait:
            self.keeper = self.keeper or pid
            self.attach()
        os.close(ready)
        return answer.decode()

    def attach(self, **more):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.settimeout(harness.PATIENCE)
        s.connect(str(self.state / "control"))
        config = config_memfd(self.config(**more))
        socket.send_fds(s, [packet(ATTACH, struct.pack(
            "=32siI", b"0.1.0", os.getpid(), 0))], [config])
        os.close(config)
        kind, payload, fds = receive(s)
        if kind == REFUSED:
            s.close()
            raise Refused(payload.decode())
        assert kind == BOARD and len(fds) == 2
        size, = struct.unpack("=Q", payload[:8])
        wake = []
        while len(wake) < WORKERS:
            kind, payload, more_fds = receive(s)
            assert kind == EVENTFDS
            assert struct.unpack("=I", payload) == (len(wake),)
            wake += more_fds
        self.lifelines.append(s)
        if len(self.lifelines) == 1:
            self.map = mmap.mmap(fds[0], size)
            self.buffer = (ctypes.c_char * size).from_buffer(self.map)
            self.base = ctypes.addressof(self.buffer)
            self.event, self.wake = fds[1], wake
            self.fds += [fds[1]] + wake
            assert self.lib.faas_scoreboard_check(self.base, size) is None
            os.close(fds[0])
        else:
            for fd in fds + wake:
                os.close(fd)
        return s

    def reload(self, **more):
        """(type, text) of the answer."""

        config = config_memfd(self.config(**more))
        socket.send_fds(self.lifelines[0], [packet(RELOAD, struct.pack(
            "=32siI", b"0.1.0", os.getpid(), 0))], [config])
        os.close(config)
        kind, payload, _ = receive(self.lifelines[0])
        return kind, payload.decode()

    def kick(self):
        os.write(self.event, struct.pack("=Q", 1))

    def pages(self, worker):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.settimeout(harness.PATIENCE)
        s.connect(str(self.state / "control"))
        s.send(packet(WORKER, struct.pack("=I", worker.index)))
        return s

    # -- the board

    @property
    def header(self):
        return Header.at(self.base)

    def index(self, name):
        for i in range(self.header.functions_used):
            f = Function.at(self.lib.faas_scoreboard_function(self.base, i))
            if f.state and f.name.decode() == name:
                return i
        return None

    def function(self, name):
        i = self.index(name)
        return None if i is None else Function.at(
            self.lib.faas_scoreboard_function(self.base, i))

    def state_of(self, name):
        f = self.function(name)
        return FUNCTION[f.state] if f else None

    def error_of(self, name):
        f = self.function(name)
        return f.last_error.data.decode(errors="replace") if f else ""

    def version(self, i):
        return Version.at(self.lib.faas_scoreboard_version(self.base, i))

    def current(self, name):
        f = self.function(name)
        return None if not f or f.current == 0xffffffff else self.version(
            f.current)

    def versions(self, name):
        """Entries of all versions of the function that are not free."""

        i = self.index(name)
        return [v for v in map(self.version, range(self.header.versions))
                if v.state and v.function == i]

    def slot(self, i):
        return Slot.at(self.lib.faas_scoreboard_slot(self.base, i))

    def slots(self, name):
        """{index: slot} of the function's slots that are not free."""

        found = {}
        for v in self.versions(name):
            for c in list(v.chunk)[:v.chunks]:
                for i in range(c * 64, c * 64 + 64):
                    if self.slot(i).state != "free":
                        found[i] = self.slot(i)
        return found

    def states(self, name):
        return sorted(s.state for s in self.slots(name).values())

    def pids(self, name):
        return sorted(s.pid for s in self.slots(name).values())

    def routes(self):
        """[(function index, methods, pattern)] as published, but for the
        platform's own functions."""

        offset = self.header.routes_offset[self.header.route_epoch & 1]
        length, = struct.unpack_from("=I", self.map, offset)
        offset += 8
        end, found = offset + length, []
        while offset < end:
            size, function, _, methods, _, n, _ = struct.unpack_from(
                "=IIIIHHI", self.map, offset)
            name = Function.at(self.lib.faas_scoreboard_function(
                self.base, function)).name
            if not name.startswith(b"_"):
                found.append((function, methods, self.map[
                    offset + 24:offset + 24 + n].decode()))
            offset += size
        return found

    # -- functions

    def put(self, name, source, *flags):
        """Copies over NAME.so, as cp does."""

        shutil.copyfile(self.compiler(source, *flags), self.functions
                        / (name + ".so"))

    def deploy(self, name, source, *flags):
        """As put; waits until that content is current."""

        self.put(name, source, *flags)
        content = sha256(self.functions / (name + ".so"))
        wait_until(lambda: self.current(name) and self.state_of(name) ==
                   "ready" and self.current(name).sha256.decode() == content,
                   "%s is current: %s" % (name, self.error_of(name)))
        return self.current(name)

    def connect(self, slot):
        return fcgi_client.Connection(self.state / "slots"
                                      / ("%d.sock" % slot))

    def log(self):
        return self.error_log.read_text()

    # -- processes

    @property
    def supervisor(self):
        return self.header.supervisor_pid

    def kill_supervisor(self):
        """kill -9; waits for the next one."""

        old, restarts = self.supervisor, self.header.restarts
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: self.header.restarts > restarts
                   and self.supervisor != old, "another supervisor")
        return self.supervisor

    def processes(self):
        """{pid: command line} of all that is the host's.  One at a time is
        below this process, wherever its parents went."""

        return {p: harness.cmdline(p) for p, stat in
                harness.descendants().items()
                if stat[0] not in "ZX" and "faas" in harness.cmdline(p)}

    def let_go(self):
        """The last lifeline ends."""

        while self.lifelines:
            self.lifelines.pop().close()

    def is_gone(self):
        harness.reap()
        return not self.processes()

    def stop(self):
        self.let_go()
        try:
            wait_until(self.is_gone, "the host's end")
        finally:
            for pid in self.processes():
                os.kill(pid, signal.SIGKILL)
            harness.reap()
            if self.keeper:
                self.buffer = None
            for fd in self.fds:
                os.close(fd)
            self.fds = []


@contextlib.contextmanager
def factory(cls, programs, compiler, session_directory):
    """What makes hosts of that class, and looks at their logs at the end."""

    hosts = []

    def make(put=(), start=True, blocks=None, programs=programs, prepare=None,
             **settings):
        directory = pathlib.Path(tempfile.mkdtemp(prefix="host",
                                                  dir=session_directory))
        directory.chmod(0o755)
        h = cls(programs, compiler, directory, **settings)
        h.blocks = blocks or {}
        hosts.append(h)
        for name, source in dict(put).items():
            h.put(name, source)
        if prepare:
            prepare(h)
        if start:
            assert h.start() == "ready\n"
        return h

    make.hosts = hosts              # for the report of a test that failed
    yield make
    for h in hosts:
        h.stop()
    for h in hosts:
        log = h.log() if h.error_log.exists() else ""
        harness.check_reports(h.directory)
        assert "[emerg]" not in log, log


@pytest.fixture
def host(programs, compiler, session_directory):
    with factory(Host, programs, compiler, session_directory) as make:
        yield make
