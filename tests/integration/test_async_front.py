"""Who is answered later: which requests nginx hands to _calls, with what, and
which it does not.  _calls is played by the probe, which says what it got."""

import shutil

import pytest

from harness import wait_until

ID = "probe." + "0123456789abcdef" * 2
ASYNC = {"Prefer": "respond-async"}

ROUTED = ("probe.c", "-DPROBE_VERSION=\"routed\"",
          "-DPROBE_DESCRIPTOR=, .routes = \"GET /users/(?<id>[0-9]+)\\n"
          "POST /users\"")

LOGGED = """
    log_format calls "$faas_function $faas_async $faas_outcome $status";
"""

SERVER = """
    access_log %(dir)s/calls.log calls;
    location /on/ { faas_async on; faas_pass; }
    location /off/ { faas_async off; faas_pass; }
    location /named { faas_pass probe; }
    location = /exact { faas_pass probe; }
    location = /exact/on { faas_async on calls=/fn/; faas_pass probe; }
    location ~ ^/re/(?<rest>.*)$ { faas_pass probe; }
    location ~ ^/recalls/ { faas_async prefer calls=/recalls; faas_pass; }
    location = /at { error_page 404 = @named; return 404; }
    location @named { faas_pass probe; }
    location /users { faas_pass routed; }
    location /nested/ { faas_async on; faas_pass;
        location /nested/sync/ { faas_async off; faas_pass; }
        location /nested/inner/ { faas_pass; } }
    location /if/ { faas_async prefer;
        if ($arg_go) { faas_pass probe; break; } return 404; }
    location /limit/ { faas_pass; limit_except POST { allow all; } }
    location /ssi/ { ssi on; ssi_types *; default_type text/html;
        root %(dir)s/www; }
    location /auth/ { auth_request /fn/probe; faas_async on; faas_pass probe; }
"""


def make(factory, calls=True, http="", server=SERVER, deploy=None, **options):
    """A host with the probe in the place of _calls, or without any."""

    host = factory(deploy=deploy or {"probe": "probe.c", "other": "probe.c",
                                     "routed": ROUTED},
                   start=False, **options)
    bin_ = host.dir / "bin"
    shutil.copytree(host.bin, bin_)
    bin_.chmod(0o755)
    (bin_ / "faas-calls.so").unlink(missing_ok=True)
    if calls:
        shutil.copy(host.compile("probe.c", "-DPROBE_VERSION=\"calls\""),
                    bin_ / "faas-calls.so")
        (bin_ / "faas-calls.so").chmod(0o644)
    host.bin = bin_
    host.configure(http=LOGGED + http.replace("%(dir)s", str(host.dir)),
                   server=server.replace("%(dir)s", str(host.dir)))
    host.start()
    if calls:
        wait_until(lambda: host.function("_calls").get("state") == "ready")
    return host


@pytest.fixture(scope="module")
def host(faas_module):
    return make(faas_module)


def seen(host, path, method="GET", headers=ASYNC, **options):
    """Parameters that _calls was given; None: somebody else was called."""

    r = host.get(path, method, headers=headers, **options)
    assert r.status == 200, r
    return r.json["variables"] if r.json["version"] == "calls" else None


# -- who is -------------------------------------------------------------------

@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE",
                                    "PATCH", "OPTIONS", "PURGE"])
def test_any_method_may_prefer_to_be_answered_later(host, method):
    before = host.function("_calls")["totals"]["arrivals"]
    assert host.get("/fn/probe", method, headers=ASYNC).status == 200
    wait_until(lambda: host.function("_calls")["totals"]["arrivals"]
               == before + 1)


def test_parameters_say_whom_to_call_and_where_to_ask(host):
    v = seen(host, "/fn/probe/a%20b?x=1", "POST", body=b"12345")
    assert v["FAAS_TARGET"] == "probe" and v["FAAS_PREFIX"] == "/fn"
    assert v["FAAS_PATH"] == "/probe/a b" and v["QUERY_STRING"] == "x=1"
    assert v["REQUEST_METHOD"] == "POST" and v["CONTENT_LENGTH"] == "5"
    assert v["REQUEST_URI"] == "/fn/probe/a%20b?x=1"
    assert v["HTTP_PREFER"] == "respond-async" and v["REQUEST_ID"]


