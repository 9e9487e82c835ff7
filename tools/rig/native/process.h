/* What both programs ask of the host at their start. */
#ifndef PROCESS_H
#define PROCESS_H

#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>

enum { MAX_FDS = 40000 };

/* File descriptors, an end with the parent, and priority: callers and the service are other machines in life, so where
 * it is permitted they do not wait for what shares this one with them. Below the gateway's own loop. */
static inline void process_begin(void)
{
    struct rlimit files = {MAX_FDS, MAX_FDS};
    struct sched_param lowest = {.sched_priority = 1};
    if (setrlimit(RLIMIT_NOFILE, &files) < 0 && getrlimit(RLIMIT_NOFILE, &files) == 0)
        files.rlim_cur = files.rlim_max, setrlimit(RLIMIT_NOFILE, &files);
    prctl(PR_SET_PDEATHSIG, 15);
    prctl(PR_SET_TIMERSLACK, 1);
    if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &lowest))
        setpriority(PRIO_PROCESS, 0, -10);
}

#endif
