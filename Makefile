# ngx_faas: the README names the targets that a user needs.

BUILD    := build
PREFIX   ?= /usr
VERSION  := $(shell sed -n 's/^\#define FAAS_RELEASE *"\(.*\)"/\1/p' scoreboard/faas_control.h)

CC       ?= cc
OPTIMIZE ?= -O2 -g
SANITIZE ?=
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
            -Wwrite-strings -Wformat=2 -Wundef -Wvla -Werror
CFLAGS_  := -std=gnu11 -D_GNU_SOURCE $(OPTIMIZE) $(WARNINGS) $(SANITIZE) \
            -fvisibility=hidden -fPIE -Iscoreboard -Iworker -Iworker/include
LDFLAGS_ := -pie -Wl,-z,relro -Wl,-z,now $(SANITIZE)

SCOREBOARD := $(wildcard scoreboard/*.c)

# which source belongs to which program; common files are in both
SUPERVISOR := worker/main.c worker/keeper.c worker/supervisor.c \
              worker/control.c worker/settings.c worker/version.c \
              worker/pool.c worker/policy.c worker/watch.c worker/store.c \
              worker/elf_check.c worker/log.c worker/routes.c \
              worker/message.c
ZYGOTE     := worker/zygote.c worker/init.c worker/template.c \
              worker/instance.c worker/request.c worker/response.c \
              worker/sandbox.c worker/message.c

objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

.PHONY: all
all: $(BUILD)/ngx_http_faas_module.so $(BUILD)/faas-supervisor \
     $(BUILD)/faas-zygote examples

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/faas-supervisor: $(call objects,$(SUPERVISOR) $(SCOREBOARD))
	$(CC) $(LDFLAGS_) $(LDFLAGS) -o $@ $^ -lpcre2-8 -lcrypto

# -rdynamic: the SDK's symbols are what functions are linked against at load
$(BUILD)/faas-zygote: $(call objects,$(ZYGOTE))
	$(CC) $(LDFLAGS_) $(LDFLAGS) -rdynamic -o $@ $^ -lfcgi -ldl

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
