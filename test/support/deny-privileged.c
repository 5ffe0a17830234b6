// Runs PROGRAM under the system call filter of fuse4fs@.service, as far as x86-64 and arm64 share the calls: what the
// sets @privileged, @resources, @clock, @debug, @module, @reboot, @swap and @mount name fails with EL3RST.
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const int denied[] = {
	/* @privileged */ SYS_fchownat, SYS_fchown, SYS_acct, SYS_bpf, SYS_capset, SYS_chroot, SYS_fanotify_init,
	SYS_fanotify_mark, SYS_open_by_handle_at, SYS_pivot_root, SYS_quotactl, SYS_setdomainname, SYS_setfsuid,
	SYS_setgroups, SYS_sethostname, SYS_setresuid, SYS_setreuid, SYS_setuid, SYS_vhangup,
	/* @resources */ SYS_ioprio_set, SYS_mbind, SYS_migrate_pages, SYS_move_pages, SYS_sched_setaffinity,
	SYS_sched_setattr, SYS_sched_setparam, SYS_sched_setscheduler, SYS_set_mempolicy, SYS_setpriority, SYS_setrlimit,
	/* @clock */ SYS_adjtimex, SYS_clock_adjtime, SYS_clock_settime, SYS_settimeofday,
	/* @debug */ SYS_perf_event_open, SYS_process_vm_readv, SYS_process_vm_writev, SYS_ptrace, SYS_lookup_dcookie,
	/* @module, @reboot, @swap */ SYS_delete_module, SYS_finit_module, SYS_init_module, SYS_kexec_load, SYS_reboot,
	SYS_swapoff, SYS_swapon,
	/* @mount */ SYS_fsconfig, SYS_fsmount, SYS_fsopen, SYS_fspick, SYS_mount, SYS_move_mount, SYS_open_tree,
	SYS_umount2,
};

enum { CALLS = sizeof denied / sizeof denied[0] };

int main(int argc, char **argv)
{
	struct sock_filter filter[2 * CALLS + 2];
	unsigned short length = 0;
	filter[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (int i = 0; i < CALLS; i++) {
		filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)denied[i], 0, 1);
		filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EL3RST);
	}
	filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = {length, filter};
	if (argc < 2 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
		perror("deny-privileged");
		return 1;
	}
	execvp(argv[1], argv + 1);
	perror(argv[1]);
	return 1;
}
