"""Which function a request reaches, and what it learns of its path."""

import pytest

from harness import wait_until


def routes(*lines):
    """The probe with these routes."""

    text = "\\n".join(line.replace("\\", "\\\\") for line in lines)
    return "probe.c", "-DPROBE_DESCRIPTOR=, .routes = \"%s\"" % text


def reached(host, path, method="GET"):
    """NAME of the function that answered, or the status."""

    r = host.get(path, method=method)
    if r.status != 200:
        return r.status
    if method == "HEAD":
        return "HEAD"
    return r.json["variables"]["SCRIPT_NAME"].rsplit("/", 1)[1]


def test_longest_literal_prefix_wins_then_the_older_claim(faas):
    host = faas(deploy={"one": routes("/a/.*", "/a/b/(?<name>.+)", "/c.*")})
    host.deploy("two", *routes("/a/b/c", "/a/b.*", "/a/[b]/z", "/c[a-z]*"))
    assert reached(host, "/fn/a/x") == "one"
    assert reached(host, "/fn/a/b/c") == "two"
    assert reached(host, "/fn/a/b/d") == "one"
    assert reached(host, "/fn/a/bb") == "two"
    assert reached(host, "/fn/cc") == "one"
    assert reached(host, "/fn/b") == 404


def test_a_pattern_is_for_the_whole_path(faas):
    host = faas(deploy={"probe": routes("/x/[a-z]+", "/y|/z", "/lit")})
    assert reached(host, "/fn/x/abc") == "probe"
    assert reached(host, "/fn/x/abc1") == 404
    assert reached(host, "/fn/x/abc%0A") == 404
    assert reached(host, "/fn/w/x/abc") == 404
    assert reached(host, "/fn/z") == "probe"
    assert reached(host, "/fn/zz") == 404
    assert reached(host, "/fn/lit") == "probe"
    assert reached(host, "/fn/lit/") == 404
    assert reached(host, "/fn/lit?query=1") == "probe"


def test_methods(faas):
    host = faas(deploy={"probe": routes("GET /get", "POST|PUT /put",
                                        "DELETE /[gp]..", "/any",
                                        "HEAD /head")})
    assert reached(host, "/fn/get", "HEAD") == "HEAD"
    assert reached(host, "/fn/any", "PATCH") == "probe"
    assert reached(host, "/fn/any", "PROPFIND") == "probe"
    assert reached(host, "/fn/put", "DELETE") == "probe"
    for path, method, allow in (
            ("/fn/get", "POST", "GET, HEAD, DELETE"),
            ("/fn/get", "PROPFIND", "GET, HEAD, DELETE"),
            ("/fn/put", "GET", "POST, PUT, DELETE"),
            ("/fn/head", "GET", "HEAD")):
        r = host.get(path, method=method)
        assert (r.status, r.headers["Allow"]) == (405, allow)
        assert "error=http_request_error" in r.headers["Proxy-Status"]


def test_implicit_routes_come_after_declared_ones(faas):
    host = faas(deploy={"probe": "probe.c",
                        "other": routes("GET /probe/special"),
                        "own": routes("GET /own/read")})
    assert reached(host, "/fn/probe") == "probe"
    assert reached(host, "/fn/probe/") == "probe"
    assert reached(host, "/fn/probe/a/b", "DELETE") == "probe"
    assert reached(host, "/fn/probed") == 404
    assert reached(host, "/fn/") == 404
    assert reached(host, "/fn/probe/special") == "other"


def test_only_its_own_routes_take_methods_from_an_implicit_one(faas):
    host = faas(deploy={"probe": routes("GET /probe/read"),
                        "other": routes("GET /probe/special")})
    assert reached(host, "/fn/probe/read", "POST") == 405
    assert reached(host, "/fn/probe/write", "POST") == "probe"
    assert reached(host, "/fn/probe/special", "POST") == "probe"


def test_script_name_and_path_info(faas):
    host = faas(deploy={"probe": routes("/users/(?<name>[^/]+)")}, server="""
        location / { faas_pass; }
        location = /exact { faas_pass probe; }
        location /below/ { faas_pass probe; }
        location ~ ^/re/ { faas_pass probe; }""")
    for path, script_name, path_info, inner in (
            ("/fn/probe", "/fn/probe", "", "/probe"),
            ("/fn/probe/", "/fn/probe", "/", "/probe/"),
            ("/fn/probe/a%20b", "/fn/probe", "/a b", "/probe/a b"),
            ("/fn/users/bob", "/fn/probe", "/users/bob", "/users/bob"),
            ("/probe/x", "/probe", "/x", "/probe/x"),
            ("/users/bob", "/probe", "/users/bob", "/users/bob"),
            ("/exact", "/exact", "", ""),
            ("/below/x/y", "/below", "/x/y", "/x/y"),
            ("/re/x", "", "/re/x", "/re/x")):
        variables = host.get(path).json["variables"]
        assert (variables.get("SCRIPT_NAME", ""),
                variables.get("PATH_INFO", ""),
                variables.get("FAAS_PATH", "")) == (
                    script_name, path_info, inner), path


