// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sync-load DIRECTORY LOG NAME: writes, renames, links, removes and syncs in DIRECTORY until a call fails.
 *
 * What must have survived, whatever comes, is noted in LOG, a file elsewhere, one line each:
 *   file NAME LENGTH SEED      NAME was written, renamed into place, and synced
 *   appended NAME LENGTH SEED  the same of a file that grows
 *   removing NAME              from now on NAME may be there or not
 *   removed NAME               it must not be
 * The content of a file is its SEED, as text and a line feed, again and again. For each line a byte goes to standard
 * output. The errno that ended it all goes to standard error.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BYTES_MAX = 1 << 20, RECORD_BYTES = 700 };

static int log_fd;
static char content[BYTES_MAX + 64];

static void fail(const char *what)
{
	fprintf(stderr, "%s %s\n", what, strerrorname_np(errno));
	exit(0);
}

static void note(const char *what, const char *name, long length, const char *seed)
{
	char line[256];
	int size = snprintf(line, sizeof(line), "%s %s %ld %s\n", what, name, length, seed);

	if (write(log_fd, line, (size_t)size) != size || write(1, ".", 1) != 1)
		fail("log");
}

static void write_range(int fd, const char *seed, long from, long to)
{
	long unit = (long)strlen(seed) + 1;

	for (long at = 0; at < to - from + unit; at += unit) {
		memcpy(content + at, seed, (size_t)unit - 1);
		content[at + unit - 1] = '\n';
	}
	while (from < to) {
		ssize_t done = pwrite(fd, content + from % unit, (size_t)(to - from), from);

		if (done <= 0)
			fail("write");
		from += done;
	}
}

static void sync_directory(int directory)
{
	if (fsync(directory) < 0)
		fail("fsync directory");
}

static void put_file(int directory, const char *name, const char *seed, long length)
{
	int fd = open("unfinished", O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0)
		fail("open");
	write_range(fd, seed, 0, length);
	if (fsync(fd) < 0)
		fail("fsync");
	if (close(fd) < 0)
		fail("close");
	if (rename("unfinished", name) < 0)
		fail("rename");
	sync_directory(directory);
	note("file", name, length, seed);
}

static void remove_file(int directory, const char *name)
{
	note("removing", name, 0, "-");
	if (unlink(name) < 0)
		fail("unlink");
	sync_directory(directory);
	note("removed", name, 0, "-");
}

/* Changes that nobody syncs: any of them may be lost, none may do harm. */
static void change_unsynced(long nr)
{
	char name[64], other[64];
	int fd;

	snprintf(name, sizeof(name), "unsynced-%ld", nr % 7);
	snprintf(other, sizeof(other), "unsynced-%ld", (nr + 3) % 7);
	fd = open(name, O_WRONLY | O_CREAT, 0600);
	if (fd < 0)
		fail("open unsynced");
	write_range(fd, "unsynced", nr * 1000 % 50000, nr * 1000 % 50000 + 20000);
	if (ftruncate(fd, nr * 777 % 60000) < 0 || close(fd) < 0)
		fail("truncate");
	if (nr % 3 == 0 && rename(name, other) < 0)
		fail("rename unsynced");
	if (nr % 5 == 0 && mkdir("unsynced-directory", 0700) < 0)
		fail("mkdir");
	if (nr % 5 == 4 && rmdir("unsynced-directory") < 0)
		fail("rmdir");
}

int main(int argc, char **argv)
{
	long appended = 0;
	int directory, grows;

	if (argc != 4 || (log_fd = open(argv[2], O_WRONLY | O_CREAT | O_APPEND, 0600)) < 0)
		return 64;
	if (chdir(argv[1]) < 0 || (directory = open(".", O_RDONLY | O_DIRECTORY)) < 0)
		fail("directory");
	grows = open("grows", O_WRONLY | O_CREAT, 0644);
	if (grows < 0)
		fail("open");
	sync_directory(directory);
	for (long nr = 0;; nr++) {
		char name[64], seed[64];

		snprintf(name, sizeof(name), "file-%ld", nr);
		snprintf(seed, sizeof(seed), "%s/%ld", argv[3], nr);
		put_file(directory, name, seed, nr % 3 == 2 ? 150000 + nr * 1111 : 3000 + nr * 97);
		if (nr >= 12 && nr % 4 == 0) {
			snprintf(name, sizeof(name), "file-%ld", nr - 12);
			remove_file(directory, name);
		}
		change_unsynced(nr);
		write_range(grows, argv[3], appended, appended + RECORD_BYTES);
		if (fdatasync(grows) < 0)
			fail("fdatasync");
		appended += RECORD_BYTES;
		if (appended + RECORD_BYTES > BYTES_MAX)
			fail("end");
		note("appended", "grows", appended, argv[3]);
	}
}
