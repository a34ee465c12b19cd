
# ngx_faas: the README names the targets that a user needs.

BUILD    = build
PREFIX   = /usr
DESTDIR  =
PORT     = 8080
VERSION := $(shell sed -n 's/^\#define FAAS_RELEASE *"\(.*\)"/\1/p' \
                   scoreboard/faas_control.h)

CC       ?= cc
OPTIMIZE ?= -O2 -g
SANITIZE ?=
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
            -Wwrite-strings -Wformat=2 -Wundef -Wvla -Werror
INCLUDES := -Iscoreboard -Ibase -Ibaas -Iworker -Iworker/include
CFLAGS_  := -std=gnu11 -D_GNU_SOURCE $(OPTIMIZE) $(WARNINGS) $(SANITIZE) \
            -fvisibility=hidden -fPIE $(INCLUDES)
LDFLAGS_ := -pie -Wl,-z,relro -Wl,-z,now $(SANITIZE)


# -- what belongs to what -----------------------------------------------------

SCOREBOARD := $(wildcard scoreboard/*.c)

# which source belongs to which program; common files are in both
SUPERVISOR := worker/main.c worker/keeper.c worker/keeper_packet.c \
              worker/supervisor.c worker/board.c worker/drain.c \
              worker/control.c worker/owner.c worker/process.c \
              worker/deploy.c \
              worker/function.c worker/claims.c worker/version.c \
              worker/version_migrate.c worker/service_start.c \
              worker/lineage.c worker/lineage_start.c \
              worker/lineage_read.c worker/zygote_link.c worker/pool.c \
              worker/report.c worker/patrol.c worker/instance_end.c \
              worker/death.c worker/oom.c worker/dump.c \
              worker/state_file.c \
              worker/memory.c worker/slot.c worker/place.c \
              worker/family.c \
              worker/journal.c worker/routes.c worker/settings.c \
              worker/settings_descriptor.c worker/settings_list.c \
              worker/settings_event.c worker/migrations.c worker/platform.c \
              worker/user.c worker/data.c worker/service.c worker/text.c \
              worker/events_link.c worker/tenders.c worker/beside.c \
              worker/backoff.c base/loop.c \
              base/log.c worker/deposit.c worker/policy.c worker/watch.c \
              worker/store.c worker/elf_check.c worker/elf_dynamic.c \
              worker/elf_file.c worker/message.c
ZYGOTE     := worker/zygote.c worker/init.c worker/family.c worker/fds.c \
              worker/sandbox.c worker/environment.c worker/title.c \
              worker/template.c worker/sibling.c worker/descriptor.c \
              worker/hugepages.c \
              worker/load.c worker/replay.c \
              worker/core.c worker/core_trace.c worker/core_symbols.c \
              worker/instance.c worker/request.c worker/pairs.c \
              worker/body.c worker/fcgi_io.c worker/response.c \
              worker/output.c worker/arena.c worker/message.c \
              worker/sdk.c worker/sdk_kv.c worker/sdk_call.c \
              worker/sdk_event.c \
              worker/once.c worker/migrate.c scoreboard/faas_control.c \
              scoreboard/faas_event.c scoreboard/faas_cron.c

# databases and key-value in them (-lsqlite3); what everything in baas/ that
# has to do with a function's data is built with
BAAS_STORE := baas/kv.c baas/kv_sqlite.c baas/kv_sqlite_scan.c \
              baas/process_mark.c baas/database.c \
              baas/database_guard.c baas/database_open.c \
              baas/database_once.c baas/database_outbox.c \
              baas/database_purge.c baas/database_migrate.c base/sha256.c

# a Redis and key-value in it (-lhiredis)
BAAS_REDIS := baas/redis.c baas/redis_cluster.c baas/redis_context.c \
              baas/redis_link.c baas/redis_node.c baas/redis_reply.c \
              baas/redis_resolve.c baas/redis_run.c baas/redis_sentinel.c \
              baas/redis_sub.c baas/redis_tls.c baas/redis_tunnel.c \
              baas/redis_url.c baas/kv_redis.c baas/kv_redis_scan.c

# what an instance has of them
BAAS_SDK   := baas/baas.c baas/baas_conf.c baas/baas_error.c \
              baas/baas_events.c baas/baas_once.c baas/call.c \
              baas/call_http.c baas/client.c baas/wire.c

# queues, timers and async calls in a database (-lsqlite3); queue.c has those
# engines that a program is linked with
BAAS_QUEUE := baas/queue.c baas/queue_sqlite.c baas/queue_sqlite_calls.c \
              baas/queue_sqlite_dead.c baas/queue_sqlite_file.c \
              baas/queue_sqlite_keep.c baas/queue_sqlite_messages.c \
              baas/queue_sqlite_operation.c baas/queue_sqlite_queues.c \
              baas/queue_sqlite_schema.c baas/queue_sqlite_settle.c \
              baas/queue_sqlite_timers.c

# the same in Redis (with BAAS_REDIS)
QUEUE_REDIS := $(wildcard baas/queue_redis*.c)

# queues, async calls and timers to calls of functions
EVENTS     := $(wildcard baas/events*.c) $(BAAS_QUEUE) $(QUEUE_REDIS) \
              $(BAAS_REDIS) baas/kv.c baas/wire.c \
              baas/baas_error.c baas/process_mark.c baas/calls_document.c \
              baas/json_text.c base/sha256.c base/loop.c base/log.c \
              scoreboard/faas_event.c scoreboard/faas_cron.c \
              scoreboard/faas_control.c

# the one checkpointer of a user's databases
TENDER     := baas/tender.c baas/tender_settings.c baas/tender_place.c \
              baas/tender_file.c baas/tender_policy.c baas/tender_send.c \
              baas/client.c baas/wire.c base/loop.c base/log.c \
              scoreboard/faas_control.c $(BAAS_STORE)

# the platform's function _calls, a shared object as users write them
CALLS      := baas/functions/calls.c baas/calls_document.c baas/json_text.c \
              baas/wire.c base/sha256.c

# the services over HTTP, for operators to drop in; one for each file
HTTP       := kv queue sql
HTTP_ALL   := baas/functions/http.c baas/json_text.c

# the operator's program
FAASCTL    := worker/faasctl.c worker/faasctl_ask.c worker/faasctl_dlq.c \
              worker/faasctl_host.c worker/faasctl_function.c \
              worker/faasctl_core.c worker/faasctl_replay.c worker/death.c \
              base/sha256.c \
              worker/faasctl_list.c worker/faasctl_table.c baas/client.c \
              baas/wire.c baas/baas_error.c baas/json_text.c \
              baas/events_invocation.c

# one function for each file; what it needs from pkg-config
EXAMPLES           := $(patsubst examples/%.c,%,$(wildcard examples/*.c))
PACKAGES_markdown  := libcmark
PACKAGES_thumbnail := libturbojpeg libpng
LIBS_wordcount     := -lm

# Debian's packages: to build and to run, and to test
PACKAGES := gcc libc6-dev make pkgconf nginx nginx-dev libfcgi-dev \
            libpcre2-dev libssl-dev libcmark-dev libturbojpeg0-dev \
            libpng-dev curl libsqlite3-dev libhiredis-dev \
            libcurl4-openssl-dev tzdata
PACKAGES_TEST := $(PACKAGES) libcmocka-dev python3 python3-pytest \
            python3-pytest-xdist g++ \
            openssl procps util-linux redis-server

objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))


.PHONY: all
all: $(BUILD)/ngx_http_faas_module.so $(BUILD)/faas-supervisor \
     $(BUILD)/faas-zygote $(BUILD)/faas-tender $(BUILD)/faas-events \
     $(BUILD)/faas-calls.so $(BUILD)/faasctl examples \
     $(HTTP:%=$(BUILD)/functions/%.so)


# -- programs -----------------------------------------------------------------

# V=1 shows the commands
Q   := $(if $(V),,@)
say  = @$(if $(V),:,echo "  $(1)  $(2)")

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CFLAGS_) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/faas-supervisor: $(call objects,$(SUPERVISOR) $(SCOREBOARD))
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_) $(LDFLAGS) -o $@ $^ -lpcre2-8 -lcrypto

# -rdynamic: the SDK's symbols are what functions are linked against at load
$(BUILD)/faas-zygote: $(call objects,$(ZYGOTE) $(BAAS_SDK) $(BAAS_STORE) \
                          $(BAAS_REDIS))
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_) $(LDFLAGS) -rdynamic -o $@ $^ -lfcgi -lsqlite3 \
	    -lhiredis -ldl

$(BUILD)/faas-events: $(call objects,$(EVENTS))
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_) $(LDFLAGS) -o $@ $^ -lcurl -lsqlite3 -lhiredis \
	    -lcrypto -ldl

$(BUILD)/faas-tender: $(call objects,$(TENDER))
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_) $(LDFLAGS) -o $@ $^ -lsqlite3

$(BUILD)/faas-calls.so: $(CALLS) $(wildcard baas/*.h base/*.h) \
                        $(wildcard worker/include/*.h) Makefile
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE $(OPTIMIZE) $(WARNINGS) -shared \
	    -fPIC -fvisibility=hidden $(INCLUDES) $(CFLAGS) -Wl,-z,relro \
	    -Wl,-z,now -o $@ $(CALLS)

$(BUILD)/functions/%.so: baas/functions/%.c $(HTTP_ALL) \
                         baas/functions/http.h baas/json_text.h \
                         worker/include/faas.h Makefile
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE $(OPTIMIZE) $(WARNINGS) -shared \
	    -fPIC -fvisibility=hidden $(INCLUDES) $(CFLAGS) -Wl,-z,relro \
	    -Wl,-z,now -o $@ $< $(HTTP_ALL)

$(BUILD)/faasctl: $(call objects,$(FAASCTL) $(SCOREBOARD))
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_) $(LDFLAGS) -o $@ $^

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)


# -- module -------------------------------------------------------------------

# Debian's nginx-dev, with the flags of Debian's nginx; or a plain source tree:
#     make NGINX_SRC=/path/to/nginx NGINX_FLAGS="--with-compat --with-debug"
# Nothing is written there: configure runs in a directory of links.

NGINX_SRC   = /usr/share/nginx/src
NGINX_FLAGS = --with-compat

MODULE := $(wildcard ngx_faas_module/*.[ch] scoreboard/*.[ch]) \
          $(wildcard baas/redis_url*.[ch]) worker/include/faas.h

# what asks for a new configure when it changes
module_says = $(CURDIR) $(NGINX_SRC) $(NGINX_FLAGS) $(CC) $(OPTIMIZE) \
              $(SANITIZE) $(LIBEXEC) \
              $(shell sed -n 's/^\#define NGINX_VERSION *"\(.*\)"/\1/p' \
                          $(NGINX_SRC)/src/core/nginx.h 2>&1) $(MODULE)

.PHONY: FORCE
$(BUILD)/nginx.says: FORCE
	@mkdir -p $(@D)
	@echo '$(module_says)' | cmp -s - $@ || echo '$(module_says)' > $@

$(BUILD)/nginx/objs/Makefile: config $(BUILD)/nginx.says
	@test -d $(NGINX_SRC)/src/core || { echo "no nginx in $(NGINX_SRC):" \
	    "install nginx-dev, or set NGINX_SRC" >&2; exit 1; }
	@rm -rf $(BUILD)/nginx
	@mkdir -p $(BUILD)/nginx
	@for entry in $(NGINX_SRC)/*; do \
	    case $$entry in */objs|*/Makefile) continue ;; esac; \
	    ln -s $$(realpath $$entry) $(BUILD)/nginx/; \
	done
	@echo "  configuring nginx's module"
	$(Q)cd $(BUILD)/nginx && FAAS_SUPERVISOR=$(LIBEXEC)/faas-supervisor \
	bash -c 'NGX_CONF_FLAGS=($(NGINX_FLAGS)); \
	    test ! -f conf_flags || . ./conf_flags; \
	    configure=./configure; \
	    test -f configure || configure=auto/configure; \
	    sh $$configure "$${NGX_CONF_FLAGS[@]}" --with-cc="$(CC)" \
	        --with-cc-opt="$(OPTIMIZE) $(SANITIZE) \
	            -fstack-protector-strong" \
	        --with-ld-opt="-Wl,-z,relro -Wl,-z,now $(SANITIZE)" \
	        --add-dynamic-module=$(CURDIR) >configure.out 2>&1 \
	    || { tail -n 20 configure.out >&2; rm -f objs/Makefile; exit 1; }'

