// SPDX-License-Identifier: GPL-2.0-or-later
// Changes a directory COUNT times, one system call (or create, write and close) after the other, and prints
// "mean p50 p99" in nanoseconds. With PROCESSES above 1 as many processes do so at once, each in DIR/p<number>, and
// the mean is the time until all are done by the changes of all.
// Usage: changes OPERATION DIR COUNT [PROCESSES]
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char block[4096];

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static void die(const char *what, const char *path)
{
	fprintf(stderr, "changes: %s %s: %s\n", what, path, strerror(errno));
	exit(1);
}

static void create(const char *path, int with_data)
{
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);
	if (fd < 0)
		die("create", path);
	if (with_data && write(fd, block, sizeof block) != (ssize_t)sizeof block)
		die("write", path);
	close(fd);
}

static void append_and_sync(int fd, const char *path)
{
	if (write(fd, block, sizeof block) != (ssize_t)sizeof block)
		die("append", path);
	if (fsync(fd) != 0)
		die("fsync", path);
}

static int change_name(const char *operation, const char *path, const char *other)
{
	if (strcmp(operation, "mkdir") == 0)
		return mkdir(path, 0755);
	if (strcmp(operation, "rmdir") == 0)
		return rmdir(path);
	if (strcmp(operation, "unlink") == 0)
		return unlink(path);
	if (strcmp(operation, "rename") == 0)
		return rename(path, other);
	if (strcmp(operation, "rename-back") == 0)
		return rename(other, path);
	errno = EINVAL;
	return -1;
}

static void change(const char *operation, int fd, const char *dir, long n)
{
	char path[4096], other[4096];
	snprintf(path, sizeof path, "%s/f%06ld", dir, n);
	snprintf(other, sizeof other, "%s/g%06ld", dir, n);
	if (strcmp(operation, "create") == 0)
		create(path, 0);
	else if (strcmp(operation, "write") == 0)
		create(path, 1);
	else if (strcmp(operation, "append") == 0)
		append_and_sync(fd, path);
	else if (change_name(operation, path, other) != 0)
		die(operation, path);
}

static void change_all(const char *operation, const char *dir, long count, uint64_t *took)
{
	int fd = -1;
	if (strcmp(operation, "append") == 0) {
		char path[4096];
		snprintf(path, sizeof path, "%s/appended", dir);
		fd = open(path, O_CREAT | O_WRONLY | O_APPEND, 0644);
		if (fd < 0)
			die("open", path);
	}
	for (long n = 0; n < count; n++) {
		uint64_t start = now_ns();
		change(operation, fd, dir, n);
		took[n] = now_ns() - start;
	}
	if (fd >= 0)
		close(fd);
}

static void change_in_parallel(const char *operation, const char *dir, long count, uint64_t *took, long processes)
{
	char path[4096];
	int failed = 0, status;
	for (long p = 0; p < processes; p++) {
		pid_t pid = fork();
		if (pid < 0)
			die("fork", dir);
		if (pid == 0) {
			snprintf(path, sizeof path, "%s/p%ld", dir, p);
			change_all(operation, path, count, took);
			_exit(0);
		}
	}
	while (wait(&status) > 0)
		failed |= status;
	if (failed)
		exit(1);
}

int main(int argc, char **argv)
{
	if (argc < 4 || argc > 5) {
		fprintf(stderr, "usage: changes OPERATION DIR COUNT [PROCESSES]\n");
		return 1;
	}
	long count = atol(argv[3]), processes = argc == 5 ? atol(argv[4]) : 1;
	uint64_t *took = calloc((size_t)count, sizeof *took);
	if (count < 1 || processes < 1 || !took)
		die("counts", argv[3]);
	memset(block, 'x', sizeof block);
	uint64_t start = now_ns();
	if (processes == 1)
		change_all(argv[1], argv[2], count, took);
	else
		change_in_parallel(argv[1], argv[2], count, took, processes);
	uint64_t mean = (now_ns() - start) / (uint64_t)(count * processes);
	qsort(took, (size_t)count, sizeof *took, compare);
	printf("%llu %llu %llu\n", (unsigned long long)mean, (unsigned long long)took[count / 2],
	       (unsigned long long)took[count - 1 - count / 100]);
	return 0;
}
