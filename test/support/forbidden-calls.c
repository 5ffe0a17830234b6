// An addon for Node that tries what a sealed server must not be able to do, by raw system calls: on the calling thread,
// or on one that has existed since the addon was loaded. The arguments do no harm where a call is not refused.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/reboot.h>
#include <node_api.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

#pragma GCC diagnostic ignored "-Wmissing-field-initializers" /* Arguments that a call doesn't have are 0. */

/* Stands for the process that started us. */
enum { PARENT = 0x7fffff01 };

struct attempt {
	const char *name;
	long call;
	long arguments[6];
};

static long zeros[64];
#define ZEROS ((long)zeros)
#define TEXT(text) ((long)(text))
static const char nowhere[] = "/nonexistent/name";
#define NOWHERE ((long)nowhere)
#define CALL(call, ...) { #call, SYS_##call, { __VA_ARGS__ } }
#define NAMED(name, call, ...) { name, SYS_##call, { __VA_ARGS__ } }

static const struct attempt attempts[] = {
	/* Files by name. */
	NAMED("openat of a file", openat, AT_FDCWD, TEXT("/etc/passwd"), O_RDONLY),
	NAMED("openat of what does not exist", openat, AT_FDCWD, NOWHERE, O_RDONLY),
	NAMED("openat of a device", openat, AT_FDCWD, TEXT("/dev/null"), O_RDWR),
	NAMED("openat of a path only", openat, AT_FDCWD, TEXT("/"), O_PATH),
	NAMED("openat through a descriptor", openat, AT_FDCWD, TEXT("/proc/self/fd/0"), O_RDONLY),
	CALL(openat2, AT_FDCWD, NOWHERE, ZEROS, 24),
	CALL(open_by_handle_at, AT_FDCWD, 0, 0),
	CALL(name_to_handle_at, AT_FDCWD, NOWHERE, 0, 0, 0),
	CALL(unlinkat, AT_FDCWD, NOWHERE, 0),
	CALL(mkdirat, AT_FDCWD, NOWHERE, 0700),
	CALL(mknodat, AT_FDCWD, NOWHERE, 0600, 0),
	CALL(symlinkat, NOWHERE, AT_FDCWD, NOWHERE),
	CALL(linkat, AT_FDCWD, NOWHERE, AT_FDCWD, NOWHERE, 0),
	CALL(renameat2, AT_FDCWD, NOWHERE, AT_FDCWD, NOWHERE, 0),
	CALL(fchmodat, AT_FDCWD, NOWHERE, 0700),
	CALL(fchownat, AT_FDCWD, NOWHERE, 0, 0, 0),
	CALL(faccessat, AT_FDCWD, NOWHERE, R_OK),
	CALL(readlinkat, AT_FDCWD, NOWHERE, ZEROS, 8),
	CALL(truncate, NOWHERE, 0),
	CALL(setxattr, NOWHERE, TEXT("user.a"), ZEROS, 1, 0),
	CALL(getxattr, NOWHERE, TEXT("user.a"), ZEROS, 1),
	CALL(chdir, NOWHERE),
	CALL(inotify_init1, 0),
	CALL(fanotify_init, 0, 0),
	CALL(memfd_create, TEXT("program"), 0),
#ifdef __x86_64__
	CALL(open, TEXT("/etc/passwd"), O_RDONLY),
	CALL(creat, NOWHERE, 0600),
#endif
	/* Sockets. */
	NAMED("socket AF_UNIX", socket, AF_UNIX, SOCK_STREAM, 0),
	NAMED("socket AF_INET", socket, AF_INET, SOCK_STREAM, 0),
	NAMED("socket AF_INET datagram", socket, AF_INET, SOCK_DGRAM, 0),
	NAMED("socket AF_INET6", socket, AF_INET6, SOCK_STREAM, 0),
	NAMED("socket AF_NETLINK", socket, AF_NETLINK, SOCK_RAW, 0),
	NAMED("socket AF_PACKET", socket, AF_PACKET, SOCK_RAW, 0),
	NAMED("socket AF_ALG", socket, AF_ALG, SOCK_SEQPACKET, 0),
	NAMED("socket AF_VSOCK", socket, AF_VSOCK, SOCK_STREAM, 0),
	NAMED("socket AF_BLUETOOTH", socket, AF_BLUETOOTH, SOCK_RAW, 0),
	CALL(socketpair, AF_UNIX, SOCK_STREAM, 0, ZEROS),
	CALL(connect, -1, ZEROS, 16),
	NAMED("sendto an address", sendto, -1, ZEROS, 1, MSG_DONTWAIT, ZEROS, 16),
	CALL(sendmsg, -1, ZEROS, MSG_DONTWAIT),
	CALL(sendmmsg, -1, ZEROS, 1, MSG_DONTWAIT),
	CALL(bind, -1, ZEROS, 16),
	CALL(listen, -1, 1),
	CALL(accept4, -1, 0, 0, 0),
	/* Programs and processes. */
	CALL(execve, NOWHERE, 0, 0),
	CALL(execveat, AT_FDCWD, NOWHERE, 0, 0, 0),
	NAMED("clone of a process", clone, SIGCHLD),
	NAMED("clone with a user namespace", clone, CLONE_NEWUSER | SIGCHLD),
#ifdef __x86_64__
	CALL(fork),
#endif
	CALL(ptrace, PTRACE_ATTACH, 0),
	CALL(process_vm_readv, PARENT, 0, 0, 0, 0, 0),
	CALL(process_vm_writev, PARENT, 0, 0, 0, 0, 0),
	CALL(process_madvise, -1, 0, 0, 0, 0),
	CALL(kill, PARENT, 0),
	NAMED("kill of every process of the user", kill, -1, 0),
	NAMED("tgkill of another process", tgkill, PARENT, PARENT, 0),
	CALL(rt_sigqueueinfo, PARENT, 0, ZEROS),
	CALL(pidfd_open, PARENT, 0),
	CALL(pidfd_getfd, -1, 0, 0),
	CALL(pidfd_send_signal, -1, 0, 0, 0),
	CALL(kcmp, PARENT, PARENT, 0, 0, 0),
	CALL(setpgid, 0, 0),
	CALL(setsid),
	/* Rights. */
	CALL(setuid, 0),
	CALL(setgid, 0),
	CALL(setresuid, -1, -1, -1),
	CALL(setresgid, -1, -1, -1),
	CALL(setgroups, 0, 0),
	CALL(setfsuid, -1),
	CALL(capset, 0, 0),
	NAMED("prctl PR_SET_DUMPABLE", prctl, PR_SET_DUMPABLE, 1, 0, 0, 0),
	NAMED("prctl PR_SET_PTRACER", prctl, PR_SET_PTRACER, 0, 0, 0, 0),
	NAMED("prctl PR_CAPBSET_READ", prctl, PR_CAPBSET_READ, 0, 0, 0, 0),
	CALL(seccomp, 2, 0, ZEROS),
	CALL(keyctl, KEYCTL_GET_KEYRING_ID, -1, 0, 0, 0),
	CALL(add_key, 0, 0, 0, 0, 0),
	CALL(request_key, 0, 0, 0, 0),
	/* Namespaces and mounts. */
	CALL(unshare, 0),
	NAMED("unshare of a user namespace", unshare, CLONE_NEWUSER | CLONE_THREAD),
	CALL(setns, -1, 0),
	CALL(chroot, NOWHERE),
	CALL(pivot_root, NOWHERE, NOWHERE),
	CALL(mount, NOWHERE, NOWHERE, 0, 0, 0),
	CALL(umount2, NOWHERE, 0),
	CALL(open_tree, AT_FDCWD, NOWHERE, 0),
	CALL(move_mount, -1, 0, -1, 0, 0),
	CALL(fsopen, 0, 0),
	CALL(fsmount, -1, 0, 0),
	/* The kernel's machinery. */
	CALL(bpf, 0, 0, 0),
	CALL(perf_event_open, 0, 0, 0, 0, 0),
	CALL(userfaultfd, -1),
	CALL(io_uring_setup, 1, 0),
	CALL(io_uring_enter, -1, 0, 0, 0, 0, 0),
	CALL(io_setup, 0, 0),
	CALL(kexec_load, 0, 0, 0, -1),
	CALL(init_module, 0, 0, 0),
	CALL(finit_module, -1, 0, 0),
	CALL(delete_module, 0, 0),
	CALL(reboot, 0, 0, 0, 0),
	CALL(swapon, NOWHERE, 0),
	CALL(swapoff, NOWHERE),
	CALL(syslog, -1, 0, 0),
	CALL(acct, NOWHERE),
	CALL(quotactl, 0, 0, 0, 0),
	CALL(personality, 0xffffffff),
	CALL(sethostname, 0, -1),
	CALL(settimeofday, 0, 0),
	CALL(clock_settime, 0, 0),
	CALL(adjtimex, 0),
	CALL(prlimit64, 0, RLIMIT_CORE, 0, ZEROS),
	CALL(setpriority, PRIO_PROCESS, 0, 0),
	CALL(sched_setaffinity, 0, 0, 0),
	CALL(sched_setscheduler, 0, SCHED_FIFO, 0),
	CALL(mlockall, 0),
	CALL(shmget, 0x66757365, 0, 0),
	CALL(semget, 0x66757365, 0, 0),
	CALL(msgget, 0x66757365, 0),
	CALL(mq_open, 0, 0, 0, 0),
	NAMED("ioctl TIOCSTI", ioctl, 0, TIOCSTI, 0),
	NAMED("ioctl TIOCLINUX", ioctl, 0, TIOCLINUX, 0),
	NAMED("ioctl TCGETS", ioctl, 0, TCGETS, 0),
	NAMED("ioctl BLKRRPART", ioctl, 0, 0x125f, 0),
	NAMED("ioctl LOOP_CTL_GET_FREE", ioctl, 0, 0x4c82, 0),
	NAMED("fcntl F_SETOWN", fcntl, 0, F_SETOWN, 0),
	NAMED("fcntl F_SETLEASE", fcntl, -1, F_SETLEASE, 0),
	NAMED("fcntl F_DUPFD", fcntl, -1, F_DUPFD, 0),
#ifdef __x86_64__
	CALL(iopl, 0),
	CALL(ioperm, 0, 0, 0),
	CALL(modify_ldt, 0, 0, 0),
#endif
};

