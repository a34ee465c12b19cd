
/* the same hello as a CGI program, for fcgiwrap */

#include <stdio.h>


int
main(void)
{
    fputs("Content-Type: text/plain\r\n"
          "Content-Length: 13\r\n"
          "\r\n"
          "hello, world\n", stdout);

    return 0;
}
