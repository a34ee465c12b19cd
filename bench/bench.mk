# Included by the Makefile.  `make bench` measures for about five minutes;
# BENCH_SECONDS=60 for less, BENCH_ONLY="floor resident" for some of it.

BENCH_SECONDS = 300
BENCH_ROUNDS  = 10
BENCH_ONLY    =

PACKAGES_BENCH := $(PACKAGES) python3 php-fpm fcgiwrap

$(BUILD)/bench/load: $(call objects,bench/load.c bench/slice.c)
$(BUILD)/bench/floor: $(call objects,bench/floor.c)
$(BUILD)/bench/hello.cgi: $(call objects,bench/hello_cgi.c)

BENCH := $(addprefix $(BUILD)/bench/,load floor hello.cgi)

$(BENCH):
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_) $(LDFLAGS) -o $@ $^

# whom apt cannot install is left out, and the table says so
.PHONY: bench bench-programs
bench-programs: $(BENCH)

bench:
	-@sh conf/deps.sh $(PACKAGES_BENCH)
	@$(MAKE) --no-print-directory -j$(JOBS) all bench-programs
	@BENCH_SECONDS="$(BENCH_SECONDS)" BENCH_ROUNDS="$(BENCH_ROUNDS)" \
	    BENCH_ONLY="$(BENCH_ONLY)" FAAS_BUILD=$(BUILD) \
	    /usr/bin/python3 bench/bench.py </dev/null


# A queue engine beside plain SQLite; `make bench-queue QUEUE_ARGS="-b 1000000"`
QUEUE_ARGS =

$(BUILD)/bench/queue: $(call objects,bench/queue.c \
                          $(filter-out baas/events%.c,$(EVENTS)))
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_) $(LDFLAGS) -o $@ $^ -lsqlite3 -lhiredis -lcrypto \
	    -ldl

.PHONY: bench-queue
bench-queue: $(BUILD)/bench/queue
	@$(BUILD)/bench/queue $(QUEUE_ARGS)


# backend services, beside the raw engines: about two minutes
PACKAGES_BENCH_SERVICES := $(PACKAGES) python3 redis-server

$(BUILD)/bench/services.so: bench/services.c worker/include/faas.h
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE $(OPTIMIZE) $(WARNINGS) -shared \
	    -fPIC -fvisibility=hidden -Iworker/include -o $@ $<

.PHONY: bench-services
bench-services:
	@sh conf/deps.sh $(PACKAGES_BENCH_SERVICES)
	@$(MAKE) --no-print-directory -j$(JOBS) all $(BUILD)/bench/services.so
	@BENCH_ROUNDS="$(BENCH_ROUNDS)" FAAS_BUILD=$(BUILD) \
	    /usr/bin/python3 bench/services.py </dev/null
