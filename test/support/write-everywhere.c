// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * write-everywhere [--seconds N] [--directories N] DIRECTORY: changes a tree of which nothing may be expected.
 *
 * In each directory that is found, files, directories, links and attributes are made, written, renamed and removed,
 * and what is there already is written to, cut, linked, renamed and removed. Any call may fail; how many did not is
 * printed. --seconds: no directory may take longer; SIGALRM ends the program then.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { DEPTH_MAX = 20, CHILDREN_MAX = 12, BYTES = 30000 };

static unsigned seconds_per_directory;
static long directories_left = 100;
static long succeeded;
static char data[BYTES];

static void count(long result)
{
	succeeded += result >= 0;
}

static void write_file(int dir, const char *name, int flags, off_t at)
{
	int fd = openat(dir, name, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC | flags, 0644);

	count(fd);
	if (fd < 0)
		return;
	count(pwrite(fd, data, BYTES, at));
	count(fsync(fd));
	count(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5000, 9000));
	count(ftruncate(fd, at + 7000));
	count(fallocate(fd, 0, 0, 200000));
	count(fsetxattr(fd, "user.written", data, 600, 0));
	count(fsync(fd));
	close(fd);
}

static void make_things(int dir)
{
	char name[64];

	write_file(dir, "hostile-new", O_CREAT, 0);
	count(mkdirat(dir, "hostile-directory", 0755));
	count(symlinkat("target", dir, "hostile-symlink"));
	count(linkat(dir, "hostile-new", dir, "hostile-link", 0));
	count(renameat2(dir, "hostile-new", dir, "hostile-directory/moved", 0));
	count(renameat2(dir, "hostile-link", dir, "hostile-symlink", RENAME_EXCHANGE));
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "hostile-name-that-is-not-so-short-%d", i);
		count(linkat(dir, "hostile-link", dir, name, 0));
	}
	for (int i = 0; i < 40; i += 2) {
		snprintf(name, sizeof(name), "hostile-name-that-is-not-so-short-%d", i);
		count(unlinkat(dir, name, 0));
	}
	count(unlinkat(dir, "hostile-directory/moved", 0));
	count(unlinkat(dir, "hostile-directory", AT_REMOVEDIR));
	count(fsync(dir));
}

static void change_things(int dir, char names[][256], int children)
{
	for (int i = 0; i < children; i++) {
		switch (i % 4) {
		case 0:
			write_file(dir, names[i], 0, 3000);
			break;
		case 1:
			count(renameat(dir, names[i], dir, "hostile-renamed"));
			break;
		case 2:
			count(fchmodat(dir, names[i], 0700, 0));
			count(fchownat(dir, names[i], 12, 34, AT_SYMLINK_NOFOLLOW));
			write_file(dir, names[i], O_TRUNC, 0);
			break;
		default:
			if (unlinkat(dir, names[i], 0) < 0)
				count(unlinkat(dir, names[i], AT_REMOVEDIR));
			else
				count(0);
		}
	}
}

static void visit(int parent, const char *name, int depth)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	char names[CHILDREN_MAX][256];
	int children = 0;
	DIR *dir;

	if (fd < 0 || directories_left-- <= 0)
		return;
	alarm(seconds_per_directory);
	dir = fdopendir(dup(fd));
	if (dir) {
		struct dirent *d;

		while (children < CHILDREN_MAX && (d = readdir(dir)) != NULL)
			if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0 && !strchr(d->d_name, '/'))
				strcpy(names[children++], d->d_name);
		closedir(dir);
	}
	for (int i = 0; i < children && depth < DEPTH_MAX; i++)
		visit(fd, names[i], depth + 1);
	alarm(seconds_per_directory);
	make_things(fd);
	change_things(fd, names, children);
	close(fd);
}

int main(int argc, char **argv)
{
	int at = 1;

	for (; at + 1 < argc && strncmp(argv[at], "--", 2) == 0; at += 2) {
		if (strcmp(argv[at], "--seconds") == 0)
			seconds_per_directory = (unsigned)atoi(argv[at + 1]);
		else if (strcmp(argv[at], "--directories") == 0)
			directories_left = atol(argv[at + 1]);
	}
	if (at + 1 != argc)
		return 64;
	memset(data, 'w', sizeof(data));
	visit(AT_FDCWD, argv[at], 0);
	printf("%ld\n", succeeded);
	return 0;
}
