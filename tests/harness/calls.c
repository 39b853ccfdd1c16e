/* Makes system calls that an agent must not make, and some that it needs: a line `name errno` for each, 0 where it succeeds. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/netlink.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void tell(const char *name, long result) {
    printf("%s %d\n", name, result < 0 ? errno : 0);
    fflush(stdout);
}

/* A child of a call that should have failed ends at once. */
static long child(long pid) {
    if (pid == 0) _exit(0);
    if (pid > 0) waitpid(pid, NULL, 0);
    return pid;
}

int main(void) {
    char zeros[256];
    memset(zeros, 0, sizeof zeros);
    tell("unshare", syscall(SYS_unshare, CLONE_NEWUSER));
    tell("clone-user", child(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0)));
    tell("clone3", syscall(SYS_clone3, zeros, 0));
    tell("setns", syscall(SYS_setns, 0, 0));
    tell("io_uring_setup", syscall(SYS_io_uring_setup, 1, zeros));
    tell("userfaultfd", syscall(SYS_userfaultfd, 1));
    tell("perf_event_open", syscall(SYS_perf_event_open, zeros, 0, -1, -1, 0));
    tell("bpf", syscall(SYS_bpf, 0, zeros, 0));
    tell("keyctl", syscall(SYS_keyctl, 0, -3, 1));
    tell("add_key", syscall(SYS_add_key, "user", "x", "y", 1, -2));
    tell("mount", syscall(SYS_mount, "x", "/", "tmpfs", 0, 0));
    tell("vsock", socket(40, SOCK_STREAM, 0));
    tell("vsock-pair", socketpair(40, SOCK_STREAM, 0, (int[2]){0, 0}));
    tell("alg", socket(38, SOCK_SEQPACKET, 0));
    tell("packet", socket(17, SOCK_RAW, 0));
    tell("netfilter", socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER));
    puts("--");
    tell("unix", socket(AF_UNIX, SOCK_STREAM, 0));
    tell("unix-pair", socketpair(AF_UNIX, SOCK_STREAM, 0, (int[2]){0, 0}));
    tell("inet", socket(AF_INET, SOCK_STREAM, 0));
    tell("inet6", socket(AF_INET6, SOCK_DGRAM, 0));
    tell("route", socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
    tell("fork", child(fork()));
    return 0;
}