def test_request_that_prefers_nothing_is_answered_now(host):
    for headers in ({}, {"Prefer": "wait=5"}, {"Prefer": "return=minimal"},
                    {"Prefer": "x=\"respond-async\""},
                    {"X-Prefer": "respond-async"}):
        r = host.get("/fn/probe", headers=headers)
        assert r.json["version"] == "1"
        v = r.json["variables"]
        assert "FAAS_TARGET" not in v and "FAAS_PREFIX" not in v


@pytest.mark.parametrize("lines", [
    "Prefer: RESPOND-async", "prefer: wait=10, respond-async",
    "Prefer: wait=1\r\nPrefer: respond-async",
    "PREFER: a=\"b, c\"; d=e , respond-async;x",
    "A: b\r\n" * 30 + "Prefer: respond-async"])
def test_preference_is_found_in_every_form(host, lines):
    with host.wire() as w:
        w.send("GET /fn/probe HTTP/1.1\r\nHost: x\r\n%s\r\n"
               "Connection: close\r\n\r\n" % lines)
        assert w.response().json["version"] == "calls"


def test_location_can_answer_all_later_or_none(host):
    assert seen(host, "/on/probe", headers={})["FAAS_PREFIX"] == "/on"
    assert seen(host, "/off/probe") is None
    assert seen(host, "/nested/probe", headers={})["FAAS_PREFIX"] == "/nested"
    assert seen(host, "/nested/sync/probe", headers={}) is None
    assert seen(host, "/nested/inner/probe",
                headers={})["FAAS_PREFIX"] == "/nested/inner"


def test_location_that_is_no_prefix_needs_calls(host):
    for path in ("/exact", "/re/x", "/at"):
        assert seen(host, path) is None, path
    v = seen(host, "/exact/on", headers={})
    assert v["FAAS_PREFIX"] == "/fn" and v["FAAS_TARGET"] == "probe"
    host.reload(server=host.options["server"].replace(
        "location @named {", "location @named { faas_async prefer "
        "calls=/n;"))
    assert seen(host, "/at")["FAAS_PREFIX"] == "/n"


def test_parts_of_a_location_are_as_it_is(host):
    assert seen(host, "/if/x?go=1")["FAAS_PREFIX"] == "/if"
    assert seen(host, "/limit/probe")["FAAS_PREFIX"] == "/limit"
    assert seen(host, "/limit/probe", "POST")["FAAS_PREFIX"] == "/limit"


def test_location_at_the_root_has_an_empty_prefix(faas):
    host = make(faas, server="location / { faas_pass; }")
    v = seen(host, "/probe")
    assert v["FAAS_TARGET"] == "probe" and v.get("FAAS_PREFIX", "") == ""
    v = seen(host, "/_calls/" + ID, headers={})
    assert v["PATH_INFO"] == "/" + ID


def test_server_and_http_can_say_it_for_their_locations(faas):
    host = make(faas, http="faas_async on;", server="""
        location /a/ { faas_pass; }
        location /b/ { faas_async prefer; faas_pass; }""")
    assert seen(host, "/a/probe", headers={})
    assert seen(host, "/b/probe", headers={}) is None
    host.reload(server=host.options["server"] + " faas_async off;")
    assert seen(host, "/a/probe") is None
    assert seen(host, "/b/probe")


# -- as whom ------------------------------------------------------------------

def test_path_to_call_gives_the_same_captures_and_path_info(host):
    # by a route, of the path or of the whole URI; by name, without a route
    assert seen(host, "/fn/users/7")["FAAS_PATH"] == "/users/7"
    assert seen(host, "/users/7")["FAAS_PATH"] == "/users/7"
    assert seen(host, "/users/x/y")["FAAS_PATH"] == "/routed/x/y"
    assert seen(host, "/named")["FAAS_PATH"] == "/probe"
    assert seen(host, "/named/x")["FAAS_PATH"] == "/probe/x"
    assert seen(host, "/named-so")["FAAS_PATH"] == "/probe/-so"
    assert seen(host, "/named/probe/x")["FAAS_PATH"] == "/probe/probe/x"