$(BUILD)/ngx_http_faas_module.so: $(BUILD)/nginx/objs/Makefile $(MODULE)
	$(call say,LD,$@)
	$(Q)$(MAKE) $(if $(V),,-s) --no-print-directory -C $(BUILD)/nginx \
	    -f objs/Makefile modules
	$(Q)cp $(BUILD)/nginx/objs/ngx_http_faas_module.so $@.new
	$(Q)mv -f $@.new $@


# -- examples -----------------------------------------------------------------

# what a user types (cc -shared -fPIC), and the warnings of this tree
.PHONY: examples
examples: $(EXAMPLES:%=$(BUILD)/examples/%.so) \
          $(patsubst %,$(BUILD)/%,$(wildcard examples/*.sql))

$(BUILD)/examples/%.sql: examples/%.sql
	@mkdir -p $(@D)
	$(Q)cp $< $@

$(BUILD)/examples/%.so: examples/%.c worker/include/faas.h Makefile
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) -std=gnu11 $(OPTIMIZE) $(filter-out -Wundef,$(WARNINGS)) \
	    -shared -fPIC -fvisibility=hidden -Iworker/include -o $@ $< \
	    $(if $(PACKAGES_$*),$$(pkg-config --cflags --libs $(PACKAGES_$*))) \
	    $(LIBS_$*)


# -- dependencies -------------------------------------------------------------

# installs only what is missing; nothing is started (conf/deps.sh)
.PHONY: deps deps-run
deps:
	@sh conf/deps.sh $(PACKAGES_TEST)

deps-run:
	@sh conf/deps.sh $(PACKAGES)


# -- try it -------------------------------------------------------------------

JOBS = $(shell nproc)

.PHONY: run
run: deps-run
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@BUILD=$(BUILD) PORT=$(PORT) exec sh conf/run.sh


# -- tests --------------------------------------------------------------------

# The first lines of a unit test say what it is linked with:
#     /* objects: worker/x.c scoreboard/y.c */
#     /* libs: -lfcgi */

UNIT := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c))

