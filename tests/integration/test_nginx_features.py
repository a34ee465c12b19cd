"""faas_pass among the other things that an nginx.conf holds."""

import gzip
import os

import pytest

from harness import Background, free_port, request, wait_until


GUARD = """
#include <string.h>
#include <faas.h>

static int
guard(faas_request_t *r)
{
    const char  *token = faas_header(r, "Authorization");

    if (token == NULL || strcmp(token, "Bearer good") != 0) {
        faas_header_set(r, "WWW-Authenticate", "Bearer");
        return faas_status(r, 401);
    }

    faas_header_set(r, "X-User", "bob");
    return faas_status(r, 204);
}

FAAS_FUNCTION(.handler = guard)
"""


def test_auth_request_decides_by_the_functions_status(faas):
    host = faas(deploy={"probe": "probe.c", "guard": GUARD}, server="""
        location = /auth { internal; faas_pass guard; }
        location /work/ {
            auth_request /auth;
            auth_request_set $user $upstream_http_x_user;
            faas_pass probe;
            fastcgi_param REMOTE_USER $user;
        }""")
    r = host.get("/work/")
    assert r.status == 401
    assert r.headers["WWW-Authenticate"] == "Bearer"
    for _ in range(5):
        r = host.get("/work/", headers={"Authorization": "Bearer good"})
        assert r.status == 200
        assert r.json["variables"]["REMOTE_USER"] == "bob"
    r = host.post("/work/", b"x" * 100000,
                  headers={"Authorization": "Bearer good"})
    assert r.json["bytes"] == 100000


def test_auth_request_by_one_function_that_also_serves(faas):
    """Subrequest and request of one function with max 1 follow each other;
    they do not wait for each other."""

    host = faas(deploy=["probe"], http="faas_function probe { max 1; }",
                server="""
        location = /auth { internal; faas_pass probe; }
        location = /both { auth_request /auth; faas_pass probe; }""")
    for _ in range(5):
        assert host.get("/both?text=x").status == 200


def test_mirror_sends_a_copy_and_does_not_wait_for_it(faas):
    host = faas(deploy=["probe", "copy"], server="""
        location = /mirrored { mirror /copy; faas_pass probe; }
        location = /copy { internal; faas_pass copy; }""")
    with host.wire() as wire:
        wire.send("POST /mirrored?log=mirrored HTTP/1.1\r\nHost: x\r\n"
                  "Content-Length: 5\r\n\r\nhello")
        assert wire.response().json["bytes"] == 5
    wait_until(lambda: "mirrored" in host.function_log("copy"))
    wait_until(lambda: "mirrored" in host.function_log("probe"))


def test_ssi_includes_functions(faas):
    site = """
        location /site/ { ssi on; root %s; }"""
    host = faas(deploy=["probe"], start=False)
    page = host.dir / "site"
    page.mkdir()
    (page / "page.html").write_text(
        '[<!--#include virtual="/fn/probe?text=one" -->|'
        '<!--#include virtual="/fn/probe?text=two" -->|'
        '<!--#include virtual="/fn/nothing" -->]')
    host.configure(server=site % host.dir)
    host.start()
    text = host.get("/site/page.html").text
    assert text.startswith("[one|two|")


def test_internal_redirects(faas):
    host = faas(deploy=["probe", "other"], server="""
        location /try/ { root /nonexistent; try_files $uri @function; }
        location @function { faas_pass probe; }
        location = /rewritten { rewrite ^ /fn/other?text=rewritten; }
        location = /chain { faas_pass nothing; error_page 404 = /fn/other?text=chained;
        }
        """)
    assert host.get("/try/x?text=tried").text == "tried"
    assert host.get("/rewritten").text == "rewritten"
    assert host.get("/chain").text == "chained"


def test_accel_redirect_only_where_it_is_let_through(faas):
    server = """
        location = /secret { internal; return 200 "secret"; }"""
    host = faas(deploy=["probe", "trusted"], server=server,
                http="faas_function trusted { accel on; }")
    path = "/fn/%s?header=X-Accel-Redirect:/secret&text=own"
    assert host.get(path % "probe").text == "own"
    assert host.get(path % "trusted").text == "secret"


def test_variable_as_target_and_regex_location(faas):
    host = faas(deploy=["probe", "other"], server="""
        location = /by { faas_pass $arg_name; }
        location ~ ^/re/(?<which>[a-z]+)$ { faas_pass $which; }""")
    assert host.get("/by?name=probe&text=a").text == "a"
    assert host.get("/by?name=other&text=b").text == "b"
    assert host.get("/by?name=nothing").status == 404
    assert host.get("/by").status == 404
    assert host.get("/re/probe?text=c").text == "c"
    assert host.get("/re/nothing").status == 404


def test_limit_except_and_if(faas):
    host = faas(deploy=["probe"], server="""
        location = /limited { faas_pass probe; limit_except GET { deny all; } }
        location = /iffy { if ($arg_go) { faas_pass probe; } return 403; }
        """)
    assert host.get("/limited?text=x").text == "x"
    assert host.post("/limited").status == 403
    assert host.get("/iffy?go=1&text=x").status in (200, 403)


