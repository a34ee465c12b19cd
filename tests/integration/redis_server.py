"""A redis-server of Debian's package, private, on a free port or a unix socket,
that keeps what it acknowledged: append-only file, synced always."""

import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile

from harness import PATIENCE, wait_until

PROGRAM = shutil.which("redis-server")


class Redis:
    def __init__(self, *options, unix=False):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="faas-redis-"))
        self.options = options
        self.process = None
        if unix:
            self.port = 0
            self.path = self.directory / "redis.sock"
            self.directory.chmod(0o711)      # functions have their own user
            self.options += ("--unixsocket", str(self.path),
                             "--unixsocketperm", "777")
            return
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]

    @property
    def url(self):
        return ("redis://127.0.0.1:%d/0" % self.port if self.port
                else "unix:%s" % self.path)

    def connect(self):
        if self.port:
            return socket.create_connection(("127.0.0.1", self.port),
                                            PATIENCE)
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(PATIENCE)
        try:
            s.connect(str(self.path))
        except OSError:
            s.close()
            raise
        return s

    def start(self):
        self.process = subprocess.Popen(
            [PROGRAM, "--port", str(self.port), "--bind", "127.0.0.1",
             "--dir", str(self.directory), "--appendonly", "yes",
             "--appendfsync", "always", "--save", "", *self.options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, cwd="/")
        wait_until(lambda: self.command("PING") == b"+PONG", "redis-server")
        return self

    def command(self, *words):
        """One command, the first line of its answer."""

        with self.connect() as s:
            out = b"*%d\r\n" % len(words)
            for word in words:
                word = str(word).encode()
                out += b"$%d\r\n%s\r\n" % (len(word), word)
            s.sendall(out)
            return s.makefile("rb").readline().rstrip()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def cleanup(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(PATIENCE)
        shutil.rmtree(self.directory, ignore_errors=True)
