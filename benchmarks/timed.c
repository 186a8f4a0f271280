/* Run ./script as a CGI script and append the CPU microseconds that this took to ./cpu.

   The daemon of mod_cgid ignores SIGCHLD, so the time of its children is counted nowhere; a web
   server starts this program in the place of the script instead. What this program itself uses
   counts too, from the fork in mod_cgid on. The SIGTERM that mod_cgid sends once the response is
   complete does not cut the script short here: all of it counts. */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static long microseconds(int who)
{
    struct rusage used;
    getrusage(who, &used);
    return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000L
           + used.ru_utime.tv_usec + used.ru_stime.tv_usec;
}

int main(int argc, char **argv)
{
    int status;
    char line[32];
    signal(SIGCHLD, SIG_DFL);
    pid_t child = fork();
    if (child == 0) {
        execv("./script", argv);
        perror("./script");
        _exit(127);
    }
    signal(SIGTERM, SIG_IGN);
    if (child < 0 || waitpid(child, &status, 0) < 0)
        return 1;
    int file = open("./cpu", O_WRONLY | O_APPEND);
    snprintf(line, sizeof line, "%ld\n", microseconds(RUSAGE_SELF) + microseconds(RUSAGE_CHILDREN));
    return file < 0 || write(file, line, strlen(line)) < 0 || status != 0;
}