def test_auth_basic(faas):
    host = faas(deploy=["probe"], start=False)
    passwords = host.dir / "htpasswd"
    passwords.write_text("bob:{PLAIN}secret\n")
    host.configure(location="auth_basic x; auth_basic_user_file %s;"
                   % passwords)
    host.start()
    assert host.get("/fn/probe").status == 401
    r = host.get("/fn/probe", headers={
        "Authorization": "Basic Ym9iOnNlY3JldA=="})
    assert r.status == 200
    assert r.json["variables"].get("REMOTE_USER", "bob") == "bob"
    assert r.json["calls"] == 1


def test_limit_req_refuses_before_an_instance_is_used(faas):
    host = faas(deploy=["probe"], location="limit_req zone=z;",
                http="limit_req_zone $binary_remote_addr zone=z:1m rate=1r/m;")
    assert host.get("/fn/probe").json["calls"] == 1
    for _ in range(5):
        assert host.get("/fn/probe").status == 503
    host.reload(location="")
    assert host.get("/fn/probe").json["calls"] == 2


def test_limit_conn_counts_waiting_requests(faas):
    host = faas(deploy=["probe"], http="""
        limit_conn_zone $binary_remote_addr zone=c:1m;
        faas_function probe { max 1; }""", location="limit_conn c 1;")
    held = host.hold("g")
    assert host.get("/fn/probe").status == 503
    host.open("g")
    assert held[0].result().status == 200


CACHE = """
    fastcgi_cache_path %s/cache keys_zone=k:1m;
    fastcgi_cache_key $request_method$uri$arg_key;
    faas_function probe { max %d; queue %d timeout=60s; min 1; }
"""

CACHED = """
    fastcgi_cache k;
    fastcgi_cache_valid 200 %s;
    add_header X-Cache $upstream_cache_status always;
"""


def cached(faas, max_=1, queue=100, valid="1h", more="", **options):
    host = faas(deploy=["probe"], start=False, **options)
    host.configure(http=CACHE % (host.dir, max_, queue),
                   location=CACHED % valid + more)
    host.start()
    wait_until(lambda: host.function("probe")["instances"]["idle"] == 1)
    return host


def test_cache_hit_needs_no_instance(faas):
    host = cached(faas, queue=0)
    assert host.get("/fn/probe?key=a&text=kept").headers["X-Cache"] == "MISS"

    held = host.hold("g", more="&key=b")
    r = host.get("/fn/probe?key=a&text=other")
    assert (r.headers["X-Cache"], r.text) == ("HIT", "kept")
    assert host.get("/fn/probe?key=c").status == 503
    host.open("g")
    assert held[0].result().status == 200


def test_cache_lock_waiter_holds_no_instance(faas):
    host = cached(faas, max_=2, log_level="debug", more="""
        fastcgi_cache_lock on; fastcgi_cache_lock_timeout 60s;""")
    first = host.hold("g", more="&key=a")
    second = host.held("g", more="&key=a")
    wait_until(lambda: host.log_has("http file cache lock u:0")
               or (second.is_done() and second.result()))

    # two instances: one is held by the first, the waiter has none
    assert host.get("/fn/probe?key=b&text=free").text == "free"
    assert len(host.entered("g")) == 1

    host.open("g")
    assert first[0].result().headers["X-Cache"] == "MISS"
    assert second.result().headers["X-Cache"] == "HIT"


def test_stale_answer_is_served_when_there_is_no_instance(faas):
    host = cached(faas, queue=0, valid="1s",
                  more="fastcgi_cache_use_stale timeout updating;")
    assert host.get("/fn/probe?key=a&text=old").text == "old"
    held = host.hold("g", more="&key=b")
    r = wait_until(lambda: [r for r in [host.get(
        "/fn/probe?key=a&text=new")] if r.headers["X-Cache"] != "HIT"])[0]
    assert (r.status, r.headers["X-Cache"], r.text) == (200, "STALE", "old")
    assert host.get("/fn/probe?key=c").status == 503
    host.open("g")
    held[0].result()


def test_stale_answer_is_served_when_the_wait_is_over_its_budget(faas):
    host = cached(faas, valid="1s", more="fastcgi_cache_use_stale timeout;")
    host.reload(http=host.options["http"].replace("timeout=60s",
                                                  "timeout=100ms"))
    assert host.get("/fn/probe?key=a&text=old").text == "old"
    held = host.hold("g", more="&key=b")
    r = wait_until(lambda: [r for r in [host.get(
        "/fn/probe?key=a&text=new")] if r.headers["X-Cache"] != "HIT"])[0]
    assert (r.status, r.headers["X-Cache"], r.text) == (200, "STALE", "old")
    host.open("g")
    held[0].result()


def test_background_update_of_a_stale_answer(faas):
    host = cached(faas, valid="1s", more="""
        fastcgi_cache_use_stale updating; fastcgi_cache_background_update on;
    """)
    assert host.get("/fn/probe?key=a&text=old").text == "old"
    wait_until(lambda: host.get("/fn/probe?key=a&text=new").text == "new")


