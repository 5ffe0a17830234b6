// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * supervise CMD ARG...: runs CMD and adopts whatever it leaves behind.
 *
 * A file system server daemonises: its first process ends and the ones that matter go on. This process is their
 * subreaper, so every descendant comes back to it when its parent dies, and the end of the last one is an event that
 * a test can wait for instead of looking for names in a process list.
 *
 * Reports on descriptor 3, one line each: "exit CODE" or "signal NR" when CMD itself ends, "empty" when the last
 * descendant has ended. SIGTERM kills all descendants.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REPORT_FD = 3 };

/* Kills the direct children only: their orphans become direct children in turn. */
static void kill_children(void)
{
	char path[64];
	FILE *children;
	int pid;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	children = fopen(path, "re");
	if (!children)
		return;
	while (fscanf(children, "%d", &pid) == 1)
		kill(pid, SIGKILL);
	fclose(children);
}

static void report_end(int status)
{
	if (WIFSIGNALED(status))
		dprintf(REPORT_FD, "signal %d\n", WTERMSIG(status));
	else
		dprintf(REPORT_FD, "exit %d\n", WEXITSTATUS(status));
}

int main(int argc, char **argv)
{
	sigset_t blocked, original;
	pid_t command;
	int killing = 0;

	if (argc < 2) {
		fprintf(stderr, "usage: supervise CMD ARG...\n");
		return 64;
	}
	fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGCHLD);
	sigprocmask(SIG_BLOCK, &blocked, &original);

	command = fork();
	if (command < 0) {
		perror("fork");
		return 71;
	}
	if (command == 0) {
		sigprocmask(SIG_SETMASK, &original, NULL);
		execvp(argv[1], argv + 1);
		perror(argv[1]);
		_exit(127);
	}
	for (;;) {
		int status;
		pid_t ended = waitpid(-1, &status, WNOHANG);

		if (ended > 0) {
			if (ended == command)
				report_end(status);
			if (killing)
				kill_children();
			continue;
		}
		if (ended < 0 && errno == ECHILD)
			break;
		if (sigwaitinfo(&blocked, NULL) == SIGTERM)
			killing = 1;
		if (killing)
			kill_children();
	}
	dprintf(REPORT_FD, "empty\n");
	return 0;
}
