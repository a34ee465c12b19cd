"""nginx -t on good and bad fragments: what is wrong is said with file and
line, whatever the order; what is right starts nothing.  And the module in
plain nginx source trees, when there are any (NGINX_SRC, a list with ':')."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from harness import (ASAN, BUILD, NGINX, ROOT, check_reports, descendants,
                     free_port, nginx_environment)

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
        check_reports(done.stderr)
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
    HOST + "faas_core on keep=1 body=1;",
    HOST + "faas_core on body=1g keep=10000;",
    HOST + "faas_core off;",
    HOST + "faas_memory 1048576g; faas_busy_status 599;",
    HOST + "faas_busy_status 500;",
    HOST + "faas_scoreboard 1m;" + "".join(
        "faas_function a%d { }" % i for i in range(8))
    + "faas_function * { }",
    HOST + "faas_function * { max 3; } faas_function a { min 3; spare 3;"
           "consume q parallel=3; }",
    HOST + "faas_function a { consume q lease=30s; timeout 30s; }",
    HOST + "faas_memory 64m; faas_function a { min 8; memory 32m; }",
    location("faas_ignore_client_abort on; location / { faas_pass;"
             "location /a { fastcgi_ignore_client_abort off; faas_pass; }"
             "location /b { faas_ignore_client_abort off; faas_pass; } }"),
    location("fastcgi_ignore_client_abort on; location / { faas_pass;"
             "faas_ignore_client_abort off; if ($arg_x) { faas_pass a; } }"),
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
    # services
    HOST + "faas_kv sqlite; faas_queue sqlite;",
    HOST + "faas_kv redis://127.0.0.1:6379/0; faas_queue sqlite:q.db;",
    HOST + "faas_kv rediss://user:p%40ss@[::1]/3?prefix=x: ;"
           "faas_queue redis-sentinel://a,b:26380,c/mymaster;",
    HOST + "faas_queue redis-cluster://a:7000,b:7001;",
    HOST + "faas_callback https://example.org/hooks/ secret=k;"
           "faas_callback http://[::1]:8080/ 'secret=a b;c';"
           "faas_callback http://127.0.0.1/ secret=file:nginx.conf;",
    HOST + "faas_function a { consume q; consume q2 batch=10 wait=5s"
           " attempts=5 retry=1s..1m parallel=3 lease=2m; }",
    HOST + "faas_function a { consume q batch=10; } "
           "faas_function b { consume q; exactly_once on; }",
    HOST + "faas_function a { consume q batch=10; exactly_once off;"
           "max 3; consume p parallel=3; }",
    HOST + "faas_function a { schedule '0 3 * * *' tz=Europe/Berlin"
           " overlap=queue catchup=one name=nightly attempts=2;"
           "schedule 0 4 * * *; schedule '@every 10s'; schedule @daily; }",
    HOST + "faas_function a { async attempts=1 age=1h keep=1d; }"
           "faas_function b { async keep=1s; }",
    HOST + "faas_function a { share b; share c read; share d write;"
           "durability normal; exactly_once on; }"
           "faas_function d { durability full; }",
    location("faas_async on; location / { faas_pass; }"
             "location /a { faas_async off; location ~ b { faas_pass; } }"),
    location("location / { faas_async prefer; faas_pass;"
             "if ($arg_x) { faas_pass b; } limit_except GET { deny all; } }"),
    location("location ~ ^/f { faas_async on calls=/; faas_pass a; }"
             "location = /x { faas_async on calls=/fn/; faas_pass a; }"
             "location @y { faas_async prefer; faas_pass; }"),
    "faas_async on calls=/fn;" + location("location ~ ^/f { faas_pass a; }"),
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
    ("faas_core maybe;", 1, 'invalid value "maybe" in "faas_core"'),
    ("faas_core on keep=0;", 1, 'invalid parameter "keep=0" of "faas_core"'),
    ("faas_core on body=x;", 1, 'invalid parameter "body=x"'),
    ("faas_core on\nkeep=2 more;", 2, 'invalid parameter "more"'),
    ("faas_core on;\nfaas_core off;", 2, "is duplicate"),
    ("faas_busy_status 399;", 1, "400"),
    ("faas_busy_status 600;", 1, "599"),
    ("faas_busy_status 408;", 1, "408", "does not answer with"),
    ("faas_busy_status 444;", 1, "\"faas_busy_status 444\""),
    ("faas_busy_status 494;", 1, "does not answer with"),
    ("faas_busy_status 499;", 1, "does not answer with"),
    ("faas_ignore_client_abort;", 1, "invalid number of arguments"),
    ("faas_ignore_client_abort maybe;", 1, "it must be \"on\" or \"off\""),
    ("faas_ignore_client_abort on;\nfaas_ignore_client_abort on;", 2,
     "is duplicate"),
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
    ("faas_function a {\n env A=1;\n env A=2; }", 3, "duplicate \"env A\""),
    ("faas_function a { cpu 1; }", 1, "\"cpu\"", "is not supported"),
    ("faas_function a { network off; }", 1, "\"network\"",
     "is not supported"),
    ("faas_function a { include; }", 1, "invalid number of arguments"),
    ("faas_function a { include /nowhere; }", 1, "/nowhere"),

    # services
    ("faas_kv;", 1, "invalid number of arguments"),
    ("faas_kv sqlite;\nfaas_kv sqlite;", 2, "is duplicate"),
    ("faas_kv SQLite;", 1, "faas_kv"),
    ("faas_kv sqlite:x;", 1, "faas_kv"),
    ("faas_kv redis;", 1, "faas_kv"),
    ("faas_kv redis:/x;", 1, "faas_kv"),
    ("faas_kv ://x;", 1, "faas_kv"),
    ("faas_kv redis://;", 1, "host"),
    ("faas_kv redis://a:0;", 1, "port"),
    ("faas_kv redis://a:65536;", 1, "port"),
    ("faas_kv redis://a:x;", 1, "port"),
    ("faas_kv redis://[::1;", 1, "IPv6"),
    ("faas_kv redis://a/x;", 1, "database"),
    ("faas_kv redis://a,b;", 1, "several hosts"),
    ("faas_kv redis-sentinel://a;", 1, "master"),
    ("faas_kv redis-cluster://a/1;", 1, "database"),
    ("faas_kv redis://a?prefix;", 1, "faas_kv"),
    ("faas_kv 'redis://a b';", 1, "blanks"),
    ("faas_kv 'redis://a\n';", 2, "blanks"),
    ("faas_queue sqlite:;", 1, "no file"),
    ("faas_queue sqlite:/tmp/;", 1, "no file"),
    ("faas_queue sqlite;\nfaas_queue sqlite;", 2, "is duplicate"),
    ("faas_queue mysql://a;", 1, "faas_queue"),
    ("faas_callback https://a/;", 1, "invalid number of arguments"),
    ("faas_callback https://a/ k;", 1, "secret=KEY"),
    ("faas_callback https://a/ key=k;", 1, "secret=KEY"),
    ("faas_callback https://a/ secret=;", 1, "1 to 256 bytes"),
    ("faas_callback https://a/ secret=%s;" % ("x" * 257), 1, "1 to 256"),
    ("faas_callback https://a/ secret=file:;", 1, "needs a path"),
    ("faas_callback https://a/ secret=file:/no/such;", 1, "\"/no/such\""),
    ("faas_callback https://a/ secret=file:/tmp;", 1, "\"/tmp\""),
    ("faas_callback https://a secret=k;", 1, "must follow its host"),
    ("faas_callback https:///x secret=k;", 1, "no host"),
    ("faas_callback ftp://a/ secret=k;", 1, "https://"),
    ("faas_callback https://u:p@a/ secret=k;", 1, "a user"),
    ("faas_callback https://a/?x secret=k;", 1, "'?'"),
    ("faas_callback https://a:0/ secret=k;", 1, "port"),
    ("faas_callback 'https://a/ b' secret=k;", 1, "blanks"),
    ("faas_callback https://a/ secret=k;\n"
     "faas_callback https://a/ secret=l;", 2, "duplicate", "https://a/"),

    # events
    ("faas_function a { consume; }", 1, "invalid number of arguments"),
    ("faas_function a { consume Orders; }", 1, "\"consume\"", "Orders"),
    ("faas_function a {\n consume q batch=0; }", 2, "batch=0"),
    ("faas_function a { consume q batch=101; }", 1, "batch=101"),
    ("faas_function a { consume q bacth=1; }", 1, "bacth=1"),
    ("faas_function a { consume q batch=1 batch=2; }", 1, "twice"),
    ("faas_function a { consume q wait=soon; }", 1, "wait=soon"),
    ("faas_function a { consume q retry=5s; }", 1, "retry=5s"),
    ("faas_function a { consume q more; }", 1, "more"),
    ("faas_function a {\n consume q;\n consume q batch=2; }", 3,
     "duplicate \"consume q\""),
    ("faas_function a { schedule; }", 1, "invalid number of arguments"),
    ("faas_function a {\n schedule '* * * *'; }", 2, "\"schedule\""),
    ("faas_function a { schedule '60 * * * *'; }", 1, "\"schedule\""),
    ("faas_function a { schedule '@every 0s'; }", 1, "\"schedule\""),
    ("faas_function a { schedule '@dayly'; }", 1, "\"schedule\""),
    ("faas_function a { schedule @daily tz=Europe/Atlantis; }", 1,
     "Europe/Atlantis"),
    ("faas_function a { schedule @daily overlap=maybe; }", 1,
     "overlap=maybe"),
    ("faas_function a { schedule @daily catchup=some; }", 1, "catchup=some"),
    ("faas_function a {\n schedule @daily;\n schedule @daily; }", 3,
     "one timer"),
    ("faas_function a {\n schedule @daily name=x;\n"
     " schedule @hourly name=x; }", 3, "one timer"),
    ("faas_function a { schedule '%s * * * *' name=%s; }"
     % (",".join(map(str, range(60))), "x" * 90), 1, "longer than 255"),
    ("faas_function a { async attempts=0; }", 1, "attempts=0"),
    ("faas_function a { async age=forever; }", 1, "age=forever"),
    ("faas_function a { async tries=3; }", 1, "tries=3"),
    ("faas_function a { async; }", 1, "invalid number of arguments"),
    ("faas_function a { async age=1h; async age=1h; }", 1, "is duplicate"),
    ("faas_function a { share; }", 1, "invalid number of arguments"),
    ("faas_function a { share ../b; }", 1, "needs a name"),
    ("faas_function a { share b delete; }", 1, "\"read\" or \"write\""),
    ("faas_function a { share a; }", 1, "own name"),
    ("faas_function a {\n share b;\n share b read; }", 3, "duplicate"),
    ("faas_function a { exactly_once yes; }", 1, "\"on\" or \"off\""),
    ("faas_function a { exactly_once on; exactly_once on; }", 1,
     "is duplicate"),
    ("faas_function a { durability some; }", 1, "\"full\" or \"normal\""),
    ("faas_function a { durability full; durability full; }", 1,
     "is duplicate"),
    ("faas_function * { consume q; }", 1, "is no ceiling"),
    ("faas_function * { schedule @daily; }", 1, "is no ceiling"),
    ("faas_function * { async age=1h; }", 1, "is no ceiling"),
    ("faas_function * { share b; }", 1, "is no ceiling"),
    ("faas_function * { exactly_once on; }", 1, "is no ceiling"),
    ("faas_function * { durability full; }", 1, "is no ceiling"),

    ("faas_async;", 1, "invalid number of arguments"),
    ("faas_async maybe;", 1, "\"off\", \"prefer\" or \"on\""),
    ("faas_async on;\nfaas_async off;", 2, "is duplicate"),
    ("faas_async on cals=/x;", 1, "invalid parameter \"cals=/x\""),
    ("faas_async on calls=;", 1, "begin with \"/\""),
    ("faas_async on calls=fn;", 1, "begin with \"/\""),
    ("faas_async on calls=/$x;", 1, "plain path"),
    ("faas_async on calls=//x;", 1, "plain path"),
    ("faas_async on 'calls=/a b';", 1, "plain path"),
    ("faas_async on calls=/a%20b;", 1, "plain path"),
    ("faas_async off calls=/a;", 1, "contradicts"),

    # contradictions
    ("\nfaas_function a { exactly_once on; consume q batch=2; }", 2,
     "exactly_once", "batch=2"),
    ("faas_function a { consume q batch=2; exactly_once on; }", 1,
     "exactly_once", "batch=2"),
    ("faas_function a { consume q parallel=4; max 3; }", 1, "parallel=4",
     "max 3"),
    ("faas_function a { min 5; max 3; }", 1, "\"min 5\"", "\"max 3\""),
    ("faas_function a { max 3; min 5; }", 1, "\"min 5\"", "\"max 3\""),
    ("\nfaas_function b {\n spare 4;\n max 3;\n}", 2, "\"spare 4\"",
     "\"max 3\""),
    ("faas_function * { min 5; max 3; }", 1, "\"min 5\"", "\"max 3\""),
    ("faas_function a { mode oneshot; max_requests 2; }", 1, "oneshot",
     "max_requests 2"),
    ("faas_memory 16m;\nfaas_function a { memory 17m; }", 2,
     "17825792", "16777216"),
    ("faas_memory 16m;\nfaas_function * { memory 17m; }", 2,
     "17825792", "16777216"),
    ("faas_function a { consume q lease=5s; timeout 6s; }", 1,
     "lease=5000ms", "timeout 6000ms"),
    ("faas_scoreboard 1m;\n%s" % "\n".join(
        "faas_function a%d { }" % i for i in range(9)), 10, "9 \"faas_function"
     "\" blocks", "8 functions", "faas_scoreboard 1048576"),

    # ceilings
    ("faas_function * { max 3; }\nfaas_function a { max 4; }", 2,
     "\"max 4\"", "\"max 3\"", "nginx.conf:%d" % (MARK + 1)),
    ("faas_function a { max 4; }\nfaas_function * { max 3; }", 1,
     "\"max 4\"", "\"max 3\"", "nginx.conf:%d" % (MARK + 2)),
    ("faas_function * { max 3; }\nfaas_function a { min 4; }", 2,
     "\"min 4\"", "\"max 3\"", "nginx.conf:%d" % (MARK + 1)),
    ("faas_function a { spare 4; }\nfaas_function * { max 3; }", 1,
     "\"spare 4\"", "\"max 3\"", "nginx.conf:%d" % (MARK + 2)),
    ("faas_function * { max 3; }\nfaas_function a { consume q parallel=4; }",
     2, "parallel=4", "\"max 3\"", "nginx.conf:%d" % (MARK + 1)),
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
         "fastcgi_param HTTP_PROXY x", "fastcgi_param HTTP_FAAS_TOKEN x",
         "fastcgi_param HTTP_FAAS_FUNCTION x",
         "fastcgi_param HTTP_FAAS_DEPTH x"]


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


@pytest.mark.parametrize("own", ["on", "off"])
@pytest.mark.parametrize("stock", ["on", "off"])
def test_stock_directive_beside_faas_ignore_client_abort_is_refused(check, own,
                                                                    stock):
    check.fails(location("location / { faas_pass;\n"
                         "fastcgi_ignore_client_abort %s;\n"
                         "faas_ignore_client_abort %s; }" % (stock, own)), 5,
                "\"faas_ignore_client_abort %s\"" % own,
                "\"fastcgi_ignore_client_abort %s\"" % stock)


@pytest.mark.parametrize("name", [
    "HTTP_FAAS_EVENT", "HTTP_FAAS_NAME", "HTTP_FAAS_ID", "HTTP_FAAS_ATTEMPT",
    "HTTP_FAAS_SENT", "HTTP_FAAS_DUE", "HTTP_FAAS_FENCE",
    "HTTP_FAAS_MESSAGES"])
@pytest.mark.parametrize("pass_", ["faas_pass", "faas_invoke"])
def test_parameter_of_an_event_cannot_be_set(check, name, pass_):
    check.fails(location("location / {\n%s;\n"
                         "fastcgi_param %s x; }" % (pass_, name)), 4,
                "\"fastcgi_param %s\"" % name, "\"%s\"" % pass_)


@pytest.mark.parametrize("name", ["FAAS_TARGET", "FAAS_PREFIX"])
def test_parameter_of_an_async_call_cannot_be_set(check, name):
    check.fails(location("location / {\nfaas_pass;\n"
                         "fastcgi_param %s x; }" % name), 4,
                "\"fastcgi_param %s\"" % name, "\"faas_pass\"")


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
    ("location ~ x { faas_async on; faas_pass; }", "needs \"calls=/PREFIX\""),
    ("location = /x { faas_async on; faas_pass a; }", "needs \"calls="),
    ("location @x { faas_async on; faas_pass; }", "needs \"calls="),
    ("faas_async on; location ~ x { faas_pass; }", "needs \"calls="),
    ("location ~ x { faas_async on; if ($arg_x) { faas_pass; } }",
     "needs \"calls="),
    ("location / { faas_async prefer; faas_invoke; }",
     "\"faas_async\" cannot be beside \"faas_invoke\""),
    ("location / { faas_invoke; if ($arg_x) { faas_pass; } }",
     "cannot be in an \"if\""),
    ("location / { faas_pass; if ($arg_x) { faas_invoke; } }",
     "cannot be in an \"if\""),
    ("location / { if ($arg_x) { faas_async on; } }", "is not allowed here"),
    ("faas_kv sqlite;", "is not allowed here"),
    ("faas_callback https://a/ secret=k;", "is not allowed here"),
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


def test_faas_internal_without_faas_invoke_is_refused(check):
    check.fails(HOST + "\nserver {\nfaas_internal; location / { return 404; "
                "} }", 3, "without a \"faas_invoke\"")


def test_place_of_faas_async_is_said_beside_that_of_the_location(check):
    check.fails("faas_async on;\n" + HOST + "server { location ~ x {\n"
                "faas_pass; } }", 3, "\"faas_async on\" (%s/nginx.conf:%d)"
                % (check.dir, MARK + 1))


SECRETS = [
    "faas_kv redis://:verysecret@a:x;",
    "faas_kv redis://user:verysecret@a/b;",
    "faas_kv redis://user:1?verysecret@a;",
    "faas_kv redis://user:1?verysecret=x@a;",
    "faas_kv redis://user:1/verysecret@a;",
    "faas_kv redis-sentinel://user:1/verysecret@a;",
    "faas_kv 'redis://:verysecret@a b';",
    "faas_kv redis://:verysecret@a; faas_kv sqlite;",
    "faas_queue redis-sentinel://:verysecret@a;",
    "faas_queue http://:verysecret@a;",
    "faas_callback https://a secret=verysecret;",
    "faas_callback https://u:verysecret@a/ secret=k;",
    "faas_callback https://a/ verysecret;",
    "faas_callback https://a/ secret=verysecret; "
    "faas_callback https://a/ secret=verysecret2;",
    "faas_callback https://a/ secret=verysecret%s;" % ("x" * 256),
    "faas_function a { env A=verysecret; env A=verysecret2; }",
]


@pytest.mark.parametrize("number", range(len(SECRETS)))
def test_error_tells_no_secret(check, number):
    good, output = check(SECRETS[number] + HOST)
    assert not good and "verysecret" not in output, output


@pytest.mark.parametrize("server", [
    "server { faas_internal; location / { faas_invoke; } }", ""])
@pytest.mark.parametrize("order", ["before", "after"])
def test_internal_server_is_there_once_whatever_is_written(check, server,
                                                           order):
    parts = [HOST, server]
    if order == "after":
        parts.reverse()
    check.passes("".join(parts))


OUTER = """
    client_max_body_size 1; auth_basic x; auth_basic_user_file /nowhere;
    deny all; error_page 404 @x; add_header A b; gzip on; ssi on;
    auth_request /x; mirror /y; expires 1h; charset utf-8;
    limit_conn_zone $server_addr zone=z:1m; limit_conn z 1;
    limit_req_zone $server_addr zone=y:1m rate=1r/m; limit_req zone=y;
    fastcgi_intercept_errors on; fastcgi_read_timeout 1s;
    add_before_body /x; access_log @DIR@/access.log; keepalive_timeout 0;"""


def test_implicit_internal_server_takes_any_outer_block(check):
    check.passes(HOST + OUTER)
    check.passes(OUTER + HOST)


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
    check_reports(done.stderr)
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


@pytest.mark.skipif(ASAN, reason="would be built without sanitizers")
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


@pytest.mark.skipif(ASAN, reason="would be built without sanitizers")
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
