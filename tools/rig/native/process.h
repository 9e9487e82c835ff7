/* What both programs ask of the host at their start. */
#ifndef PROCESS_H
#define PROCESS_H

#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MAX_FDS = 40000 };

/* File descriptors, an end with the parent and, whatever happens, after `seconds`; and priority: callers and the service
 * are other machines in life, so where it is permitted they do not wait for what shares this one with them. */
static inline void process_begin(unsigned seconds)
{
    struct rlimit files = {MAX_FDS, MAX_FDS};
    if (setrlimit(RLIMIT_NOFILE, &files) < 0 && getrlimit(RLIMIT_NOFILE, &files) == 0)
        files.rlim_cur = files.rlim_max, setrlimit(RLIMIT_NOFILE, &files);
    prctl(PR_SET_PDEATHSIG, 15);
    prctl(PR_SET_TIMERSLACK, 1);
    setpriority(PRIO_PROCESS, 0, -10);
    alarm(seconds);
}

/* For who has to send on time: before everything else on its core, the gateway's own real-time loop included, which else
 * keeps it waiting for as long as its burst takes. Half a second without a pause ends the program: it can not take a
 * machine. */
static inline void process_real_time(void)
{
    struct rlimit half_a_second = {500000, 500000};
    struct sched_param priority = {.sched_priority = 30};
    setrlimit(RLIMIT_RTTIME, &half_a_second);
    sched_setscheduler(0, SCHED_FIFO, &priority);
}

#endif