unit_says = $(shell sed -n '1,6s|.*/\* $(2): *\(.*[^ ]\) *\*/.*|\1|p' \
                        tests/unit/$(1).c)

define unit_rule
$(BUILD)/unit/$(1): $$(call objects,tests/unit/$(1).c \
                           $(call unit_says,$(1),objects))
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(LDFLAGS_) $$(LDFLAGS) -o $$@ $$^ -lcmocka \
	    $(call unit_says,$(1),libs)
endef

$(foreach test,$(UNIT),$(eval $(call unit_rule,$(test))))

.PHONY: unit-programs unit integration test
unit-programs: $(UNIT:%=$(BUILD)/unit/%)

# all of them run, also when one fails; one that hangs has ten minutes
unit: unit-programs
	@failed=; for test in $(UNIT); do \
	    timeout 600 $(BUILD)/unit/$$test </dev/null \
	        >$(BUILD)/unit/$$test.out 2>&1 \
	    && echo "unit: $$test: ok" \
	    || { cat $(BUILD)/unit/$$test.out; \
	         echo "unit: $$test: FAILED"; failed="$$failed $$test"; }; \
	done; \
	if [ "$$failed" ]; then echo "unit: failed:$$failed"; exit 1; fi

# PYTEST_ARGS="-k name" picks tests.  They wait more than they work, so that
# some run side by side; a file's tests stay together, for their hosts.  Side
# by side they take each other's time, and a machine may stop for longer than a
# test can wait: up to five that fail are tried once more, alone, and that they
# were is told.
PYTEST_JOBS = $(shell expr 1 + $(JOBS))

