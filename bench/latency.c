// SPDX-License-Identifier: GPL-2.0-or-later
// Times one system call at a time on files DIR/f000000 ... DIR/f<COUNT-1> in random order and prints
// "p50 p99 mean" in nanoseconds, leaving out the first SKIP files of that order.
// Usage: latency OPERATION DIR COUNT CALLS SKIP
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static uint64_t state = 88172645463325252ull;

static uint64_t next_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

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
	fprintf(stderr, "latency: %s %s: %s\n", what, path, strerror(errno));
	exit(1);
}

static void do_stat(const char *path)
{
	struct stat st;
	if (lstat(path, &st) != 0)
		die("lstat", path);
}

static void do_absent(const char *path)
{
	struct stat st;
	if (lstat(path, &st) == 0 || errno != ENOENT)
		die("absent", path);
}

static void do_open(const char *path)
{
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		die("open", path);
	close(fd);
}

static void do_getxattr(const char *path)
{
	char value[256];
	if (getxattr(path, "user.bench", value, sizeof value) < 0)
		die("getxattr", path);
}

static void do_readdir(const char *path)
{
	DIR *dir = opendir(path);
	if (!dir)
		die("opendir", path);
	while (readdir(dir))
		;
	closedir(dir);
}

static void do_pread(int fd, off_t offset, const char *path)
{
	char block[4096];
	if (pread(fd, block, sizeof block, offset) != (ssize_t)sizeof block)
		die("pread", path);
}

int main(int argc, char **argv)
{
	if (argc != 6) {
		fprintf(stderr, "usage: latency OPERATION DIR COUNT CALLS SKIP\n");
		return 1;
	}
	const char *operation = argv[1], *dir = argv[2];
	long count = atol(argv[3]), calls = atol(argv[4]), skip = atol(argv[5]);
	uint64_t *took = calloc((size_t)calls, sizeof *took);
	long *order = calloc((size_t)count, sizeof *order);
	if (!took || !order)
		die("calloc", "");
	for (long i = 0; i < count; i++)
		order[i] = i;
	for (long i = count - 1; i > 0; i--) {
		long j = (long)(next_random() % (uint64_t)(i + 1));
		long t = order[i];
		order[i] = order[j];
		order[j] = t;
	}
	int fd = -1;
	if (strcmp(operation, "pread") == 0) {
		fd = open(dir, O_RDONLY);
		if (fd < 0)
			die("open", dir);
		posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	}
	uint64_t sum = 0;
	for (long i = 0; i < calls; i++) {
		char path[4096];
		long n = order[(skip + i) % count];
		int absent = strcmp(operation, "absent") == 0;
		snprintf(path, sizeof path, "%s/%c%06ld", dir, absent ? 'x' : 'f', n);
		uint64_t start = now_ns();
		if (strcmp(operation, "stat") == 0)
			do_stat(path);
		else if (absent)
			do_absent(path);
		else if (strcmp(operation, "open") == 0)
			do_open(path);
		else if (strcmp(operation, "getxattr") == 0)
			do_getxattr(path);
		else if (strcmp(operation, "readdir") == 0)
			do_readdir(dir);
		else if (fd >= 0)
			do_pread(fd, (off_t)n * 4096, dir);
		else
			die("operation", operation);
		took[i] = now_ns() - start;
		sum += took[i];
	}
	qsort(took, (size_t)calls, sizeof *took, compare);
	printf("%llu %llu %llu\n", (unsigned long long)took[calls / 2],
	       (unsigned long long)took[calls - 1 - calls / 100], (unsigned long long)(sum / (uint64_t)calls));
	return 0;
}
