/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/sandbox.h"

#include "base/error.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static gboolean step_failed(const char *what, GError **error)
{
    return lpm_fail(error, LPM_E_MOVER_START, "%s failed: %s", what, g_strerror(errno));
}

static gboolean set_limits(GError **error)
{
    const struct rlimit none = {0, 0};

    if (setrlimit(RLIMIT_CORE, &none) < 0)
        return step_failed("forbidding core dumps", error);
    if (prctl(PR_SET_DUMPABLE, 0) < 0)
        return step_failed("forbidding to be traced", error);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return step_failed("giving up new privileges", error);
    return TRUE;
}

gboolean lpm_sandbox_enter(const char *root, const char *user, GError **error)
{
    const struct passwd *entry = getpwnam(user);

    if (!entry)
        return lpm_fail(error, LPM_E_MOVER_START, "there is no user '%s'", user);
    uid_t uid = entry->pw_uid;
    gid_t gid = entry->pw_gid;

    if (uid == 0)
        return lpm_fail(error, LPM_E_MOVER_START, "'%s' is the superuser: a mover needs another",
                        user);
    if (geteuid() != 0)
        return lpm_fail(error, LPM_E_MOVER_START, "a mover must be launched by root");
    if (chdir(root) < 0 || chroot(".") < 0 || chdir("/") < 0)
        return lpm_fail(error, LPM_E_MOVER_START, "entering '%s' failed: %s", root,
                        g_strerror(errno));
    if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        return lpm_fail(error, LPM_E_MOVER_START, "becoming '%s' failed: %s", user,
                        g_strerror(errno));
    if (setuid(0) == 0)
        return lpm_fail(error, LPM_E_MOVER_START, "'%s' could become root again", user);
    return set_limits(error);
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNDER_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER 1
#endif

#ifdef UNDER_SANITIZER

/* A sanitizer's runtime needs calls that a mover must not have; such a build is for tests only. To
 * look for leaks it would have to trace the process, which nobody can. */
const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

gboolean lpm_sandbox_filter(GError **error)
{
    (void)error;
    return TRUE;
}

#else

/* Allowed whatever the arguments. No call here makes a descriptor out of a name or an address. */
static const int allowed[] = {
    /* moving bytes */
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(recv),
    SCMP_SYS(send),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(_newselect),
    SCMP_SYS(select),
    SCMP_SYS(pselect6),
    SCMP_SYS(close),
    SCMP_SYS(shutdown),
    SCMP_SYS(accept4),
    SCMP_SYS(eventfd2),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getsockopt),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(fcntl),
    SCMP_SYS(fcntl64),
    SCMP_SYS(fstat),
    SCMP_SYS(lseek),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(pwritev), /* pages into memory that is a file (page-placer.h) */
    /* threads and memory */
    SCMP_SYS(futex),
    SCMP_SYS(futex_time64),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_getattr),
    SCMP_SYS(sched_setattr),
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(membarrier),
    SCMP_SYS(restart_syscall),
    /* clocks, figures, random numbers */
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_gettime64),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(clock_nanosleep_time64),
    SCMP_SYS(nanosleep),
    SCMP_SYS(getrusage),
    SCMP_SYS(getrandom),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(uname),
    SCMP_SYS(time),
    /* signals to itself, and the end */
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

/* Libraries try these and live without. clone3 passes its flags in memory, where a filter cannot
 * look: "not there" makes the C library use clone. */
static const struct {
    int call;
    int answer;
} refused[] = {
    {SCMP_SYS(clone3), ENOSYS},   {SCMP_SYS(open), ENOENT},       {SCMP_SYS(openat), ENOENT},
    {SCMP_SYS(stat), ENOENT},     {SCMP_SYS(newfstatat), ENOENT}, {SCMP_SYS(statx), ENOENT},
    {SCMP_SYS(access), ENOENT},   {SCMP_SYS(faccessat), ENOENT},  {SCMP_SYS(faccessat2), ENOENT},
    {SCMP_SYS(readlink), ENOENT}, {SCMP_SYS(readlinkat), ENOENT}, {SCMP_SYS(prctl), EPERM},
    {SCMP_SYS(socket), EPERM},    {SCMP_SYS(connect), EPERM},     {SCMP_SYS(ioctl), ENOTTY},
    {SCMP_SYS(prlimit64), EPERM}, {SCMP_SYS(sysinfo), EPERM},
};

/* 0, or a negative error number. */
static int add_rules(scmp_filter_ctx filter)
{
    int code = 0;

    for (gsize i = 0; i < G_N_ELEMENTS(allowed) && !code; i++)
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    for (gsize i = 0; i < G_N_ELEMENTS(refused) && !code; i++)
        code = seccomp_rule_add(filter, SCMP_ACT_ERRNO((unsigned)refused[i].answer),
                                refused[i].call, 0);
    /* Threads only, never a process. */
    if (!code)
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                                SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    /* No memory that can be executed. */
    if (!code)
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                                SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (!code)
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                                SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    /* A failed assertion shall end as such. */
    if (!code)
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                                SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
    return code;
}

gboolean lpm_sandbox_filter(GError **error)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int code = filter ? add_rules(filter) : -ENOMEM;

    if (!code)
        code = seccomp_load(filter);
    if (filter)
        seccomp_release(filter);
    if (code)
        return lpm_fail(error, LPM_E_MOVER_START, "loading the system call filter failed: %s",
                        g_strerror(-code));
    return TRUE;
}

#endif