pytest = FAAS_BUILD=$(BUILD) /usr/bin/python3 -m pytest -q \
         -o cache_dir=$(CURDIR)/$(BUILD)/pytest $(PYTEST_ARGS) \
         tests/integration

integration: all
	@rm -rf $(BUILD)/pytest
	$(pytest) -n $(PYTEST_JOBS) --dist loadfile </dev/null \
	|| { n=$$(grep -c '": true' $(BUILD)/pytest/v/cache/lastfailed); \
	     test "$$n" -gt 0 && test "$$n" -le 5 || exit 1; \
	     echo "integration: $$n failed side by side, now alone"; \
	     $(pytest) --last-failed --last-failed-no-failures none \
	         </dev/null; }

# All that CI runs: the model, the faults and the fuzzers have targets of their
# own, in tests/*/*.mk
test: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all unit-programs
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory model
	@$(MAKE) --no-print-directory integration
	@$(MAKE) --no-print-directory fault-quick
	@$(MAKE) --no-print-directory fuzz

# The same with sanitizers.  LeakSanitizer sees what the unit tests leak;
# processes that end by _exit() it does not see.  With sanitizers gcc gives
# warnings that are not true, as its manual says: make itself is the check.
ASAN := BUILD=build-asan OPTIMIZE="-O1 -g" CFLAGS=-Wno-error \
        SANITIZE="-fsanitize=address,undefined -fno-omit-frame-pointer"

