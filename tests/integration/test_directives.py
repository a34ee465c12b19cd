"""nginx -t on good and bad fragments: what is wrong is said with file and
line, whatever the order; what is right starts nothing.  And the module in
plain nginx source trees, when there are any (NGINX_SRC, a list with ':')."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from harness import (BUILD, NGINX, ROOT, descendants, free_port,
                     nginx_environment)

sys.path.insert(0, str(ROOT / "tests"))

import check_directives                                 # noqa: E402

CONF = """\
%(load)s
error_log stderr info;
pid %(dir)s/nginx.pid;
events { }
http {
access_log off;
client_body_temp_path %(dir)s/tmp/body;
fastcgi_temp_path %(dir)s/tmp/fastcgi;
proxy_temp_path %(dir)s/tmp/proxy;
scgi_temp_path %(dir)s/tmp/scgi;
uwsgi_temp_path %(dir)s/tmp/uwsgi;
#MARK
%(http)s
}
"""
MARK = CONF.split("#MARK")[0].count("\n") + 1
HOST = "faas_functions @DIR@/functions; faas_state @DIR@/state;"


class Checker:
    """Runs nginx -t on the inside of an http block."""

    def __init__(self, directory, module):
        self.dir = directory
        self.load = "load_module %s;" % module if module else ""
        self.nginx = NGINX
        (directory / "tmp").mkdir()

    def __call__(self, http):
        path = self.dir / "nginx.conf"
        path.write_text(CONF % {
            "load": self.load, "dir": self.dir,
            "http": http.replace("@DIR@", str(self.dir))})
        done = subprocess.run(
            [self.nginx, "-t", "-p", str(self.dir), "-c", str(path)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            env=nginx_environment(), timeout=60)
        assert done.returncode in (0, 1), (done.returncode, done.stderr)
        return done.returncode == 0, done.stderr

    def fails(self, http, line, *texts):
        """line: within the fragment, from 1."""

        good, output = self(http)
        assert not good, "accepted: " + http
        emerg = [text for text in output.splitlines() if "[emerg]" in text]
        assert emerg, output
        for text in texts:
            assert text in emerg[0], (text, output)
        if line:
            place = "%s/nginx.conf:%d" % (self.dir, MARK + line)
            assert emerg[-1].endswith(place), (place, output)

    def passes(self, http):
        good, output = self(http)
        assert good, output
        assert "[warn]" not in output, output


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    return Checker(tmp_path_factory.mktemp("directives"),
                   BUILD / "ngx_http_faas_module.so")


def location(text, http=HOST):
    return http + "\nserver { listen 127.0.0.1:18999;\n" + text + "\n}"


# -- what is right ------------------------------------------------------------

GOOD = [
    HOST,
    "",
    HOST + "server { listen 127.0.0.1:18999; location /fn/ { faas_pass; } }",
    "server { listen 127.0.0.1:18999; location /fn/ { faas_pass; } }" + HOST,
    # relative paths, slashes at the end
    "faas_functions functions/; faas_state state//;",
    HOST + "faas_scoreboard 1m;",
    HOST + "faas_scoreboard 4g;",
    HOST + "faas_memory 16m; faas_busy_status 400;",
    HOST + "faas_memory 1048576g; faas_busy_status 599;",
    HOST + "faas_user nobody; faas_deployer root;",
    HOST + "faas_supervisor /nowhere/faas-supervisor;",
    HOST + "faas_function a { }",
    HOST + "faas_function 0-_ { mode oneshot; max_requests 1; }",
    HOST + "faas_function %s { min 0; }" % ("a" * 63),
    HOST + "faas_function a { min 3; max 3; spare 3; }",
    HOST + "faas_function a { queue 0; } faas_function b { queue 0 timeout=5s; }",
    HOST + "faas_function a { queue 1 timeout=1ms; timeout 12h; }",
    HOST + "faas_function a { env A=; env B=x=y; env '_c1= ; } '; }",
    HOST + "faas_function a { template_timeout 0; idle_timeout 7d; }",
    HOST + "faas_function a { max 2; } faas_function * { max 2; }",
    HOST + "faas_function * { max_requests 0; }"
           "faas_function a { max_requests 5; }",
    HOST + "faas_function * { max_requests 5; }"
           "faas_function a { max_requests 5; }",
    # an outer block may set what faas_pass overrides
    location("fastcgi_read_timeout 5s; fastcgi_keep_conn off;"
             "location / { faas_pass; }"),
    location("location / { faas_pass;"
             "location /x { fastcgi_read_timeout 5s; } }"),
    location("location / { fastcgi_cache off; faas_pass;"
             "fastcgi_buffering off; fastcgi_request_buffering off;"
             "fastcgi_param A b; fastcgi_intercept_errors on; }"),
    location("location / { faas_pass; fastcgi_param SCRIPT_NAME /x; }"),
    location("location / { fastcgi_param A b; if ($arg_x) { faas_pass; } }"),
    location("location / { if ($arg_x) { faas_pass a; } faas_pass b; }"),
    location("location / { faas_pass; limit_except GET { deny all; } }"),
    location("location / { faas_pass; limit_except GET {"
             "proxy_pass http://127.0.0.1; } }"),
    location("location / { faas_pass; if ($arg_x) {"
             "proxy_pass http://127.0.0.1; } }"),
    location("location / { proxy_pass http://127.0.0.1;"
             "if ($arg_x) { faas_pass; } }"),
    location("location / { faas_pass; location /a { faas_pass a; } }"),
    location("location ~ ^/(?<f>a|b)$ { faas_pass $f; }"
             "location @named { faas_pass; } location = /x { faas_pass x; }"
             "location ^~ /y { faas_pass $arg_f; }"),
    location("location / { try_files $uri =404; faas_pass; }"),
    location("location / { faas_status; } location /a { faas_status; }"),
    HOST + "server { faas_internal; location / { faas_invoke; } }",
    HOST + "server { faas_internal; server_name x;"
           "location / { faas_invoke $arg_f; } }"
           "server { listen 127.0.0.1:18999; location / { faas_pass; } }",
]


@pytest.mark.parametrize("number", range(len(GOOD)))
def test_good_fragment_is_accepted(check, number):
    check.passes(GOOD[number])


# -- what is wrong ------------------------------------------------------------

# (fragment, line in it, what the error says)

BAD = [
    # the host's directives
    ("faas_functions;", 1, "invalid number of arguments"),
    ("faas_functions '';", 1, "has an empty path"),
    ("faas_functions a;\nfaas_functions b;", 2, "is duplicate"),
    ("faas_functions a;\nfaas_state a;", 0, "are both"),
    ("faas_state %s;" % ("/" + "x" * 100), 1, "longer than 85 bytes"),
    ("faas_state a;\nfaas_state b;", 2, "is duplicate"),
    ("faas_supervisor a b;", 1, "invalid number of arguments"),
    ("faas_user no-such-user;", 1, "no user \"no-such-user\""),
    ("faas_user root;", 1, "must not be root"),
    ("faas_deployer no-such-user;", 1, "\"faas_deployer\""),
    ("faas_scoreboard 1023k;", 1, "out of range", "1m to 4g"),
    ("faas_scoreboard 4097m;", 1, "out of range"),
    ("faas_scoreboard big;", 1, "invalid size \"big\""),
    ("faas_scoreboard -1;", 1, "invalid size"),
    ("faas_scoreboard 99999999999999999999g;", 1, "invalid size"),
    ("faas_memory 1m;", 1, "out of range", "16m"),
    ("faas_memory 16m;\nfaas_memory 16m;", 2, "is duplicate"),
    ("faas_busy_status 399;", 1, "400"),
    ("faas_busy_status 600;", 1, "599"),
    ("faas_busy_status x;", 1, "invalid number"),
    ("faas_sticky x;", 1, "unknown directive \"faas_sticky\""),
    ("server { faas_functions a; }", 1, "is not allowed here"),
    ("server { location / { faas_state a; } }", 1, "is not allowed here"),
    ("server { faas_pass; }", 1, "is not allowed here"),
    ("faas_status;", 1, "is not allowed here"),

    # faas_function
    ("faas_function { }", 1, "invalid number of arguments"),
    ("faas_function a;", 1, "has no opening \"{\""),
    ("faas_function A { }", 1, "invalid function name \"A\""),
    ("faas_function -a { }", 1, "invalid function name"),
    ("faas_function a.so { }", 1, "invalid function name"),
    ("faas_function '' { }", 1, "invalid function name"),
    ("faas_function ** { }", 1, "invalid function name"),
    ("faas_function %s { }" % ("a" * 64), 1, "invalid function name"),
    ("faas_function a { }\nfaas_function a { }", 2, "duplicate",
     "nginx.conf:%d" % (MARK + 1)),
    ("faas_function * { }\n\nfaas_function * { }", 3, "duplicate"),
    ("faas_function a { maxx 3; }", 1, "unknown setting \"maxx\""),
    ("faas_function a { queue_timeout 3s; }", 1, "unknown setting"),
    ("faas_function a { max { } }", 1, "unexpected \"{\""),
    ("faas_function a { max; }", 1, "invalid number of arguments"),
    ("faas_function a { max 1 2; }", 1, "invalid number of arguments"),
    ("faas_function a {\n max 1;\n max 2;\n}", 3, "\"max\"", "is duplicate"),
    ("faas_function a {\n mode resident;\n mode resident; }", 3,
     "is duplicate"),
    ("faas_function a { mode fast; }", 1, "\"resident\" or \"oneshot\""),
    ("faas_function a { max 0; }", 1, "out of range", "1 to 1024"),
    ("faas_function a { max 1025; }", 1, "out of range"),
    ("faas_function a { max -1; }", 1, "invalid value \"-1\" of \"max\""),
    ("faas_function a { max 1.5; }", 1, "invalid value"),
    ("faas_function a { max 99999999999999999999; }", 1, "invalid value"),
    ("faas_function a { min 1025; }", 1, "0 to 1024"),
    ("faas_function a { queue 1000001; }", 1, "out of range"),
    ("faas_function a { queue 5 10; }", 1, "invalid parameter \"10\""),
    ("faas_function a { queue 5 timeout=; }", 1, "invalid value"),
    ("faas_function a { queue 5 timeout=0; }", 1, "out of range"),
    ("faas_function a { queue 5 timeout=1x; }", 1, "invalid value"),
    ("faas_function a { timeout 0; }", 1, "out of range", "1ms to 12h"),
    ("faas_function a { timeout 13h; }", 1, "out of range"),
    ("faas_function a { timeout soon; }", 1, "invalid value \"soon\""),
    ("faas_function a { idle_timeout 8d; }", 1, "out of range"),
    ("faas_function a { init_timeout 2h; }", 1, "out of range"),
    ("faas_function a { template_timeout 8d; }", 1, "out of range"),
    ("faas_function a { max_requests 1000000001; }", 1, "out of range"),
    ("faas_function a { memory 1023k; }", 1, "out of range"),
    ("faas_function a { memory lots; }", 1, "invalid value"),
    ("faas_function a { accel yes; }", 1, "\"on\" or \"off\""),
    ("faas_function a { accel on; accel on; }", 1, "is duplicate"),
    ("faas_function a { user no-such-user; }", 1, "no user"),
    ("faas_function a { user root; }", 1, "must not be root"),
    ("faas_function a { user nobody; user nobody; }", 1, "is duplicate"),
    ("faas_function a { routes x/; }", 1, "must begin with \"/\""),
    ("faas_function a { routes ''; }", 1, "must begin with \"/\""),
    ("faas_function a { env A; }", 1, "must be NAME=VALUE"),
    ("faas_function a { env =x; }", 1, "must be NAME=VALUE"),
    ("faas_function a { env 1A=x; }", 1, "must be NAME=VALUE"),
    ("faas_function a { env 'A B=x'; }", 1, "must be NAME=VALUE"),
    ("faas_function a { env FAAS_X=1; }", 1, "FAAS_"),
    ("faas_function a {\n env A=1;\n env A=2; }", 3, "duplicate", "A=1",
     "A=2"),
    ("faas_function a { cpu 1; }", 1, "\"cpu\"", "is not supported"),
    ("faas_function a { network off; }", 1, "\"network\"",
     "is not supported"),
    ("faas_function a { include; }", 1, "invalid number of arguments"),
    ("faas_function a { include /nowhere; }", 1, "/nowhere"),

    # contradictions
    ("faas_function a { min 5; max 3; }", 1, "\"min 5\"", "\"max 3\""),
    ("faas_function a { max 3; min 5; }", 1, "\"min 5\"", "\"max 3\""),
    ("\nfaas_function b {\n spare 4;\n max 3;\n}", 2, "\"spare 4\"",
     "\"max 3\""),
    ("faas_function * { min 5; max 3; }", 1, "\"min 5\"", "\"max 3\""),
    ("faas_function a { mode oneshot; max_requests 2; }", 1, "oneshot",
     "max_requests 2"),
    ("faas_memory 16m;\nfaas_function a { memory 17m; }", 2,
     "17825792", "16777216"),

    # ceilings
    ("faas_function * { max 3; }\nfaas_function a { max 4; }", 2,
     "\"max 4\"", "\"max 3\"", "nginx.conf:%d" % (MARK + 1)),
    ("faas_function a { max 4; }\nfaas_function * { max 3; }", 1,
     "\"max 4\"", "\"max 3\"", "nginx.conf:%d" % (MARK + 2)),
    ("faas_function * { timeout 3s; }\nfaas_function a { timeout 4s; }", 2,
     "\"timeout 4000ms\"", "\"timeout 3000ms\""),
    ("faas_function * { queue 9 timeout=3s; }\n"
     "faas_function a { queue 9 timeout=4s; }", 2, "4000ms", "3000ms"),
    ("faas_function * { max_requests 5; }\n"
     "faas_function a { max_requests 0; }", 2, "max_requests 0",
     "max_requests 5"),
    ("faas_function * { memory 32m; }\nfaas_function a { memory 64m; }", 2,
     "memory 67108864", "memory 33554432"),
    ("faas_function * { mode oneshot; }", 1, "\"mode\" is no ceiling"),
    ("faas_function * { env A=b; }", 1, "\"env\" is no ceiling"),
    ("faas_function * { accel on; }", 1, "is no ceiling"),
    ("faas_function * { user nobody; }", 1, "is no ceiling"),
    ("faas_function * { routes /; }", 1, "is no ceiling"),
]


@pytest.mark.parametrize("number", range(len(BAD)))
def test_bad_directive_is_refused_with_file_and_line(check, number):
    fragment, line, *texts = BAD[number]
    if "server {" not in fragment and "faas_functions" not in fragment \
            and "faas_state" not in fragment:
        fragment += "\n" + HOST
    check.fails(fragment, line, *texts)


OWNED = ["fastcgi_keep_conn on", "fastcgi_keep_conn off",
         "fastcgi_next_upstream error", "fastcgi_next_upstream off",
         "fastcgi_next_upstream_tries 2", "fastcgi_next_upstream_tries 0",
         "fastcgi_next_upstream_timeout 1s", "fastcgi_connect_timeout 60s",
         "fastcgi_send_timeout 1d", "fastcgi_read_timeout 1d",
         "fastcgi_param FAAS_PATH x", "fastcgi_param FAAS_PARAMS x",
         "fastcgi_param HTTP_PROXY x", "fastcgi_param HTTP_FAAS_TOKEN x"]


@pytest.mark.parametrize("pass_", ["faas_pass", "faas_pass a", "faas_invoke"])
@pytest.mark.parametrize("order", ["before", "after", "included"])
@pytest.mark.parametrize("owned", OWNED)
def test_owned_directive_beside_faas_pass_is_refused(check, owned, order,
                                                     pass_):
    lines = [owned + ";", pass_ + ";"]
    if order == "after":
        lines.reverse()
    if order == "included":
        (check.dir / "owned.conf").write_text(owned + ";\n")
        lines[0] = "include @DIR@/owned.conf;"
    check.fails(location("location / {\n%s\n}" % "\n".join(lines)),
                4 + lines.index(pass_ + ";"),
                "\"%s\"" % (owned.split()[0] if "param" not in owned
                            else owned.rsplit(" ", 1)[0]),
                "\"%s\"" % pass_.split()[0])


OTHERS = ["fastcgi_pass 127.0.0.1:9", "proxy_pass http://127.0.0.1:9",
          "uwsgi_pass 127.0.0.1:9", "scgi_pass 127.0.0.1:9", "stub_status",
          "empty_gif", "memcached_pass 127.0.0.1:9", "faas_status",
          "fastcgi_pass $arg_x"]


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("other", OTHERS)
def test_other_content_handler_beside_faas_pass_is_refused(check, other,
                                                           order):
    lines = [other + ";", "faas_pass;"]
    if order == "after":
        lines.reverse()
    check.fails(location("location / {\n%s\n}" % "\n".join(lines)), None,
                "cannot be beside")
    good, output = check(location("location / {\n%s\n}" % "\n".join(lines)))
    assert re.search(r"in %s/nginx.conf:%d$" % (
        re.escape(str(check.dir)), MARK + 4), output, re.M) or \
        re.search(r"in %s/nginx.conf:%d$" % (
            re.escape(str(check.dir)), MARK + 5), output, re.M), output


PLACES = [
    ("location / { faas_pass; faas_pass; }", "is duplicate"),
    ("location / { faas_pass; faas_invoke; }", "cannot be beside"),
    ("location / { faas_invoke; faas_pass; }", "cannot be beside"),
    ("location / { faas_pass a b; }", "invalid number of arguments"),
    ("location / { faas_pass Hello; }", "invalid function name \"Hello\""),
    ("location / { faas_pass ../x; }", "invalid function name"),
    ("location / { faas_pass hello.so; }", "invalid function name"),
    ("location / { faas_pass ''; }", "invalid function name"),
    ("location / { faas_pass %s; }" % ("a" * 64), "invalid function name"),
    ("location / { faas_pass $no_such_variable; }", "no_such_variable"),
    ("location / { faas_pass \"${\"; }", ""),
    ("location / { faas_status; faas_status; }", "is duplicate"),
    ("location / { faas_status x; }", "invalid number of arguments"),
    ("location / { if ($arg_x) { faas_status; } }", "is not allowed here"),
    ("location / { limit_except GET { faas_pass; } }",
     "is not allowed here"),
    ("location / { if ($arg_x) { faas_pass; return 200; fastcgi_param A b; }"
     "}", "is not allowed here"),
    ("faas_internal x;", "invalid number of arguments"),
    ("location / { faas_internal; }", "is not allowed here"),
]


@pytest.mark.parametrize("number", range(len(PLACES)))
def test_bad_location_is_refused_with_its_reason(check, number):
    text, why = PLACES[number]
    check.fails(location(text), None, why)


def test_faas_pass_without_faas_functions_is_refused(check):
    check.fails("server { listen 127.0.0.1:18999;\nlocation / {\nfaas_pass;"
                "\n} }", 3, "without \"faas_functions\"")


def test_faas_internal_without_faas_functions_is_refused(check):
    check.fails("server {\nfaas_internal; }", 2, "without \"faas_functions\"")


@pytest.mark.parametrize("lines", [
    "faas_internal;\nlisten 127.0.0.1:18999;",
    "listen 127.0.0.1:18999;\nfaas_internal;"])
def test_listen_beside_faas_internal_is_refused(check, lines):
    check.fails(HOST + "\nserver {\n%s\n}" % lines,
                3 + lines.split("\n").index("faas_internal;"),
                "\"listen\" cannot be beside \"faas_internal\"")


def test_second_faas_internal_is_refused(check):
    check.fails(HOST + "\nserver {\nfaas_internal; }\nserver {\n"
                "faas_internal; }", 5, "duplicate \"faas_internal\"",
                "nginx.conf:%d" % (MARK + 3))


def test_error_in_an_included_block_names_the_included_file(check):
    path = check.dir / "function.conf"
    path.write_text("max 3;\n\nmaxx 3;\n")
    good, output = check(HOST + "faas_function a { include @DIR@/"
                         "function.conf; }")
    assert not good and "%s:3" % path in output, output
    path.write_text("max 3;\n")
    check.passes(HOST + "faas_function a { include @DIR@/function.conf; }")


# -- nothing happens ------------------------------------------------------------

def test_nginx_t_creates_and_starts_nothing(check):
    before = set(descendants())
    check.passes(HOST + "server { faas_internal; location / { faas_invoke; } "
                 "} server { listen 127.0.0.1:%d; location / { faas_pass; } }"
                 % free_port())
    assert not (check.dir / "state").exists()
    assert not (check.dir / "functions").exists()
    assert set(descendants()) == before


def test_nginx_s_without_a_master_creates_and_starts_nothing(check):
    before = set(descendants())
    check.passes(HOST + "server { faas_internal; location / { faas_invoke; } "
                 "}")
    done = subprocess.run(
        [NGINX, "-p", str(check.dir), "-c", str(check.dir / "nginx.conf"),
         "-s", "reload"], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, env=nginx_environment(), timeout=60)
    assert done.returncode != 0 and "nginx.pid" in done.stderr
    assert not (check.dir / "state").exists()
    assert set(descendants()) == before


def test_examples_in_conf_are_accepted(check):
    """The host's paths may be anywhere: -t looks at none of them."""

    text = (ROOT / "conf/reference.conf").read_text()
    check.passes(text.replace("listen 8080", "listen 127.0.0.1:18999"))