def test_slow_upload_holds_no_instance(faas):
    host = faas(deploy=["probe"], http="faas_function probe { max 1; }")
    slow = [host.wire() for _ in range(8)]
    for wire in slow:
        wire.send("POST /fn/probe HTTP/1.1\r\nHost: x\r\n"
                  "Content-Length: 100000\r\n\r\n" + "x" * 50000)
    for _ in range(20):
        assert host.get("/fn/probe").status == 200
    for wire in slow:
        wire.send("x" * 50000)
        assert wire.response().json["bytes"] == 100000
        wire.close()


def test_slow_reader_holds_no_instance(faas):
    """A large answer goes to a temporary file; the instance is free."""

    host = faas(deploy=["probe"], http="faas_function probe { max 1; }")
    slow = [host.wire() for _ in range(4)]
    for wire in slow:
        wire.send("GET /fn/probe?size=30000000 HTTP/1.0\r\n\r\n")
    for _ in range(10):
        assert host.get("/fn/probe?text=x").status == 200
    for wire in slow:
        wire.head()
        assert len(wire.rest()) == 30000000
        wire.close()


def test_other_sites_are_as_they_were(faas):
    port = free_port()
    host = faas(deploy=["probe"], start=False)
    site = host.dir / "site"
    site.mkdir()
    (site / "index.html").write_text("a page")
    host.configure(server="location / { root %s; }" % site, http="""
        server { listen 127.0.0.1:%d; return 200 other; }
        server {
            listen 127.0.0.1:%d; server_name proxy;
            location / { proxy_pass http://127.0.0.1:%d; }
        }""" % (port, port, host.port))
    host.start()
    assert host.get("/").text == "a page"
    assert host.get("/fn/probe").status == 200
    assert request(port, "/").text == "other"
    assert request(port, "/fn/probe?text=through",
                   headers={"Host": "proxy"}).text == "through"


def test_gzip_works_on_functions(faas):
    host = faas(deploy=["probe"], location="""
        gzip on; gzip_types text/plain; gzip_min_length 1;""")
    r = host.get("/fn/probe?size=100000", headers={"Accept-Encoding": "gzip"})
    assert r.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(r.body) == b"0123456789" * 10000


def test_fastcgi_param_in_the_location_adds_to_ours(faas):
    host = faas(deploy=["probe"], location="""
        fastcgi_param EXTRA $host; fastcgi_param OTHER abc;""",
                http="fastcgi_param OUTER nothing;")
    variables = host.get("/fn/probe").json["variables"]
    assert variables["OTHER"] == "abc"
    assert variables["EXTRA"] == "127.0.0.1"
    assert variables["REQUEST_METHOD"] == "GET"
    assert "OUTER" not in variables


def test_addresses_of_other_fastcgi_servers_are_not_for_instances(faas):
    host = faas(deploy=["probe"], http="""
        fastcgi_bind 127.0.0.1; fastcgi_socket_keepalive on;""")
    assert host.get("/fn/probe").status == 200


def test_range_of_a_cached_answer(faas):
    host = cached(faas, more="fastcgi_force_ranges on;")
    assert host.get("/fn/probe?key=a&size=1000").status == 200
    r = host.get("/fn/probe?key=a&size=1000", headers={"Range": "bytes=0-9"})
    assert (r.status, r.body) == (206, b"0123456789")


@pytest.mark.parametrize("variable", ["faas_function", "faas_version",
                                      "faas_mode", "faas_start",
                                      "faas_outcome", "faas_started",
                                      "faas_queue_time", "faas_exec_time"])
def test_variable_is_known_to_the_access_log(faas, variable):
    host = faas(deploy=["probe"], start=False)
    log = host.dir / "access.log"
    host.configure(http="log_format f '[$%s]';" % variable,
                   location="access_log %s f;" % log)
    host.start()
    assert host.get("/fn/probe").status == 200
    line = wait_until(lambda: log.exists() and log.read_text())
    assert line not in ("[]\n", "[-]\n")
    expected = {"faas_function": "[probe]\n", "faas_mode": "[resident]\n",
                "faas_outcome": "[ok]\n", "faas_started": "[1]\n"}
    if variable in expected:
        assert line == expected[variable]


def test_requests_in_many_workers_share_the_instances(faas):
    host = faas(deploy=["probe"], workers=4,
                http="faas_function probe { max 1; }")
    pids = {host.get("/fn/probe").json["pid"] for _ in range(40)}
    assert len(pids) == 1
    assert os.path.exists("/proc/%d" % pids.pop())


def test_subrequests_in_parallel_of_a_function_with_max_1(faas):
    """Two includes of one page wait for one instance, one after the other."""

    host = faas(deploy=["probe"], start=False, workers=1)
    page = host.dir / "site"
    page.mkdir()
    (page / "page.html").write_text("".join(
        '<!--#include virtual="/fn/probe?text=%d" -->' % i
        for i in range(8)))
    host.configure(http="faas_function probe { max 1; }",
                   server="location /site/ { ssi on; root %s; }" % host.dir)
    host.start()
    both = [Background(lambda: host.get("/site/page.html").text)
            for _ in range(3)]
    assert {b.result() for b in both} == {"01234567"}