.PHONY: asan
asan: export ASAN_OPTIONS = detect_leaks=0:exitcode=99
asan: export UBSAN_OPTIONS = print_stacktrace=1:halt_on_error=1
asan: deps
	@$(MAKE) --no-print-directory -j$(JOBS) $(ASAN) all unit-programs
	@ASAN_OPTIONS=detect_leaks=1:exitcode=99 \
	    $(MAKE) --no-print-directory $(ASAN) unit
	@$(MAKE) --no-print-directory $(ASAN) integration

# The unit tests in which threads meet.  clang's: gcc 12's does not start on
# kernels that place mappings as freely as newer ones do, nor does either
# without setarch -R.  Programs that look up names (getaddrinfo_a) stay out: the
# C library does it in a thread that the sanitizer is not told of.
TSAN      := BUILD=build-tsan CC=clang OPTIMIZE="-O1 -g" \
             CFLAGS=-Wno-error SANITIZE="-fsanitize=thread"
TSAN_UNIT := test_slot test_scoreboard test_client

.PHONY: tsan
tsan: export TSAN_OPTIONS = halt_on_error=1:exitcode=66
tsan:
	@sh conf/deps.sh $(PACKAGES_TEST) clang libclang-rt-14-dev util-linux
	@$(MAKE) --no-print-directory -j$(JOBS) $(TSAN) \
	    $(TSAN_UNIT:%=build-tsan/unit/%)
	@for test in $(TSAN_UNIT); do \
	    timeout 300 setarch -R build-tsan/unit/$$test </dev/null \
	        >build-tsan/unit/$$test.out 2>&1 \
	    && echo "tsan: $$test: ok" \
	    || { cat build-tsan/unit/$$test.out; exit 1; }; \
	done

# Supervisor, zygote, instances and what else there is under valgrind, which
# sees what processes that end by _exit() have lost, too
.PHONY: valgrind
valgrind: deps
	@sh conf/deps.sh valgrind
	@$(MAKE) --no-print-directory -j$(JOBS) all
	FAAS_VALGRIND=1 FAAS_BUILD=$(BUILD) /usr/bin/python3 -m pytest \
	    -p no:cacheprovider -q tests/integration/test_valgrind.py </dev/null