enum { ATTEMPTS = sizeof attempts / sizeof attempts[0] };

static long results[ATTEMPTS];

static long argument(long value) { return value == PARENT ? getppid() : value; }

static void make_attempts(void)
{
	for (int i = 0; i < ATTEMPTS; i++) {
		const long *a = attempts[i].arguments;
		const long result = syscall(attempts[i].call, argument(a[0]), argument(a[1]), a[2], a[3], a[4], a[5]);
		const int makes_process = attempts[i].call == SYS_clone || strcmp(attempts[i].name, "fork") == 0;
		if (makes_process && result == 0)
			_exit(0);
		if (makes_process && result > 0)
			waitpid((pid_t)result, 0, 0);
		results[i] = result < 0 ? -errno : result;
	}
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static enum { IDLE, WANTED, DONE } state = IDLE;

static void *old_thread(void *unused)
{
	pthread_mutex_lock(&mutex);
	while (state != WANTED)
		pthread_cond_wait(&changed, &mutex);
	make_attempts();
	state = DONE;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&mutex);
	return unused;
}

static void make_attempts_on_old_thread(void)
{
	pthread_mutex_lock(&mutex);
	state = WANTED;
	pthread_cond_broadcast(&changed);
	while (state != DONE)
		pthread_cond_wait(&changed, &mutex);
	pthread_mutex_unlock(&mutex);
}

