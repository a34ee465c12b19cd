"""HTTP as clients speak it: framing, methods, sizes, versions, streams."""

import hashlib
import os
import re
import ssl
import subprocess

import pytest

from harness import ASAN, PATIENCE, Background, Wire, free_port, wait_until

GIGABYTE = 1 << (26 if ASAN else 30)


@pytest.fixture(scope="module")
def host(faas_module):
    return faas_module(deploy={"probe": "probe.c", "events": EVENTS},
                       location="fastcgi_request_buffering on;", server="""
        location /stream/ { faas_pass; fastcgi_buffering off; }
        location /direct/ { faas_pass; fastcgi_request_buffering off; }
        """)


EVENTS = """
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <faas.h>

static int
events(faas_request_t *r)
{
    int              i;
    char             path[512];
    struct stat      st;
    struct timespec  nap = { 0, 2000000 };

    faas_header_set(r, "Content-Type", "text/event-stream");
    faas_header_set(r, "Cache-Control", "no-cache");

    for (i = 0; i < 3; i++) {
        if (faas_printf(r, "data: event %d\\n\\n", i) != 0
            || faas_flush(r) != 0)
        {
            return -1;
        }

        snprintf(path, sizeof(path), "%s%d", faas_query(r, "gate", NULL), i);

        while (stat(path, &st) == -1) {
            nanosleep(&nap, NULL);
        }
    }

    return 0;
}

FAAS_FUNCTION(.handler = events)
"""


