"""What faas_pass gives to a function, wherever it stands, and what nobody can
slip into it."""

import pytest

SERVER = """
    fastcgi_param OUTER outer;
    location /own/ {
        fastcgi_param BEFORE $request_method;
        faas_pass;
        fastcgi_param SERVER_SOFTWARE mine;
        fastcgi_param EMPTY $arg_none if_not_empty;
        limit_except GET { allow all; }
    }
    location /if/ {
        fastcgi_param KEPT yes;
        fastcgi_param SERVER_NAME theirs;
        if ($arg_go) { faas_pass probe; }
    }
    location /both/ {
        fastcgi_param KEPT yes;
        if ($arg_go) { faas_pass other; }
        faas_pass probe;
    }
    location /inherit/ {
        fastcgi_param KEPT yes;
        if ($arg_go) { set $x 1; }
        faas_pass probe;
    }
    location /outer/ {
        fastcgi_param OUTSIDE yes;
        faas_pass;
        location /outer/inner/ { faas_pass; }
        location ~ ^/outer/re(?<rest>/.*)$ { faas_pass probe; }
    }
    location = /exact { faas_pass probe; }
    location = /go { error_page 404 = @named; return 404; }
    location @named { faas_pass probe; }
"""


@pytest.fixture(scope="module")
def host(faas_module):
    return faas_module(deploy=["probe", "other"], server=SERVER)


def variables(host, path, method="GET", **options):
    r = host.get(path, method, **options)
    assert r.status == 200, r
    return r.json["variables"]


def test_usual_parameters(host):
    v = variables(host, "/fn/probe/a%20b?x=1%202&y")
    assert v["REQUEST_METHOD"] == "GET"
    assert v["QUERY_STRING"] == "x=1%202&y"
    assert v["REQUEST_URI"] == "/fn/probe/a%20b?x=1%202&y"
    assert v["DOCUMENT_URI"] == "/fn/probe/a b"
    assert v["SCRIPT_NAME"] == "/fn/probe"
    assert v["PATH_INFO"] == "/a b"
    assert v["FAAS_PATH"] == "/probe/a b"
    assert v["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert v["REQUEST_SCHEME"] == "http"
    assert v["GATEWAY_INTERFACE"] == "CGI/1.1"
    assert v["SERVER_SOFTWARE"].startswith("nginx/")
    assert v["REMOTE_ADDR"] == v["SERVER_ADDR"] == "127.0.0.1"
    assert v["SERVER_PORT"] == str(host.port)
    assert v["REMOTE_PORT"].isdigit()
    assert "HTTPS" not in v
    assert v["REQUEST_ID"]


def test_body_length_is_that_of_what_was_received(host):
    v = variables(host, "/fn/probe", "POST", body=b"x" * 1000,
                  headers={"Content-Type": "text/x"})
    assert (v["CONTENT_LENGTH"], v["CONTENT_TYPE"]) == ("1000", "text/x")
    v = variables(host, "/fn/probe", "POST", body=iter([b"abc", b"de"]))
    assert v["CONTENT_LENGTH"] == "5"


def test_users_parameters_add_to_ours_or_take_their_place(host):
    v = variables(host, "/own/probe")
    assert v["BEFORE"] == "GET"
    assert v["SERVER_SOFTWARE"] == "mine"
    assert v["SCRIPT_NAME"] == "/own/probe"
    assert "EMPTY" not in v and "OUTER" not in v


def test_limit_except_block_is_a_part_of_its_location(host):
    v = variables(host, "/own/probe", "POST")
    assert v["BEFORE"] == "POST"
    assert v["SERVER_SOFTWARE"] == "mine"
    assert v["SCRIPT_NAME"] == "/own/probe"


def test_faas_pass_in_if_takes_the_locations_parameters_along(host):
    assert host.get("/if/x").status == 404
    v = variables(host, "/if/x?go=1")
    assert v["KEPT"] == "yes"
    assert v["SERVER_NAME"] == "theirs"
    assert v["REQUEST_METHOD"] == "GET"
    assert v["FAAS_PATH"] == "/x"


def test_faas_pass_in_if_and_in_its_location(host):
    one = host.get("/both/x").json
    two = host.get("/both/x?go=1").json
    assert one["pid"] != two["pid"]
    for v in (one["variables"], two["variables"]):
        assert v["KEPT"] == "yes"
        assert v["REQUEST_METHOD"] == "GET"


def test_if_without_a_target_of_its_own_inherits_all(host):
    v = variables(host, "/inherit/x?go=1")
    assert v["KEPT"] == "yes"
    assert v["SCRIPT_NAME"] and v["REQUEST_METHOD"] == "GET"


def test_nested_locations_have_parameters_of_their_own(host):
    v = variables(host, "/outer/probe/x")
    assert v["OUTSIDE"] == "yes"
    assert v["SCRIPT_NAME"] == "/outer/probe"
    v = variables(host, "/outer/inner/probe/x")
    assert "OUTSIDE" not in v
    assert v["SCRIPT_NAME"] == "/outer/inner/probe"
    assert v["PATH_INFO"] == "/x"


@pytest.mark.parametrize("path", ["/outer/re/x", "/exact", "/go"])
def test_location_without_a_prefix_is_served(host, path):
    v = variables(host, path)
    assert v["REQUEST_METHOD"] == "GET"
    assert v["REQUEST_URI"] == path


@pytest.mark.parametrize("name", ["Proxy", "PROXY", "Faas-Token",
                                  "faas-token"])
def test_header_that_no_function_sees(host, name):
    v = variables(host, "/fn/probe", headers={name: "evil"})
    assert "evil" not in v.values()
    v = variables(host, "/both/x?go=1", headers={name: "evil"})
    assert "evil" not in v.values()


@pytest.mark.parametrize("sent,seen", [
    ("example.org", "example.org"),
    ("EXAMPLE.org:81", "example.org:81"),
    ("[::1]:81", "[::1]:81"),
    ("[::1]", "[::1]"),
    ("1.2.3.4:5", "1.2.3.4:5"),
])
def test_host_is_what_the_request_was_for(host, sent, seen):
    v = variables(host, "/fn/probe", headers={"Host": sent})
    assert v["HTTP_HOST"] == seen


@pytest.mark.parametrize("header", ["Host: evil.example", "Host: evil:81",
                                    "Host: good.exampleevil:1"])
def test_absolute_request_line_counts_more_than_the_host_header(host, header):
    with host.wire() as w:
        w.send("GET http://good.example/fn/probe HTTP/1.1\r\n%s\r\n"
               "Connection: close\r\n\r\n" % header)
        r = w.response()
        assert r.status == 200
        assert r.json["variables"]["HTTP_HOST"] == "good.example"


def test_request_without_a_host(host):
    with host.wire() as w:
        w.send("GET /fn/probe HTTP/1.0\r\n\r\n")
        r = w.response()
        assert r.status == 200
        assert r.json["variables"].get("HTTP_HOST", "") == ""


def test_client_header_overrides_no_parameter(host):
    v = variables(host, "/fn/probe", headers={
        "Script-Name": "evil", "Faas-Path": "evil", "Request-Method": "evil",
        "Content-Length2": "evil", "Remote-User": "evil"})
    assert v["SCRIPT_NAME"] == "/fn/probe"
    assert v["FAAS_PATH"] == "/probe"
    assert v["REQUEST_METHOD"] == "GET"
    assert v.get("REMOTE_USER", "") == ""
