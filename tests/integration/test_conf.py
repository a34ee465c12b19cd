"""What conf/ shows is valid, and what the Makefile installs is complete."""

import os
import re
import subprocess

import pytest

from harness import ASAN, BUILD, ROOT, free_port

SITE = """\
load_module %(bin)s/ngx_http_faas_module.so;
pid %(dir)s/nginx.pid;
error_log %(dir)s/error.log;
events { }
http {
    access_log off;
    client_body_temp_path %(dir)s/tmp/body;
    fastcgi_temp_path %(dir)s/tmp/fastcgi;
    proxy_temp_path %(dir)s/tmp/proxy;
    scgi_temp_path %(dir)s/tmp/scgi;
    uwsgi_temp_path %(dir)s/tmp/uwsgi;
    include %(dir)s/faas.conf;
    include %(dir)s/sites.conf;
}
"""


def test_examples_of_configuration_are_valid(faas, session_directory):
    host = faas(start=False)
    key, cert = host.dir / "key.pem", host.dir / "cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048",
                    "-nodes", "-subj", "/CN=x", "-keyout", str(key), "-out",
                    str(cert)], check=True, capture_output=True)
    (host.dir / "htpasswd").write_text("")
    for name in ("faas.conf", "sites.conf"):
        text = (ROOT / "conf" / name).read_text()
        for old, new in (
                ("/srv/functions", str(host.functions)),
                ("/var/lib/faas", str(host.state)),
                ("/usr/libexec/faas", str(host.bin)),
                ("/var/cache/nginx/faas", str(host.dir / "cache")),
                ("/etc/ssl/certs/ssl-cert-snakeoil.pem", str(cert)),
                ("/etc/ssl/private/ssl-cert-snakeoil.key", str(key)),
                ("/etc/nginx/htpasswd", str(host.dir / "htpasswd")),
                ("listen 80;", "listen 127.0.0.1:%d;" % free_port()),
                ("listen 443 ", "listen 127.0.0.1:%d " % free_port())):
            text = text.replace(old, new)
        # the user that `make install` makes may not be there
        text = re.sub(r"faas_user +faas;", "", text)
        (host.dir / name).write_text(text)
    host.configure(template=SITE)
    assert "successful" in host.nginx("-t")


def test_commented_settings_of_the_example_are_valid_too(faas):
    text = (ROOT / "conf/faas.conf").read_text()
    blocks = re.findall(r"^# (faas_function .*?^# \}|faas_function .*\})$",
                        text, re.M | re.S)
    assert len(blocks) == 2
    host = faas(start=False)
    host.configure(http="\n".join(re.sub(r"^# ", "", block, flags=re.M)
                                  for block in blocks))
    assert "successful" in host.nginx("-t")


def make(*arguments):
    """With the variables that make test was called with, if it was: they
    are in MAKEFLAGS.  It warns that it has no job server, and goes on."""

    subprocess.run(["make", "-s", "-C", str(ROOT)] + list(arguments),
                   check=True, capture_output=True)


@pytest.mark.skipif(ASAN, reason="would build it anew, without sanitizers")
def test_make_install_puts_everything_in_its_place(tmp_path):
    make("install", "BUILD=%s" % os.path.relpath(BUILD, ROOT),
         "DESTDIR=%s" % tmp_path)
    found = {str(path.relative_to(tmp_path))
             for path in tmp_path.rglob("*") if path.is_file()}
    for name in ("usr/libexec/faas/faas-supervisor",
                 "usr/libexec/faas/faas-zygote",
                 "usr/include/faas.h",
                 "usr/lib/pkgconfig/faas.pc",
                 "usr/share/faas/examples/hello.c",
                 "usr/share/faas/functions/kv.so",
                 "usr/share/faas/functions/queue.so",
                 "usr/share/faas/functions/sql.so",
                 "usr/share/faas/functions/openapi.json",
                 "etc/nginx/faas.conf"):
        assert name in found
    assert [n for n in found if n.endswith("/ngx_http_faas_module.so")]
    assert [n for n in found if n.endswith("nginx.service.d/faas.conf")]

    flags = subprocess.run(
        ["pkg-config", "--cflags", "faas"], text=True, capture_output=True,
        env=dict(os.environ, PKG_CONFIG_PATH=str(
            tmp_path / "usr/lib/pkgconfig"),
            PKG_CONFIG_SYSROOT_DIR=str(tmp_path))).stdout.split()
    subprocess.run(["cc", "-shared", "-fPIC"] + flags
                   + ["-o", str(tmp_path / "hello.so"),
                      str(ROOT / "examples/hello.c")], check=True)

    make("uninstall", "DESTDIR=%s" % tmp_path)
    left = [path for path in tmp_path.rglob("*")
            if path.is_file() and path.name != "hello.so"]
    assert not left

