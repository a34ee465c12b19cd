"""Plays the supervisor to a real faas-zygote: message.h in Python."""

import array
import mmap
import os
import pathlib
import socket
import struct
import subprocess

import fcgi_client
import harness

MAGIC = 0x4d414146
TYPES = ["START", "STARTED", "FAILED", "TEMPLATE", "EXITED", "KILL", "LOADED",
         "FORK", "FORKED", "READY", "FREE", "RETIRED"]
FIELDS = ["magic", "type", "index", "slot", "generation", "pid", "status",
          "uid", "gid", "timeout_ms", "init_timeout_ms", "max_requests",
          "flags", "utime_us", "stime_us", "maxrss_kb", "memory_bytes", "name",
          "version", "text_length"]
HEAD = struct.Struct("=IIIIQiiIIIIIIQQQQ64s12sI")
ONESHOT = 1
INCLUDE = harness.ROOT / "worker" / "include"

UID = 65534 if os.geteuid() == 0 else os.getuid()
GID = 65534 if os.geteuid() == 0 else os.getgid()


class Message:
    def __init__(self, data, sender=None):
        values = dict(zip(FIELDS, HEAD.unpack(data[:HEAD.size])))
        assert values["magic"] == MAGIC
        self.__dict__.update(values)
        self.type = TYPES[values["type"] - 1]
        self.text = data[HEAD.size:].decode()
        self.sender = sender
        assert len(data) == HEAD.size + self.text_length

    def __repr__(self):
        return "<%s slot %d pid %d status %d %r>" % (
            self.type, self.slot, self.pid, self.status, self.text)


def pack(kind, text=b"", **fields):
    values = dict.fromkeys(FIELDS, 0)
    values.update(name=b"", version=b"", magic=MAGIC,
                  type=TYPES.index(kind) + 1, text_length=len(text))
    values.update(fields)
    return HEAD.pack(*(values[name] for name in FIELDS)) + text


class Channel:
    """Our end of a SOCK_SEQPACKET pair; peer is the other until given away."""

    def __init__(self):
        self.socket, self.peer = socket.socketpair(socket.AF_UNIX,
                                                   socket.SOCK_SEQPACKET)
        self.socket.settimeout(harness.PATIENCE)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    def send(self, kind, text=b"", fds=(), **fields):
        control = []
        if fds:
            control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                        array.array("i", fds))]
        self.socket.sendmsg([pack(kind, text, **fields)], control)

    def receive(self, *expected):
        """The next message, None at the end; expected: types it may have."""

        try:
            data, control, _, _ = self.socket.recvmsg(
                200 * 1024, socket.CMSG_SPACE(64))
        except ConnectionResetError:
            data = b""
        if not data:
            assert not expected, "channel ended, expected %r" % (expected,)
            return None
        sender = None
        for level, kind, value in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                sender = struct.unpack("=iII", value)[0]
        message = Message(data, sender)
        assert not expected or message.type in expected, message
        return message

    def is_quiet(self):
        """1 when nothing is to be read now."""

        self.socket.setblocking(False)
        try:
            self.socket.recv(1, socket.MSG_PEEK)
            return False
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(harness.PATIENCE)

    def close(self):
        self.socket.close()
        self.peer.close()


class Page:
    def __init__(self):
        self.fd = os.memfd_create("page")
        os.ftruncate(self.fd, 4096)
        self.map = mmap.mmap(self.fd, 4096)

    def values(self):
        return struct.unpack("=QQQQ", self.map[:32])

    begun = property(lambda self: self.values()[0])
    begun_ns = property(lambda self: self.values()[1])
    ended = property(lambda self: self.values()[2])
    ended_ns = property(lambda self: self.values()[3])

    def set(self, begun):
        self.map[:32] = struct.pack("=QQQQ", begun, 0, begun, 0)


class Slot:
    """What outlives an instance: socket, page and log."""

    def __init__(self, directory, number):
        self.number = number
        self.generation = 0
        self.path = directory / ("%d.sock" % number)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(str(self.path))
        self.socket.listen(512)
        self.socket.setblocking(False)
        self.page = Page()
        self.log_read, self.log_write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.log_read, False)
        self.log = b""
        self.pid = None

    def read_log(self):
        while True:
            try:
                data = os.read(self.log_read, 65536)
            except BlockingIOError:
                return self.log
            if not data:
                return self.log
            self.log += data

    def drop_backlog(self):
        """What the supervisor does before it refills a slot."""

        while True:
            try:
                self.socket.accept()[0].close()
            except BlockingIOError:
                return

    def connect(self):
        return fcgi_client.Connection(self.path, harness.PATIENCE)