/* attempt(onOldThread: boolean): [name, result or negative errno][] */
static napi_value attempt(napi_env env, napi_callback_info info)
{
	size_t count = 1;
	napi_value flag, list;
	bool on_old_thread = false;
	napi_get_cb_info(env, info, &count, &flag, 0, 0);
	napi_get_value_bool(env, flag, &on_old_thread);
	if (on_old_thread)
		make_attempts_on_old_thread();
	else
		make_attempts();
	napi_create_array_with_length(env, ATTEMPTS, &list);
	for (uint32_t i = 0; i < ATTEMPTS; i++) {
		napi_value pair, name, result;
		napi_create_array_with_length(env, 2, &pair);
		napi_create_string_utf8(env, attempts[i].name, NAPI_AUTO_LENGTH, &name);
		napi_create_int64(env, results[i], &result);
		napi_set_element(env, pair, 0, name);
		napi_set_element(env, pair, 1, result);
		napi_set_element(env, list, i, pair);
	}
	return list;
}

/* A call by the conventions of a processor of the same family. */
static napi_value foreign_call(napi_env env, napi_callback_info info)
{
	(void)env;
	(void)info;
#ifdef __x86_64__
	long number = 20; /* getpid, for a 32-bit program */
	__asm__ volatile("int $0x80" : "+a"(number) : : "memory");
#else
	raise(SIGSYS);
#endif
	return 0;
}

NAPI_MODULE_INIT()
{
	pthread_t thread;
	napi_value function;
	pthread_create(&thread, 0, old_thread, 0);
	napi_create_function(env, "attempt", NAPI_AUTO_LENGTH, attempt, 0, &function);
	napi_set_named_property(env, exports, "attempt", function);
	napi_create_function(env, "foreignCall", NAPI_AUTO_LENGTH, foreign_call, 0, &function);
	napi_set_named_property(env, exports, "foreignCall", function);
	return exports;
}