def test_reference_says_what_the_sources_say():
    assert check_directives.differences() == []


# -- plain nginx trees ----------------------------------------------------------

TREES = [path for path in os.environ.get("NGINX_SRC", "").split(":") if path]


def configure(tree, directory, *options):
    directory.mkdir()
    for entry in pathlib.Path(tree).iterdir():
        if entry.name not in ("objs", "Makefile"):
            (directory / entry.name).symlink_to(entry.resolve())
    script = "configure" if (directory / "configure").exists() \
        else "auto/configure"
    done = subprocess.run(
        ["sh", script, "--with-http_auth_request_module"] + list(options),
        cwd=directory, capture_output=True, text=True)
    return done


def make(directory, target):
    done = subprocess.run(["make", "-j2", "-f", "objs/Makefile", target],
                          cwd=directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "warning:" not in done.stderr


@pytest.mark.skipif(not TREES, reason="NGINX_SRC names no nginx source tree")
@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("link", ["static", "dynamic"])
def test_plain_nginx_tree_takes_the_module(tree, link, tmp_path):
    if link == "static":
        done = configure(tree, tmp_path / "b", "--add-module=%s" % ROOT)
    else:
        done = configure(tree, tmp_path / "b", "--with-compat",
                         "--add-dynamic-module=%s" % ROOT)
    assert done.returncode == 0, done.stdout[-2000:]
    make(tmp_path / "b", "binary")
    if link == "dynamic":
        make(tmp_path / "b", "modules")

    (tmp_path / "t").mkdir()
    checker = Checker(tmp_path / "t", tmp_path / "b/objs/"
                      "ngx_http_faas_module.so" if link == "dynamic"
                      else None)
    checker.nginx = str(tmp_path / "b/objs/nginx")
    (tmp_path / "t/logs").mkdir()
    checker.passes(location("location / { faas_pass; fastcgi_param A b; }"))
    checker.fails(location("location / {\nfaas_pass;\n"
                           "fastcgi_keep_conn on; }"), 4,
                  "\"fastcgi_keep_conn\" cannot be beside")


@pytest.mark.skipif(not TREES, reason="NGINX_SRC names no nginx source tree")
def test_configure_says_what_is_missing(tmp_path):
    done = configure(TREES[0], tmp_path / "a", "--without-http_rewrite_module",
                     "--with-ld-opt=-L/nowhere", "--with-cc-opt="
                     "-include /dev/null -D_PCRE2_H -DPCRE2_H_IDEMPOTENT_GUARD",
                     "--add-module=%s" % ROOT)
    assert done.returncode != 0
    assert "libpcre2-dev" in done.stdout

    done = configure(TREES[0], tmp_path / "b",
                     "--without-http_fastcgi_module",
                     "--add-module=%s" % ROOT)
    assert done.returncode != 0
    assert "ngx_http_fastcgi_module" in done.stdout