include tests/model/model.mk
include tests/fuzz/fuzz.mk
-include bench/bench.mk
-include tests/fault/fault.mk


# -- lint ---------------------------------------------------------------------

LINT := $(wildcard scoreboard/*.c base/*.c baas/*.c baas/functions/*.c \
                   worker/*.c examples/*.c)

.PHONY: lint lint-cppcheck lint-tidy lint-analyzer
lint:
	@sh conf/deps.sh cppcheck clang-tidy
	@$(MAKE) --no-print-directory lint-cppcheck lint-tidy lint-analyzer

# Suppressed: what cppcheck cannot know without the system's headers, and two
# checks that it gets wrong (a key for bsearch() that is filled in part, a
# pointer that is freed only when it is not the array's); gcc has both.
lint-cppcheck:
	cppcheck --quiet --error-exitcode=1 --std=c11 --inline-suppr \
	    --enable=warning,performance,portability -D_GNU_SOURCE \
	    -D__x86_64__ -D__GNUC__ --suppress=autovarInvalidDeallocation \
	    --suppress=uninitvar \
	    --suppress=missingIncludeSystem --suppress=unknownMacro \
	    $(INCLUDES) $(LINT)

# The checks that find faults; not those that dislike memcpy() or printf()
# for lack of Annex K, or that are a matter of taste.
TIDY := -*,bugprone-*,clang-analyzer-*
TIDY := $(TIDY),-bugprone-easily-swappable-parameters
TIDY := $(TIDY),-bugprone-reserved-identifier
TIDY := $(TIDY),-bugprone-narrowing-conversions
TIDY := $(TIDY),-bugprone-assignment-in-if-condition
TIDY := $(TIDY),-bugprone-macro-parentheses
TIDY := $(TIDY),-bugprone-branch-clone
TIDY := $(TIDY),-clang-analyzer-optin.performance.Padding
TIDY := $(TIDY),-bugprone-implicit-widening-of-multiplication-result
TIDY := $(TIDY),-clang-analyzer-security.insecureAPI.*

# one file each: given several, it takes every va_list for uninitialized
lint-tidy:
	@printf '%s\n' $(LINT) | xargs -P $(JOBS) -I FILE clang-tidy --quiet \
	    --warnings-as-errors='*' --checks='$(TIDY)' FILE -- -std=gnu11 \
	    -D_GNU_SOURCE $(INCLUDES)

# without three checks that gcc 12 gets wrong where a value comes from another
# file or a loop that runs at least once; clang's analyzer has them
ANALYZER := -fanalyzer -Wno-analyzer-use-of-uninitialized-value \
            -Wno-analyzer-null-dereference -Wno-analyzer-malloc-leak

lint-analyzer:
	@printf '%s\n' $(LINT) | xargs -P $(JOBS) -I FILE gcc \
	    $(filter-out -Wundef,$(CFLAGS_)) $(ANALYZER) -c -o /dev/null FILE


# -- install ------------------------------------------------------------------

MODULES_DIR = $(shell nginx -V 2>&1 | tr ' ' '\n' \
                      | sed -n 's/^--modules-path=//p')
LIBEXEC     = $(PREFIX)/libexec/faas
INSTALLED   = $(or $(MODULES_DIR),/usr/lib/nginx/modules)
NGINX_CONF  = /etc/nginx
UNITS       = /lib/systemd/system

.PHONY: install uninstall
install: all
	install -d $(DESTDIR)$(INSTALLED) $(DESTDIR)$(LIBEXEC) \
	    $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/lib/pkgconfig \
	    $(DESTDIR)$(PREFIX)/share/faas/examples $(DESTDIR)$(NGINX_CONF) \
	    $(DESTDIR)$(UNITS)/nginx.service.d
	install -m 0644 $(BUILD)/ngx_http_faas_module.so \
	    $(DESTDIR)$(INSTALLED)/ngx_http_faas_module.so.new
	mv -f $(DESTDIR)$(INSTALLED)/ngx_http_faas_module.so.new \
	    $(DESTDIR)$(INSTALLED)/ngx_http_faas_module.so
	for program in faas-supervisor faas-zygote faas-tender faas-events; do \
	    install -m 0755 $(BUILD)/$$program \
	        $(DESTDIR)$(LIBEXEC)/$$program.new \
	    && mv -f $(DESTDIR)$(LIBEXEC)/$$program.new \
	        $(DESTDIR)$(LIBEXEC)/$$program || exit 1; \
	done
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 0755 $(BUILD)/faasctl $(DESTDIR)$(PREFIX)/bin/faasctl.new
	mv -f $(DESTDIR)$(PREFIX)/bin/faasctl.new \
	    $(DESTDIR)$(PREFIX)/bin/faasctl
	install -m 0644 $(BUILD)/faas-calls.so \
	    $(DESTDIR)$(LIBEXEC)/faas-calls.so.new
	mv -f $(DESTDIR)$(LIBEXEC)/faas-calls.so.new \
	    $(DESTDIR)$(LIBEXEC)/faas-calls.so
	install -m 0644 worker/include/faas.h $(DESTDIR)$(PREFIX)/include/
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' \
	    conf/faas.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/faas.pc
	chmod 0644 $(DESTDIR)$(PREFIX)/lib/pkgconfig/faas.pc
	install -m 0644 examples/*.c examples/*.sql \
	    $(DESTDIR)$(PREFIX)/share/faas/examples/
	install -d $(DESTDIR)$(PREFIX)/share/faas/functions
	install -m 0644 $(HTTP:%=$(BUILD)/functions/%.so) \
	    baas/functions/openapi.json $(DESTDIR)$(PREFIX)/share/faas/functions/
	install -m 0644 conf/faas.conf conf/sites.conf \
	    $(DESTDIR)$(PREFIX)/share/faas/
	test -e $(DESTDIR)$(NGINX_CONF)/faas.conf \
	    || sed -e 's|/usr/libexec/faas|$(LIBEXEC)|' conf/faas.conf \
	        > $(DESTDIR)$(NGINX_CONF)/faas.conf
	install -m 0644 conf/nginx.service.d/faas.conf \
	    $(DESTDIR)$(UNITS)/nginx.service.d/faas.conf
	if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ]; then \
	    id -u faas >/dev/null 2>&1 || useradd --system --user-group \
	        --no-create-home --home-dir /nonexistent \
	        --shell /usr/sbin/nologin faas; \
	    install -d -m 0755 /srv/functions /var/lib/faas; \
	    if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi; \
	fi

# the user, /srv/functions, /var/lib/faas and an edited faas.conf stay
uninstall:
	rm -f $(DESTDIR)$(INSTALLED)/ngx_http_faas_module.so \
	    $(DESTDIR)$(LIBEXEC)/faas-supervisor \
	    $(DESTDIR)$(LIBEXEC)/faas-zygote \
	    $(DESTDIR)$(LIBEXEC)/faas-calls.so \
	    $(DESTDIR)$(PREFIX)/bin/faasctl \
	    $(DESTDIR)$(LIBEXEC)/faas-tender \
	    $(DESTDIR)$(LIBEXEC)/faas-events \
	    $(DESTDIR)$(PREFIX)/include/faas.h \
	    $(DESTDIR)$(PREFIX)/lib/pkgconfig/faas.pc \
	    $(DESTDIR)$(UNITS)/nginx.service.d/faas.conf
	rm -rf $(DESTDIR)$(PREFIX)/share/faas
	sed -e 's|/usr/libexec/faas|$(LIBEXEC)|' conf/faas.conf \
	    | cmp -s - $(DESTDIR)$(NGINX_CONF)/faas.conf \
	    && rm -f $(DESTDIR)$(NGINX_CONF)/faas.conf || true
	rmdir --ignore-fail-on-non-empty $(DESTDIR)$(LIBEXEC) \
	    $(DESTDIR)$(UNITS)/nginx.service.d 2>/dev/null || true

.PHONY: clean
clean:
	rm -rf build build-asan build-tsan
