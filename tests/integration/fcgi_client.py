"""A FastCGI client for one connection, as nginx behaves: one request at a
time, the connection kept.  It can also misbehave: leave in the middle, send
less than it announced, not read."""

import socket
import struct

BEGIN_REQUEST, ABORT_REQUEST, END_REQUEST = 1, 2, 3
PARAMS, STDIN, STDOUT, STDERR = 4, 5, 6, 7
RESPONDER = 1
KEEP_CONN = 1


def record(kind, content=b"", request_id=1):
    padding = -len(content) % 8
    return struct.pack(">BBHHBB", 1, kind, request_id, len(content), padding,
                       0) + content + bytes(padding)


def stream(kind, data, end=True):
    """data as records of at most 32 KiB, and the empty one that ends it."""

    parts = [record(kind, data[i:i + 32768])
             for i in range(0, len(data), 32768)]
    if end:
        parts.append(record(kind))
    return b"".join(parts)


def pair(name, value):
    def length(n):
        return bytes([n]) if n < 128 else struct.pack(">I", n | 0x80000000)

    name = name.encode() if isinstance(name, str) else name
    value = value.encode() if isinstance(value, str) else value
    return length(len(name)) + length(len(value)) + name + value


class Lost(Exception):
    """The connection ended before END_REQUEST; what came is in .data."""

    def __init__(self, data=b""):
        super().__init__("connection ended after %d bytes" % len(data))
        self.data = data


class Response:
    def __init__(self, stdout, stderr, app_status):
        self.stdout = stdout
        self.stderr = stderr
        self.app_status = app_status
        head, _, self.body = stdout.partition(b"\r\n\r\n")
        self.headers = []
        for line in head.decode("latin-1").split("\r\n"):
            name, _, value = line.partition(": ")
            self.headers.append((name, value))
        self.status = int(dict(self.headers).get("Status", "200").split()[0])

    def __getitem__(self, name):
        """The only header of that name, or None."""

        values = [v for n, v in self.headers if n.lower() == name.lower()]
        assert len(values) < 2, values
        return values[0] if values else None

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]


class Connection:
    def __init__(self, path, timeout=20):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(str(path))
        self.buffer = b""

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def send(self, data):
        self.socket.sendall(data)

    @staticmethod
    def head(params=(), method="GET", query="", length=None, keep=True):
        """BEGIN_REQUEST and all parameters, as bytes."""

        variables = {
            "REQUEST_METHOD": method,
            "REQUEST_URI": "/fn/x" + ("?" + query if query else ""),
            "QUERY_STRING": query,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SCRIPT_NAME": "/fn/x",
            "PATH_INFO": "",
            "FAAS_PATH": "/x",
            "CONTENT_TYPE": "",
            "CONTENT_LENGTH": "" if length is None else str(length),
            "REQUEST_ID": "0123456789abcdef0123456789abcdef",
        }
        variables.update(params)
        return (record(BEGIN_REQUEST,
                       struct.pack(">HB5x", RESPONDER, KEEP_CONN * keep))
                + stream(PARAMS, b"".join(pair(n, v)
                                          for n, v in variables.items())))

    def _exactly(self, n):
        while len(self.buffer) < n:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                raise Lost(self.buffer)
            self.buffer += data
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def read_record(self):
        _, kind, _, length, padding, _ = struct.unpack(">BBHHBB",
                                                       self._exactly(8))
        content = self._exactly(length)
        self._exactly(padding)
        return kind, content

    def read(self):
        """One whole answer."""

        out, err = [], []
        while True:
            try:
                kind, content = self.read_record()
            except Lost:
                raise Lost(b"".join(out)) from None
            if kind == STDOUT:
                out.append(content)
            elif kind == STDERR:
                err.append(content)
            elif kind == END_REQUEST:
                return Response(b"".join(out), b"".join(err),
                                struct.unpack(">I", content[:4])[0])

    def request(self, params=(), body=b"", **head):
        if body:
            head.setdefault("length", len(body))
            head.setdefault("method", "POST")
        self.send(self.head(params, **head) + stream(STDIN, body))
        return self.read()

    def at_end(self):
        """Waits for the end of the connection; what came before it."""

        data = self.buffer
        while True:
            try:
                part = self.socket.recv(65536)
            except ConnectionResetError:
                return data
            if not part:
                return data
            data += part
