#!/usr/bin/python3

"""A supervisor that does what a test wants, started by nginx as the real one.

In the directory above faas_state it finds `behaviour`, JSON:

    ready      what it says on descriptor 3 (null: nothing, and it ends)
    listen     whether it listens on control
    answer     to ATTACH: "board", "refused", "layout", "end", "magic",
               "size", "eventfds", "nothing"
    reload     to RELOAD: "accepted", "note", "refused", "end"
    pages      [[slot, kind]], kind "good", "unsealed" or "short"
    layout     of the board
    release    that it gives itself
    library    the scoreboard, compiled

and it appends what it sees to `seen`, one JSON object a line.  It ends when
the last connection that attached ends."""

import array
import ctypes
import fcntl
import json
import mmap
import os
import pathlib
import selectors
import signal
import socket
import struct
import sys

MAGIC, WORKERS = 0x43414146, 256
(ATTACH, BOARD, EVENTFDS, REFUSED, RELOAD, ACCEPTED, WORKER, PAGE) = range(
    1, 9)
F_ADD_SEALS, F_GET_SEALS, SHRINK = 1033, 1034, 2

state = pathlib.Path(sys.argv[sys.argv.index("--state") + 1])
behaviour = json.loads((state.parent / "behaviour").read_text())
LAYOUT = behaviour["layout"]


def see(**what):
    with open(state.parent / "seen", "a") as file:
        file.write(json.dumps(what) + "\n")


def end():
    (state / "control").unlink(missing_ok=True)
    see(event="end")
    os._exit(0)


def text_of(fd):
    return os.pread(fd, 1 << 20, 0).decode()


def send(s, kind, payload=b"", fds=(), layout=LAYOUT, magic=MAGIC):
    head = struct.pack("=IIII", magic, layout, kind, len(payload))
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
    try:
        s.sendmsg([head + payload], rights if fds else [])
    except OSError as error:
        see(event="send", error=str(error))


def make_board():
    library = ctypes.CDLL(behaviour["library"])
    size = 1 << 20
    fd = os.memfd_create("board")
    os.ftruncate(fd, size)
    memory = mmap.mmap(fd, size)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    library.faas_scoreboard_format.argtypes = [
        ctypes.c_void_p, ctypes.c_uint64, ctypes.c_char_p]
    assert library.faas_scoreboard_format(
        address, size, behaviour["release"].encode()) == 0
    return fd, size


def attach(s):
    answer = behaviour["answer"]
    if answer == "refused":
        send(s, REFUSED, b"not today")
    elif answer == "layout":
        send(s, REFUSED, b"another", layout=LAYOUT + 7)
    elif answer == "magic":
        send(s, BOARD, b"", magic=1)
    elif answer == "end":
        end()
    elif answer in ("board", "size", "eventfds"):
        size = board[1] + (4096 if answer == "size" else 0)
        send(s, BOARD, struct.pack("=Q32s", size,
                                   behaviour["release"].encode()),
             [board[0], kick])
        if answer == "eventfds":
            send(s, EVENTFDS, struct.pack("=I", 5), wake[5:10])
            return
        for first in range(0, WORKERS, 100):
            send(s, EVENTFDS, struct.pack("=I", first),
                 wake[first:first + 100])


def reload(s):
    answer = behaviour["reload"]
    if answer == "accepted":
        send(s, ACCEPTED)
    elif answer == "note":
        send(s, ACCEPTED, b"something was clamped")
    elif answer == "refused":
        send(s, REFUSED, b"not this one")
    elif answer == "end":
        end()


def pages(s):
    for slot, kind in behaviour["pages"]:
        fd = os.memfd_create("page", os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, 4096 if kind != "short" else 100)
        if kind != "unsealed":
            fcntl.fcntl(fd, F_ADD_SEALS, SHRINK)
        send(s, PAGE, struct.pack("=II", slot, 0), [fd])
        os.close(fd)


def receive(s):
    """False at the end."""

    try:
        data, ancillary, _, _ = s.recvmsg(8192, 4096)
    except ConnectionResetError:
        return False
    if not data:
        return False
    fds = array.array("i")
    for _, _, cmsg in ancillary:
        fds.frombytes(cmsg[:len(cmsg) - len(cmsg) % fds.itemsize])
    magic, layout, kind, length = struct.unpack("=IIII", data[:16])
    if kind in (ATTACH, RELOAD):
        see(event="attach" if kind == ATTACH else "reload", text=text_of(
            fds[0]), seals=fcntl.fcntl(fds[0], F_GET_SEALS),
            release=data[16:48].rstrip(b"\0").decode(),
            pid=struct.unpack("=i", data[48:52])[0])
        lifelines.add(s)
        (attach if kind == ATTACH else reload)(s)
    elif kind == WORKER:
        see(event="worker", record=struct.unpack("=I", data[16:20])[0])
        pages(s)
    for fd in fds:
        os.close(fd)
    return s.fileno() != -1


see(event="start", arguments=sys.argv[1:], environment=dict(os.environ),
    pid=os.getpid(), ppid=os.getppid(), session=os.getsid(0),
    directory=os.getcwd(), umask=os.umask(0o22),
    descriptors={fd: os.readlink("/proc/self/fd/" + fd)
                 for fd in os.listdir("/proc/self/fd")
                 if os.path.exists("/proc/self/fd/" + fd)
                 or int(fd) < 5},
    ignored=[n for n in range(1, 32) if n not in (9, 19)
             and signal.getsignal(n) == signal.SIG_IGN],
    blocked=[int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
    text=text_of(4))

if behaviour["ready"] is None:
    sys.exit(1)

listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
if behaviour["listen"]:
    path = state / "control"
    state.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    listener.bind(str(path))
    path.chmod(0o666)
    listener.listen()

board = make_board()
kick = os.eventfd(0, os.EFD_NONBLOCK)
wake = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(WORKERS)]
lifelines, attached = set(), False

try:
    os.write(3, behaviour["ready"].encode())
except BrokenPipeError:
    pass
os.close(3)

if not behaviour["listen"] or behaviour["ready"] != "ready\n":
    end()

selector = selectors.DefaultSelector()
selector.register(listener, selectors.EVENT_READ)

while True:
    events = selector.select(None if lifelines else 15)
    if not events:
        end()
    for key, _ in events:
        if key.fileobj is listener:
            s, _ = listener.accept()
            selector.register(s, selectors.EVENT_READ)
            continue
        if not receive(key.fileobj):
            selector.unregister(key.fileobj)
            lifelines.discard(key.fileobj)
            key.fileobj.close()
            if attached and not lifelines:
                end()
        attached = attached or bool(lifelines)
