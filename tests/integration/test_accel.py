"""X-Accel-Redirect: whose is followed, and whose never."""

from harness import wait_until

SECRET = """
    location = /secret { internal; return 200 secret; }
    location = /named { faas_pass $arg_fn; }
    location /conditional/ { faas_pass; if ($arg_x) { faas_pass probe; } }
    location /outer/ { faas_pass; location /outer/inner/ { faas_pass; } }
"""
ASK = "header=X-Accel-Redirect:/secret&text=own"


def test_followed_for_functions_that_are_trusted_only(faas):
    host = faas(deploy=["probe", "trusted"], server=SECRET,
                http="faas_function trusted { accel on; }")
    for path in ("/fn/%s?", "/named?fn=%s&", "/conditional/%s?",
                 "/outer/%s?", "/outer/inner/%s?"):
        r = host.get(path % "probe" + ASK)
        assert r.text == "own", path
        assert "X-Accel-Redirect" not in r.headers
        assert host.get(path % "trusted" + ASK).text == "secret", path
    assert host.get("/conditional/trusted?x=1&" + ASK).text == "own"


def test_not_followed_from_the_cache_either(faas):
    host = faas(deploy=["probe", "trusted"], start=False)
    host.configure(server=SECRET, http="""
        faas_function trusted { accel on; }
        fastcgi_cache_path %s/cache keys_zone=c:1m;
        fastcgi_cache_key $uri;""" % host.dir, location="""
        fastcgi_cache c; fastcgi_cache_valid any 1h;
        add_header X-Cache $upstream_cache_status always;""")
    host.start()
    wait_until(lambda: host.get("/fn/probe?" + ASK).headers["X-Cache"]
               == "HIT")
    assert host.get("/fn/probe?" + ASK).text == "own"
    for _ in range(3):
        assert host.get("/fn/trusted?" + ASK).text == "secret"


def test_what_the_user_ignores_is_kept(faas):
    """Ours adds one bit to fastcgi_ignore_headers, wherever that is said."""

    expires = "header=X-Accel-Expires:3600"
    host = faas(deploy=["probe"], start=False)
    host.configure(http="""
        fastcgi_cache_path %s/cache keys_zone=c:1m; fastcgi_cache c;
        fastcgi_cache_key $uri;
        fastcgi_ignore_headers X-Accel-Expires;
        add_header X-Cache $upstream_cache_status always;""" % host.dir,
                   server="""
        location /kept/ {
            faas_pass; fastcgi_ignore_headers X-Accel-Limit-Rate;
        }""")
    host.start()
    for _ in range(3):
        assert host.get("/fn/probe?" + expires).headers["X-Cache"] == "MISS"
    wait_until(lambda: host.get("/kept/probe?" + expires).headers["X-Cache"]
               == "HIT")