def test_get_says_what_cgi_says(host):
    r = host.get("/fn/probe/a%20b/c?x=1&y=%41", headers={"User-Agent": "me"})
    answer, variables = r.json, r.json["variables"]
    assert answer["method"] == "GET"
    assert answer["uri"] == "/fn/probe/a%20b/c?x=1&y=%41"
    assert answer["path"] == "/probe/a b/c"
    assert answer["path_info"] == "/a b/c"
    assert answer["query"] == "x=1&y=%41"
    assert answer["user_agent"] == "me"
    assert variables["SCRIPT_NAME"] == "/fn/probe"
    assert variables["PATH_INFO"] == "/a b/c"
    assert variables["REQUEST_METHOD"] == "GET"
    assert variables["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert variables["REMOTE_ADDR"] == "127.0.0.1"
    assert variables["SERVER_PORT"] == str(host.port)


def test_proxy_header_never_becomes_http_proxy(host):
    r = host.get("/fn/probe", headers={"Proxy": "http://evil:3128"})
    assert "HTTP_PROXY" not in r.json["variables"]


def test_a_header_can_not_override_a_server_parameter(host):
    with host.wire() as wire:
        wire.send("GET /fn/probe HTTP/1.1\r\nHost: x\r\nREMOTE_ADDR: 1.2.3.4"
                  "\r\nRemote-Addr: 1.2.3.4\r\nScript-Name: /evil\r\n\r\n")
        variables = wire.response().json["variables"]
    assert variables["REMOTE_ADDR"] == "127.0.0.1"
    assert variables["SCRIPT_NAME"] == "/fn/probe"


def test_head_has_the_headers_and_no_body(host):
    with host.wire() as wire:
        for _ in range(3):
            wire.send("HEAD /fn/probe?text=abc HTTP/1.1\r\nHost: x\r\n\r\n")
            r = wire.response("HEAD")
            assert r.status == 200 and r.body == b""
            assert r.headers["Content-Type"] == "text/plain"
        # nothing of a body stands between the answers
        wire.send("GET /fn/probe?text=abc HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.response().text == "abc"


@pytest.mark.parametrize("status", [204, 304])
def test_status_without_a_body(host, status):
    with host.wire() as wire:
        for _ in range(3):
            wire.send("GET /fn/probe?status=%d&text= HTTP/1.1\r\n"
                      "Host: x\r\n\r\n" % status)
            r = wire.response()
            assert r.status == status and r.body == b""
        wire.send("GET /fn/probe?text=abc HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.response().text == "abc"


def test_204_with_a_body_from_the_function_stays_in_step(host):
    with host.wire() as wire:
        wire.send("GET /fn/probe?status=204&text=toomuch HTTP/1.1\r\n"
                  "Host: x\r\n\r\n")
        assert wire.response().status == 204
        wire.send("GET /fn/probe?text=abc HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.response().text == "abc"


@pytest.mark.parametrize("status", [200, 201, 301, 400, 404, 418, 500, 503])
def test_status_of_the_function_reaches_the_client(host, status):
    assert host.get("/fn/probe?status=%d&text=x" % status).status == status


def test_small_answer_has_a_content_length(host):
    assert host.get("/fn/probe?text=abc").headers["Content-Length"] == "3"


def test_response_header_can_be_added(host):
    r = host.get("/fn/probe?header=X-One:two&text=x")
    assert r.headers["X-One"] == "two"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH",
                                    "OPTIONS"])
def test_every_method_reaches_an_implicit_route(host, method):
    assert host.get("/fn/probe", method=method).json["method"] == method


def test_http_1_0_without_keepalive(host):
    with host.wire() as wire:
        wire.send("GET /fn/probe?size=200000 HTTP/1.0\r\n\r\n")
        status, headers = wire.head()
        assert "200" in status
        assert "transfer-encoding" not in dict(headers)
        assert len(wire.rest()) == 200000


def test_http_1_0_with_keepalive(host):
    with host.wire() as wire:
        for _ in range(3):
            wire.send("GET /fn/probe?text=abc HTTP/1.0\r\n"
                      "Connection: keep-alive\r\n\r\n")
            assert wire.response().text == "abc"


def test_hundred_requests_on_one_connection(host):
    with host.wire() as wire:
        for i in range(100):
            wire.send("GET /fn/probe?text=%d HTTP/1.1\r\nHost: x\r\n\r\n" % i)
            assert wire.response().text == str(i)


def test_pipelined_requests_are_answered_in_order(host):
    with host.wire() as wire:
        wire.send("".join("GET /fn/probe?text=%d HTTP/1.1\r\nHost: x\r\n\r\n"
                          % i for i in range(20)))
        assert [wire.response().text for _ in range(20)] == [
            str(i) for i in range(20)]


def fnv(data):
    h = 2166136261
    for byte in data:
        h = (h ^ byte) * 16777619 & 0xffffffff
    return h


@pytest.mark.parametrize("size", [0, 1, 4095, 16384, 65535, 65536, 65537,
                                  200000])
def test_body_arrives_as_it_was_sent(host, size):
    data = os.urandom(size)
    r = host.post("/fn/probe", data).json
    assert (r["bytes"], r["sum"]) == (size, fnv(data))
    assert r["content_length"] == size


@pytest.mark.parametrize("where", ["fn", "direct"])
@pytest.mark.parametrize("size", [0, 1, 70000, 300000])
def test_chunked_upload(host, where, size):
    data = os.urandom(size)
    with host.wire() as wire:
        wire.send("POST /%s/probe HTTP/1.1\r\nHost: x\r\n"
                  "Transfer-Encoding: chunked\r\n\r\n" % where)
        for i in range(0, size, 7001):
            piece = data[i:i + 7001]
            wire.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        wire.send("0\r\n\r\n")
        r = wire.response().json
    assert (r["bytes"], r["sum"]) == (size, fnv(data))


def test_body_in_single_bytes(host):
    data = b"one byte after the other"
    with host.wire() as wire:
        wire.send("POST /fn/probe HTTP/1.1\r\nHost: x\r\n"
                  "Content-Length: %d\r\n\r\n" % len(data))
        for i in range(len(data)):
            wire.send(data[i:i + 1])
        assert wire.response().json["sum"] == fnv(data)


def test_expect_100_continue(host):
    with host.wire() as wire:
        wire.send("POST /fn/probe HTTP/1.1\r\nHost: x\r\n"
                  "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert wire.response().status == 100
        wire.send("hello")
        assert wire.response().json["bytes"] == 5


def test_expect_100_continue_for_nothing_is_refused_before_the_body(host):
    with host.wire() as wire:
        wire.send("POST /fn/nothing HTTP/1.1\r\nHost: x\r\n"
                  "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert wire.response().status in (404, 100)


def test_body_that_is_not_read_does_not_put_the_connection_out_of_step(host):
    for size in (10, 100000, 3000000):
        r = host.post("/fn/probe?read=0", b"x" * size)
        assert r.status == 200 and r.json["bytes"] == 0
        assert host.get("/fn/probe?text=abc").text == "abc"


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 1000000])
def test_answer_of_a_size(host, size):
    r = host.get("/fn/probe?size=%d" % size)
    assert r.body == (b"0123456789" * (size // 10 + 1))[:size]


def high_water(pids):
    """The most memory that any of these ever held, kB."""

    most = 0
    for pid in pids:
        try:
            with open("/proc/%d/status" % pid) as file:
                most = max(most, int(re.search(r"VmHWM:\s+(\d+)",
                                               file.read()).group(1)))
        except (OSError, AttributeError):
            pass
    return most


def test_gigabyte_up_is_spooled_not_kept_in_memory(host):
    path = host.dir / "large"
    with open(path, "wb") as file:
        file.truncate(GIGABYTE)
    done = subprocess.run(
        ["curl", "-sS", "-T", str(path), "-H", "Expect:",
         "http://127.0.0.1:%d/fn/probe" % host.port],
        capture_output=True, text=True)
    path.unlink()
    assert '"bytes":%d,' % GIGABYTE in done.stdout, done.stdout + done.stderr
    if not ASAN:
        assert high_water(host.processes()) < 100 << 10
        assert high_water(host.workers()) < 100 << 10


def test_gigabyte_down_is_spooled_not_kept_in_memory(host):
    with host.wire() as wire:
        wire.send("GET /fn/probe?size=%d HTTP/1.0\r\n\r\n" % GIGABYTE)
        wire.head()
        n = len(wire.buffer)
        view = bytearray(1 << 20)
        while True:
            got = wire.socket.recv_into(view)
            if not got:
                break
            n += got
    assert n == GIGABYTE
    if not ASAN:
        assert high_water(host.processes()) < 100 << 10
        assert high_water(host.workers()) < 100 << 10


def test_slow_reader_gets_all_of_a_large_answer(host):
    """More than socket buffers hold, read only after the function ended."""

    with host.wire() as wire:
        wire.send("GET /fn/probe?size=20000000&log=slow HTTP/1.0\r\n\r\n")
        wait_until(lambda: host.function("probe")["instances"].get("busy", 0)
                   == 0 and "slow" in host.function_log("probe"))
        wire.head()
        assert hashlib.sha256(wire.rest()).digest() == hashlib.sha256(
            b"0123456789" * 2000000).digest()


def test_server_sent_events_come_one_by_one(host):
    gate = host.gates / "sse"
    with host.wire() as wire:
        wire.send("GET /stream/events?gate=%s HTTP/1.1\r\nHost: x\r\n\r\n"
                  % gate)
        status, headers = wire.head()
        assert dict(headers)["content-type"] == "text/event-stream"
        for i in range(3):
            # event i is here although the function has not gone on
            assert wire.chunk() == b"data: event %d\n\n" % i
            host.open("sse%d" % i)
        assert wire.chunk() == b""


def test_upload_without_buffering_reaches_the_function_as_it_comes(host):
    """fastcgi_request_buffering off: it answers before the body ended."""

    with host.wire() as wire:
        wire.send("POST /direct/probe?read=0 HTTP/1.1\r\nHost: x\r\n"
                  "Content-Length: 1000\r\n\r\nbegin")
        assert wire.response().status == 200


def test_function_logs_carry_the_request_id(host):
    r = host.get("/fn/probe?log=marker-xyz")
    wait_until(lambda: "marker-xyz" in host.function_log("probe"))
    line = [line for line in host.function_log("probe").splitlines()
            if "marker-xyz" in line][0]
    assert r.json["request_id"] and r.json["request_id"] in line


def test_many_and_long_headers(host):
    headers = {"X-Header-%d" % i: "v" * 400 for i in range(15)}
    variables = host.get("/fn/probe", headers=headers).json["variables"]
    for i in range(15):
        assert variables["HTTP_X_HEADER_%d" % i] == "v" * 400


@pytest.mark.parametrize("path", ["/fn/", "/fn//", "/fn/..", "/fn/%00",
                                  "/fn/probe%00", "/fn/PROBE", "/fn/pro",
                                  "/fn/probe.so", "/fn/" + "x" * 3000])
def test_odd_paths_are_answered_by_a_4xx(host, path):
    with host.wire() as wire:
        wire.send("GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
        assert 400 <= wire.response().status < 500
    assert host.get("/fn/probe").status == 200


def test_bytes_of_the_path_arrive_exactly(host):
    r = host.get("/fn/probe/%0a%0d%09%22%5c%ff")
    assert r.json["path_info"] == "/\n\r\t\"\\\u00ff"


# -- HTTP/2 and TLS -----------------------------------------------------------

@pytest.fixture(scope="module")
def certificate(session_directory):
    key, cert = (session_directory / name for name in ("key.pem", "cert.pem"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048",
                    "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-keyout", str(key), "-out", str(cert)],
                   check=True, capture_output=True)
    key.chmod(0o644)
    return key, cert


@pytest.fixture(scope="module")
def secure(faas_module, certificate):
    port = free_port()
    host = faas_module(deploy={"probe": "probe.c", "events": EVENTS}, http="""
        server {
            listen 127.0.0.1:%d ssl http2;
            ssl_certificate_key %s;
            ssl_certificate %s;
            location /fn/ { faas_pass; fastcgi_buffering off; }
        }""" % ((port,) + certificate))
    host.tls_port = port
    return host


def curl(host, path, *options):
    done = subprocess.run(
        ["curl", "-sSk", "--http2", "-m", str(PATIENCE), "-w",
         "\n%{http_version} %{http_code}",
         "https://127.0.0.1:%d%s" % (host.tls_port, path)] + list(options),
        capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    body, last = done.stdout.rsplit("\n", 1)
    version, status = last.split()
    return version, int(status), body


def test_http_2_over_tls(secure):
    assert curl(secure, "/fn/probe?text=abc") == ("2", 200, "abc")
    version, status, body = curl(secure, "/fn/probe?size=1000000")
    assert (version, status, len(body)) == ("2", 200, 1000000)
    version, status, body = curl(secure, "/fn/probe", "-d", "x" * 100000)
    assert '"bytes":100000,' in body
    assert '"HTTPS":"on"' in body
    assert curl(secure, "/fn/nothing")[1] == 404


def test_http_2_streams_share_one_connection(secure):
    """More streams than instances, on one connection."""

    secure.reload(http=secure.options["http"]
                  + "faas_function probe { max 2; queue 500; }")
    command = ["curl", "-sSk", "--http2", "-Z", "--parallel-max", "50"]
    for i in range(60):
        command += ["-o", str(secure.dir / ("answer%d" % i)),
                    "https://127.0.0.1:%d/fn/probe?text=%d"
                    % (secure.tls_port, i)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for i in range(60):
        assert (secure.dir / ("answer%d" % i)).read_text() == str(i)


def test_tls_with_http_1_1(secure):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with Wire(secure.tls_port, tls=context) as wire:
        wire.send("GET /fn/probe?text=abc HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.response().text == "abc"


def test_http_2_reset_frees_the_instance(secure):
    gate = secure.gates / "reset"
    done = Background(lambda: subprocess.run(
        ["curl", "-sk", "--http2", "-m", "1",
         "https://127.0.0.1:%d/fn/probe?gate=%s" % (secure.tls_port, gate)]))
    done.result()
    wait_until(lambda: secure.entered("reset"))
    secure.open("reset")
    wait_until(lambda: not secure.entered("reset"))
    assert curl(secure, "/fn/probe?text=abc") == ("2", 200, "abc")


def test_no_descriptor_is_leaked_by_hundreds_of_requests(faas):
    host = faas(deploy=["probe"], workers=1,
                http="faas_function probe { max 1; }")

    # but for services, which are perhaps only being started
    def count():
        n = 0
        for pid in list(host.workers()) + list(host.processes()):
            try:
                with open("/proc/%d/comm" % pid) as f:
                    if f.read().strip() in ("faas-events", "faas-tender"):
                        continue
                n += len(os.listdir("/proc/%d/fd" % pid))
            except OSError:
                pass
        return n

    for _ in range(20):
        host.get("/fn/probe?text=x")
    before = count()
    for i in range(300):
        host.get("/fn/probe?size=100000", method=("GET", "HEAD")[i % 2])
    wait_until(lambda: count() <= before + 4, "descriptors as before")