def test_client_can_not_say_it_is_a_target(host):
    v = seen(host, "/fn/probe", headers=dict(
        ASYNC, **{"Faas-Target": "other", "Faas-Function": "other",
                  "Faas-Event": "async", "Faas-Prefix": "/x"}))
    assert v["FAAS_TARGET"] == "probe" and v["FAAS_PREFIX"] == "/fn"
    assert "HTTP_FAAS_EVENT" not in v and "HTTP_FAAS_FUNCTION" not in v


# -- the results --------------------------------------------------------------

@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "POST"])
@pytest.mark.parametrize("rest", ["", "/result"])
def test_who_asks_for_a_call_comes_to_calls(host, method, rest):
    r = host.get("/fn/_calls/%s%s" % (ID, rest), method,
                 headers=ASYNC if rest else {})
    assert r.status == 200
    if method == "HEAD":
        return
    assert r.json["version"] == "calls"
    v = r.json["variables"]
    assert "FAAS_TARGET" not in v and v["FAAS_PREFIX"] == "/fn"
    assert v["FAAS_PATH"] == "/_calls/" + ID + rest
    assert v["SCRIPT_NAME"] == "/fn/_calls"
    assert v["PATH_INFO"] == "/" + ID + rest


def test_calls_are_asked_for_below_the_prefix_that_was_said(host):
    assert seen(host, "/recalls/_calls/" + ID,
                headers={})["FAAS_PREFIX"] == "/recalls"
    assert seen(host, "/on/_calls/" + ID, headers={})["FAAS_PREFIX"] == "/on"


@pytest.mark.parametrize("path", [
    "/fn/_calls", "/fn/_calls/", "/fn/_calls/x", "/fn/_calls/" + ID[:-1],
    "/fn/_calls/" + ID + "0", "/fn/_calls/" + ID + "/",
    "/fn/_calls/" + ID + "/results", "/fn/_calls/" + ID.upper(),
    "/fn/_calls/." + ID[6:], "/fn/_calls/" + ID[:-1] + "g",
    "/fn/_calls/_calls." + ID[6:], "/fn/_calls/a/b." + ID[6:],
    "/fn/_calls/" + "a" * 64 + ID[5:], "/off/_calls/" + ID, "/off/_calls"])
def test_what_is_no_call_is_not_found(host, path):
    for headers in ({}, ASYNC):
        assert host.get(path, headers=headers).status == 404


def test_platforms_function_can_not_be_named(faas):
    host = make(faas, server="location /v/ { faas_pass $arg_f; }")
    assert host.get("/v/?f=probe").status == 200
    assert host.get("/v/?f=_calls").status == 404
    assert host.get("/fn/_calls/x", headers=ASYNC).status == 404


# -- who is not ---------------------------------------------------------------

def test_what_is_refused_at_once_is_so_now(faas):
    host = make(faas, deploy={"probe": "probe.c", "routed": ROUTED,
                              "broken": ("probe.c", "-DPROBE_DESCRIPTOR="
                                         ", .selftest = getpid")})
    before = host.function("_calls")["totals"]["arrivals"]
    assert host.get("/fn/nothing", headers=ASYNC).status == 404
    r = host.get("/fn/users", "PUT", headers=ASYNC)
    assert r.status == 405 and r.headers["Allow"] == "POST"
    wait_until(lambda: host.function("broken").get("state") == "failed")
    assert host.get("/fn/broken", headers=ASYNC).status == 502
    assert host.function("_calls")["totals"]["arrivals"] == before


def test_subrequests_are_answered_now(host):
    www = host.dir / "www/ssi"
    www.mkdir(parents=True)
    (www / "page").write_text("<!--# include virtual=\"/on/probe?text=now\" "
                              "-->")
    for path in (host.dir / "www", www):
        path.chmod(0o755)
    assert host.get("/ssi/page", headers=ASYNC).text == "now"
    # its subrequest is answered by the probe, it is not
    assert seen(host, "/auth/x")["FAAS_TARGET"] == "probe"