class Version:
    def __init__(self, zygote, path, name, index):
        self.zygote = zygote
        self.name = name
        self.index = index
        self.path = path
        self.init, self.template, self.report = (Channel() for _ in range(3))
        self.log_read, self.log_write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.log_read, False)
        self.log = b""
        self.slots = {}
        self.exits = {}
        self.pid = None
        self.template_pid = None

    read_log = Slot.read_log

    def start(self, env=(), init_timeout_ms=20000, conf="", migrations=None,
              **fields):
        """conf: lines of baas.h; migrations: bytes as message.h has them."""

        code = os.open(self.path, os.O_RDONLY)
        fds = []
        text = b"%d\0" % GID + b"".join(line.encode() + b"\0" for line in env)
        if conf:
            text += b"\0" + conf.encode()
        if migrations is not None:
            fds = [os.memfd_create("migrations")]
            os.write(fds[0], migrations)
        fields = {"uid": UID, "gid": GID, **fields}
        self.zygote.channel.send(
            "START", text, [code, self.init.peer.fileno(),
                            self.template.peer.fileno(),
                            self.report.peer.fileno(), self.log_write, *fds],
            name=self.name.encode(), version=b"01234567", index=self.index,
            init_timeout_ms=init_timeout_ms, **fields)
        for fd in (code, *fds):
            os.close(fd)
        for channel in (self.init, self.template, self.report):
            channel.peer.close()
        self.pid = self.zygote.channel.receive("STARTED").pid
        self.zygote.inits.append(self.pid)
        return self

    def loaded(self):
        """The descriptor, decoded, once the template is up."""

        message = self.template.receive("LOADED")
        self.template_pid = self.init.receive("TEMPLATE").pid
        return dict(line.split(" ", 1) for line in message.text.splitlines())

    def failed(self):
        """Why it cannot start."""

        return self.template.receive("FAILED").text

    def slot(self, number):
        if number not in self.slots:
            self.slots[number] = Slot(self.zygote.directory, number)
        return self.slots[number]

    def order(self, number=0, **fields):
        """Sends FORK and returns the slot."""

        slot = self.slot(number)
        slot.generation += 1
        slot.page.set(slot.page.begun)
        fields = {"timeout_ms": 20000, **fields}
        self.template.send("FORK", b"", [slot.socket.fileno(), slot.page.fd,
                                         slot.log_write],
                           slot=number, generation=slot.generation, **fields)
        return slot

    def fork(self, number=0, **fields):
        """An instance, ready."""

        slot = self.order(number, **fields)
        forked = self.template.receive("FORKED")
        assert (forked.slot, forked.generation) == (number, slot.generation)
        slot.pid = forked.pid
        ready = self.report.receive("READY", "FREE")
        while ready.type == "FREE":
            # of a connection that a test closed before
            ready = self.report.receive("READY", "FREE")
        assert (ready.slot, ready.generation) == (number, slot.generation)
        assert ready.sender == slot.pid
        return slot

    def exited(self, pid):
        """The EXITED of that pid; others are kept."""

        while pid not in self.exits:
            message = self.init.receive("EXITED")
            self.exits[message.pid] = message
        return self.exits.pop(pid)

    def kill(self, pid, signal):
        self.init.send("KILL", pid=pid, status=signal)

    def close(self):
        for channel in (self.init, self.template, self.report):
            channel.close()
        for slot in self.slots.values():
            slot.socket.close()
            os.close(slot.page.fd)
            os.close(slot.log_read)
            os.close(slot.log_write)
        os.close(self.log_read)
        os.close(self.log_write)


class Zygote:
    def __init__(self, directory, wrapper=(), environment=None):
        self.directory = pathlib.Path(directory)
        self.channel = Channel()
        self.versions = []
        self.inits = []
        self.compiled = {}
        self.spared = lambda: ()    # pids that the test started itself
        self.output = open(self.directory / "zygote.log", "wb")
        self.process = harness.popen(
            [*wrapper, harness.BUILD / "faas-zygote"],
            [self.channel.peer.fileno()], stdout=self.output,
            stderr=self.output, env=environment)
        self.channel.peer.close()

    def compile(self, source, flags=()):
        key = (source, tuple(flags))
        if key not in self.compiled:
            base = self.directory / ("f%d" % len(self.compiled))
            base.with_suffix(".c").write_text(source)
            subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "-shared",
                            "-fPIC", "-pthread", "-D_GNU_SOURCE", "-I", str(INCLUDE), *flags,
                            "-o", str(base.with_suffix(".so")),
                            str(base.with_suffix(".c"))], check=True)
            base.with_suffix(".so").chmod(0o444)
            self.compiled[key] = base.with_suffix(".so")
        return self.compiled[key]

    def version(self, source, name="test", flags=(), path=None, **start):
        version = Version(self, path or self.compile(source, flags), name,
                          len(self.versions))
        self.versions.append(version)
        return version.start(**start)

    def log(self):
        return (self.directory / "zygote.log").read_text(errors="replace")

    def finish(self):
        """Ends all of it, and sees that nothing is left."""

        for version in self.versions:
            version.close()
        for pid in self.inits:
            harness.wait_until(lambda: is_gone(pid), "function init's end")
        self.channel.close()
        assert self.process.wait(harness.PATIENCE) == 0
        self.output.close()
        left = set(children(os.getpid())) - set(self.spared())
        assert not left, "left: %r" % left
        logs = self.log() + "".join(
            slot.log.decode(errors="replace")
            for version in self.versions for slot in version.slots.values())
        harness.check_reports(logs)


def is_gone(pid):
    """Also reaps it, if it came to this process, which is a subreaper."""

    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
    return not os.path.exists("/proc/%d" % pid)


def children(pid):
    """pids of its children, dead or alive."""

    try:
        text = pathlib.Path("/proc/%d/task/%d/children"
                            % (pid, pid)).read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]


def stat_field(pid, field):
    """/proc/PID/stat, counted as proc(5) does."""

    text = pathlib.Path("/proc/%d/stat" % pid).read_text()
    return text.rsplit(")", 1)[1].split()[field - 3]

