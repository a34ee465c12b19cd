"""Headers on the answers that the platform makes, and on nobody else's."""

from harness import free_port, wait_until

OURS = ("Proxy-Status", "Retry-After", "Allow")


def error(r):
    """The error type of Proxy-Status; None without that header."""

    text = r.headers["Proxy-Status"]
    if text is None:
        return None
    name, *parameters = [part.strip() for part in text.split(";")]
    assert name == "nginx-faas"
    return dict(p.split("=", 1) for p in parameters)["error"]


def assert_untouched(r):
    assert [name for name in OURS if name in r.headers] == []


def test_error_type_tells_the_failure(faas):
    host = faas(deploy=["probe"], http="""
        faas_function probe { max 1; queue 1 timeout=200ms; timeout 1s; }""")
    r = host.get("/fn/nothing")
    assert (r.status, error(r)) == (404, "destination_not_found")

    held = host.hold("gate")
    waiting = host.held("late")
    wait_until(lambda: host.function("probe")["queue"]["waiting"] == 1)
    r = host.get("/fn/probe")
    assert (r.status, error(r)) == (503, "connection_limit_reached")
    assert int(r.headers["Retry-After"]) >= 1
    r = waiting.result()
    assert (r.status, error(r)) == (503, "connection_timeout")
    assert int(r.headers["Retry-After"]) >= 1
    r = held[0].result()
    assert (r.status, error(r)) == (504, "http_response_timeout")


def test_lost_instance(faas):
    host = faas(deploy=["probe"])
    r = host.post("/fn/probe?die=9")
    assert (r.status, error(r)) == (502, "connection_terminated")


def test_function_that_cannot_start(faas):
    host = faas()
    (host.functions / "text.so").write_text("no shared object")
    wait_until(lambda: host.function("text"))
    r = host.get("/fn/text")
    assert (r.status, error(r)) == (502, "destination_unavailable")


def test_own_answers_of_functions_are_left_alone(faas):
    host = faas(deploy=["probe"])
    for status in (200, 404, 405, 500, 502, 503, 504):
        r = host.get("/fn/probe?status=%d" % status)
        assert r.status == status
        assert_untouched(r)
    r = host.get("/fn/probe?status=503&header=Retry-After:7")
    assert r.headers["Retry-After"] == "7"
    assert "Proxy-Status" not in r.headers
    r = host.get("/fn/probe?fail=1")
    assert (r.status, r.headers["Faas-Error"]) == (500, "handled")
    assert_untouched(r)


def test_intercepted_answer_of_a_function_is_left_alone(faas):
    host = faas(deploy=["probe"], location="""
        fastcgi_intercept_errors on; error_page 503 /sorry;""",
                server="location = /sorry { return 503 sorry; }")
    r = host.get("/fn/probe?status=503")
    assert (r.status, r.text) == (503, "sorry")
    assert_untouched(r)


def test_error_page_keeps_the_cause_or_hides_it(faas):
    port = free_port()
    host = faas(http="server { listen 127.0.0.1:%d; return 404 peer; }" % port,
                server="""
        location /page/ { faas_pass; error_page 404 /sorry; }
        location /fine/ { faas_pass; error_page 404 =200 /sorry; }
        location /peer/ { faas_pass; error_page 404 = @peer; }
        location = /sorry { return 404 sorry; }
        location @peer { proxy_pass http://127.0.0.1:%d; }""" % port)
    r = host.get("/page/x")
    assert (r.status, r.text) == (404, "sorry")
    assert error(r) == "destination_not_found"

    r = host.get("/fine/x")
    assert (r.status, r.text) == (200, "sorry")
    assert_untouched(r)

    r = host.get("/peer/x")
    assert (r.status, r.text) == (404, "peer")
    assert_untouched(r)


def test_status_of_busy_answers_can_be_set(faas):
    host = faas(deploy=["probe"], http="""
        faas_busy_status 429; faas_function probe { max 1; queue 0; }""")
    held = host.hold("gate")
    r = host.get("/fn/probe")
    assert (r.status, error(r)) == (429, "connection_limit_reached")
    assert int(r.headers["Retry-After"]) >= 1
    host.open("gate")
    assert held[0].result().status == 200


def test_failed_subrequest_does_not_mark_the_answer(faas):
    host = faas(deploy=["probe"], server="""
        location = /page { auth_request /auth; empty_gif; }
        location = /open { mirror /auth; faas_pass probe; }
        location = /auth { internal; faas_pass nothing; }""")
    r = host.get("/page")
    assert r.status == 500
    assert_untouched(r)
    r = host.get("/open?text=open")
    assert (r.status, r.text) == (200, "open")
    assert_untouched(r)


def test_stale_cache_instead_of_a_failure_is_left_alone(faas):
    host = faas(deploy=["probe"], start=False)
    host.configure(http="""
        faas_function probe { max 1; queue 0; }
        fastcgi_cache_path %s/cache keys_zone=c:1m;
        fastcgi_cache_key $arg_key;""" % host.dir, location="""
        fastcgi_cache c; fastcgi_cache_valid 404 1s;
        fastcgi_cache_use_stale timeout;
        add_header X-Cache $upstream_cache_status always;""")
    host.start()
    path = "/fn/probe?key=a&status=404"
    wait_until(lambda: host.get(path).headers["X-Cache"] == "HIT")
    held = host.hold("gate", more="&key=b")
    r = wait_until(lambda: [r for r in [host.get(path)]
                            if r.headers["X-Cache"] != "HIT"])[0]
    assert (r.status, r.headers["X-Cache"]) == (404, "STALE")
    assert_untouched(r)
    host.open("gate")
    held[0].result()