def test_call_of_a_function_is_answered_now(faas):
    from test_internal import invoke

    host = make(faas, http="faas_async on;", server="")
    r = invoke(host, "/probe", Prefer="respond-async")
    assert r.status == 200 and r.json["version"] == "1"
    assert invoke(host, "/_calls/" + ID).status == 404
    assert invoke(host, "/_calls/" + ID, Faas_Function="_calls").status == 404


# -- without _calls -----------------------------------------------------------

def test_without_calls_nothing_is_run_instead(faas):
    host = make(faas, calls=False)
    host.allowed.append("faas-calls.so")
    for path in ("/fn/probe", "/on/probe", "/fn/_calls/" + ID):
        r = host.get(path, headers=ASYNC)
        assert r.status == 503 and int(r.headers["Retry-After"]) >= 1
        assert "async calls are not available" in r.headers["Proxy-Status"]
    assert host.function("probe")["totals"]["attempts"] == 0
    assert host.get("/fn/probe").status == 200


# -- what a log and a cache make of it ----------------------------------------

def test_log_names_the_target(faas):
    host = make(faas)
    for path in ("/on/probe", "/off/other", "/on/nothing", "/on/_calls/" + ID):
        host.get(path)
    log = host.dir / "calls.log"
    expected = ["probe 1 ok 200", "other 0 ok 200", "- 0 not_found 404",
                "_calls 0 ok 200"]

    def lines():
        return [line for line in log.read_text().splitlines()
                if line in expected]

    wait_until(lambda: lines() == expected)


def test_platforms_function_is_marked_in_the_status(host):
    assert host.function("_calls")["platform"] is True
    assert host.function("probe")["platform"] is False


CACHE = """
    fastcgi_cache_path %(dir)s/cache keys_zone=c:1m;
"""

CACHED = """
    location /c/ { fastcgi_cache c; fastcgi_cache_key $uri;
                   fastcgi_cache_valid any 1h;
                   fastcgi_ignore_headers Cache-Control Expires;
                   fastcgi_cache_use_stale updating;
                   fastcgi_cache_background_update on;
                   add_header Cache $upstream_cache_status always;
                   faas_pass; }
"""


def cached(host):
    """The answer that the cache has: it is sent before it is kept."""

    def hit():
        r = host.get("/c/probe")
        return r.headers["Cache"] == "HIT" and r

    return wait_until(hit, "a hit")


def test_acceptance_is_never_taken_for_an_answer_by_the_cache(faas):
    host = make(faas, http=CACHE, server=CACHED)
    for _ in range(3):
        assert seen(host, "/c/probe")
    r = host.get("/c/probe")
    assert r.json["version"] == "1" and r.headers["Cache"] == "MISS"
    r = cached(host)
    assert r.json["version"] == "1" and r.headers["Cache"] == "HIT"
    # what is known already is told now
    assert host.get("/c/probe", headers=ASYNC).headers["Cache"] == "HIT"
    for _ in range(2):
        assert seen(host, "/c/_calls/" + ID, headers={})


def test_refresh_of_a_stale_answer_calls_the_target_itself(faas):
    host = make(faas, http=CACHE, server=CACHED.replace("any 1h", "200 1s"))
    assert host.get("/c/probe").headers["Cache"] == "MISS"
    cached(host)
    finished = host.function("probe")["totals"]["finished"]
    wait_until(lambda: host.get("/c/probe?x=1", headers=ASYNC)
               .headers["Cache"] == "STALE")
    wait_until(lambda: host.function("probe")["totals"]["finished"] > finished)
    assert host.function("_calls")["totals"]["arrivals"] == 0


# -- events -------------------------------------------------------------------

def test_call_is_not_limited_by_what_its_target_has_room_for(faas):
    host = make(faas, http="faas_function probe { max 1; queue 0; }")
    held = host.hold("g")
    assert host.get("/fn/probe").status == 503
    assert seen(host, "/fn/probe")["FAAS_TARGET"] == "probe"
    host.open("g")
    assert held[0].result().status == 200
