/* objects: baas/events_binding.c baas/events_settings.c base/loop.c base/log.c scoreboard/faas_event.c scoreboard/faas_cron.c scoreboard/faas_control.c baas/queue.c */

/*
 * Which queues the events process reads, by its settings.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "events_work.h"


events_t  events;


static void
test_each_function_has_a_queue_and_those_it_consumes(void **state)
{
    char                why[256];
    size_t              i, n;
    events_binding_t  **b;
    events_settings_t  *settings;

    static const char   text[] =
        "node 0123456789abcdef\n"
        "token 00112233445566778899aabbccddeeff\n"
        "state /tmp\n"
        "queue sqlite\n"
        "function _calls\n"
        " token 00112233445566778899aabbccddeeff\n"
        "function hello\n"
        " token 00112233445566778899aabbccddeeff\n"
        " consume orders%20batch=2\n";

    (void) state;

    settings = events_settings_parse(text, strlen(text), why, sizeof(why));

    if (settings == NULL) {
        fail_msg("%s", why);
    }

    events.settings = settings;

    n = events_bindings(&b, NULL);

    /* none for _calls: an engine refuses such a name, and a refusal is taken
       for an engine that is down */

    assert_int_equal(n, 2);
    assert_string_equal(b[0]->queue, "@hello");
    assert_string_equal(b[1]->queue, "orders");

    for (i = 0; i < n; i++) {
        assert_string_equal(b[i]->function, "hello");
        assert_true(queue_name_is_valid(b[i]->queue));
        free(b[i]);
    }

    free(b);
    events_settings_free(settings);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_each_function_has_a_queue_and_those_it_consumes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