def test_captures_arrive_byte_for_byte(faas):
    host = faas(deploy={"probe": routes("/hello/(?<name>(?s)[^/]+)")})
    for sent, seen in (
            ("bob", "bob"),
            ("a%20b+c", "a b+c"),
            ("a%26b%3Dc%25d", "a&b=c%d"),
            ("%0a%0d%09%7f", "\n\r\t\x7f"),
            ("%01%ff", "\x01\xff"),
            ("%C3%A9", "\xc3\xa9"),
            ("-._~!$'()*,;:@", "-._~!$'()*,;:@")):
        answer = host.get("/fn/hello/" + sent).json
        assert answer["param"] == seen
        assert answer["path"] == "/hello/" + seen

    # nginx itself refuses this one
    with host.wire() as wire:
        wire.send("GET /fn/hello/a%00b HTTP/1.0\r\n\r\n")
        assert wire.response().status == 400


def test_path_is_normalised_as_nginx_does_it(faas):
    host = faas(deploy={"probe": routes("/hello/(?<name>[^/]+)")})
    with host.wire() as wire:
        wire.send("GET /fn/x/..//hello/./a%2E HTTP/1.0\r\n\r\n")
        assert wire.response().json["param"] == "a."


def test_captures_of_a_named_target(faas):
    host = faas(deploy={"probe": routes("GET /hello/(?<name>[^/]+)",
                                        "/only/(?<name>[^/]+)")}, server="""
        location /by/name/ { faas_pass probe; }
        location /hello/ { faas_pass $target; set $target probe; }
        """)

    # by what follows the location's prefix, else by the whole URI
    assert host.get("/by/name/hello/bob").json["param"] == "bob"
    assert host.get("/hello/bob").json["param"] == "bob"
    assert host.get("/by/name/only/x").json["param"] == "x"

    # the name decides, the path does not
    assert host.get("/by/name/nothing").json["param"] is None
    assert host.get("/hello/bob", method="POST").json["param"] is None


def test_route_of_two_functions_stays_with_the_older(faas):
    host = faas(deploy={"older": routes("GET /mine")})
    host.deploy("younger", *routes("GET /mine", "GET /other"))
    assert reached(host, "/fn/mine") == "older"
    assert reached(host, "/fn/other") == "younger"
    line = host.log_has("/mine")
    assert line and "older" in line and "younger" in line

    host.remove("older")
    wait_until(lambda: reached(host, "/fn/mine") == "younger")


def test_routes_go_with_their_function(faas):
    host = faas(deploy={"probe": routes("/one"), "other": routes("/.*")})
    assert reached(host, "/fn/one") == "probe"
    host.deploy("probe", *routes("/two"))
    wait_until(lambda: reached(host, "/fn/two") == "probe")
    assert reached(host, "/fn/one") == "other"
    host.remove("probe")
    wait_until(lambda: reached(host, "/fn/two") == "other")
    host.remove("other")
    wait_until(lambda: reached(host, "/fn/two") == 404)


@pytest.mark.parametrize("pattern, offset", [("/a/(", 4), ("/a/[z-a]", 6)])
def test_bad_pattern_is_refused_at_deploy_with_its_offset(faas, pattern,
                                                          offset):
    host = faas(deploy=["probe"])
    before = host.function("probe")["version"]
    host.deploy("probe", *routes("/good", pattern), wait=False)
    error = wait_until(lambda: host.function("probe")["last_error"])
    assert pattern in error and str(offset) in error
    assert host.function("probe")["version"] == before
    assert reached(host, "/fn/probe") == "probe"
    assert reached(host, "/fn/good") == 404


def test_pattern_that_hits_its_limit_is_no_match_and_logged_once(faas):
    host = faas(workers=1, deploy={"bomb": routes("/(a+)+$", "/(a|aa)+$"),
                                   "probe": routes("/.*")})
    path = "/fn/" + "a" * 60 + "!"
    for _ in range(5):
        assert reached(host, path) == "probe"
    assert reached(host, "/fn/aaa") == "bomb"
    lines = [line for line in host.error_log().splitlines()
             if "counts as no match" in line]
    assert len(lines) == 1 and '"bomb"' in lines[0]


def test_thousands_of_routes(faas):
    host = faas(deploy=dict(
        {"probe": "probe.c"},
        **{"many%d" % k: routes(*("GET /r%d/(?<name>.+)" % i
                                  for i in range(k * 1000, k * 1000 + 1000)))
           for k in range(4)}))
    for i in (0, 1, 1999, 2000, 3998, 3999):
        assert host.get("/fn/r%d/x%d" % (i, i)).json["param"] == "x%d" % i
    assert reached(host, "/fn/r4000/x") == 404
    assert reached(host, "/fn/probe") == "probe"


def test_redirect_to_another_pass_is_routed_anew(faas):
    host = faas(deploy={"one": routes("/one/(?<name>.*)"),
                        "two": routes("/two/(?<name>.*)")},
                location="fastcgi_intercept_errors on;", server="""
        error_page 418 = /fn/two/second;""")
    answer = host.get("/fn/one/first?status=418").json
    assert answer["param"] == "second"
    assert answer["variables"]["SCRIPT_NAME"] == "/fn/two"
    assert answer["variables"]["FAAS_PATH"] == "/two/second"
