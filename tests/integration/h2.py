"""An HTTP/2 client of its own for one connection without TLS: many streams at
once, resets at any moment, bodies that are sent as the windows allow.  Of the
headers of an answer it reads the status, no more."""

import select
import socket
import struct
import time

from harness import PATIENCE

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9
END_STREAM, END_HEADERS, PADDED, PRIORITIZED, ACK = 1, 4, 8, 32, 1
CANCEL = 8

INDEXED_STATUS = {0x88: 200, 0x89: 204, 0x8a: 206, 0x8b: 304, 0x8c: 400,
                  0x8d: 404, 0x8e: 500}


def integer(value, bits, flags=0):
    most = (1 << bits) - 1
    if value < most:
        return bytes([flags | value])
    out, value = [flags | most], value - most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + [value])


def literal(name, value):
    """A header that is not put into the table."""

    name, value = name.encode(), value.encode()
    return (b"\0" + integer(len(name), 7) + name
            + integer(len(value), 7) + value)


class Stream:
    def __init__(self, number, body):
        self.number = number
        self.unsent = body
        self.window = None
        self.status = None
        self.body = b""
        self.ended = False          # END_STREAM came
        self.reset = None           # RST_STREAM's code came

    @property
    def is_done(self):
        return self.ended or self.reset is not None


class Connection:
    def __init__(self, port, window=1 << 30):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.streams = {}
        self.next = 1
        self.window = self.initial = 65535
        self.input = self.output = b""
        self.goaway = None
        self.output += b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        self.frame(SETTINGS, 0, 0, struct.pack(">HIHI", 4, min(
            window, (1 << 31) - 1), 2, 0))
        self.frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 30))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.socket.close()

    def frame(self, kind, flags, number, payload=b""):
        self.output += struct.pack(">I", len(payload))[1:] + struct.pack(
            ">BBI", kind, flags, number) + payload

    def request(self, path, method="GET", body=b"", headers=()):
        """A stream; what of its body has room in the windows is sent as the
        connection is run."""

        stream = Stream(self.next, body)
        stream.window = self.initial
        self.next += 2
        self.streams[stream.number] = stream
        block = literal(":method", method) + literal(":scheme", "http")
        block += literal(":path", path) + literal(":authority", "x")
        for name, value in headers:
            block += literal(name, value)
        self.frame(HEADERS, END_HEADERS | (0 if body else END_STREAM),
                   stream.number, block)
        return stream

    def cancel(self, stream, code=CANCEL):
        stream.unsent = b""
        stream.reset = code
        self.frame(RST_STREAM, 0, stream.number, struct.pack(">I", code))

    def give(self, stream, n):
        """n bytes more may come on the stream."""

        self.frame(WINDOW_UPDATE, 0, stream.number, struct.pack(">I", n))

    def run(self, until=None, timeout=PATIENCE):
        """Sends and receives until the condition is met: by default, until
        every stream is done."""

        end = time.monotonic() + timeout
        nap = 0.02 if until else timeout
        until = until or (lambda: all(s.is_done
                                      for s in self.streams.values()))
        while True:
            self._bodies()
            if not self.output and until():
                return
            left = end - time.monotonic()
            assert left > 0, "not done: %s" % [
                (s.number, s.status, len(s.body), len(s.unsent))
                for s in self.streams.values() if not s.is_done]
            able = select.select([self.socket],
                                 [self.socket] if self.output else [], [],
                                 min(left, nap))
            if able[1]:
                sent = self.socket.send(self.output[:65536])
                self.output = self.output[sent:]
            if able[0]:
                data = self.socket.recv(1 << 20)
                assert data, "the connection ended, GOAWAY %r" % self.goaway
                self.input += data
                self._frames()

    def _bodies(self):
        """One round, a frame for each stream, so that none waits for all of
        another."""

        for stream in self.streams.values():
            n = min(len(stream.unsent), self.window, stream.window, 16384)
            if n <= 0 or len(self.output) > 1 << 20:
                continue
            data, stream.unsent = stream.unsent[:n], stream.unsent[n:]
            self.window -= n
            stream.window -= n
            self.frame(DATA, 0 if stream.unsent else END_STREAM,
                       stream.number, data)

    def _frames(self):
        while len(self.input) >= 9:
            size = int.from_bytes(self.input[:3], "big")
            if len(self.input) < 9 + size:
                return
            kind, flags, number = struct.unpack(">BBI", self.input[3:9])
            payload = self.input[9:9 + size]
            self.input = self.input[9 + size:]
            self._frame(kind, flags, number, payload)

    def _frame(self, kind, flags, number, payload):
        stream = self.streams.get(number)
        if kind == SETTINGS and not flags & ACK:
            for i in range(0, len(payload), 6):
                name, value = struct.unpack(">HI", payload[i:i + 6])
                if name == 4:
                    for other in self.streams.values():
                        other.window += value - self.initial
                    self.initial = value
            self.frame(SETTINGS, ACK, 0)
        elif kind == PING and not flags & ACK:
            self.frame(PING, ACK, 0, payload)
        elif kind == GOAWAY:
            self.goaway = payload
        elif kind == WINDOW_UPDATE:
            n = struct.unpack(">I", payload)[0]
            if number == 0:
                self.window += n
            elif stream:
                stream.window += n
        elif kind == RST_STREAM and stream:
            stream.unsent = b""
            stream.reset = struct.unpack(">I", payload)[0]
        elif kind in (HEADERS, DATA) and stream:
            assert not stream.ended, "stream %d goes on" % number
            if kind == HEADERS:
                stream.status = self._status(payload)
            else:
                stream.body += payload
            stream.ended = bool(flags & END_STREAM)

    @staticmethod
    def _status(block):
        """nginx puts it first; what precedes it is the table's size."""

        while block[0] & 0xe0 == 0x20:
            block = block[1:]
        if block[0] in INDEXED_STATUS:
            return INDEXED_STATUS[block[0]]
        assert block[0] in (0x08, 0x48) and block[1] == 3, block[:8]
        return int(block[2:5])
