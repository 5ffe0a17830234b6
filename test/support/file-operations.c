// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * file-operations DIRECTORY: performs the operations on standard input, one per line, below DIRECTORY.
 *
 * The test profile is written in TypeScript; this program only does what needs raw system calls, or needs them by the
 * hundred thousand. Names and values are hexadecimal, so that a name may hold any byte. Numbers are decimal, with 0x
 * hexadecimal, with a leading 0 octal. A line that starts with "?" may fail: the failure goes to standard error and
 * the run goes on. Any other failure ends the run with the number of the line.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { WORDS_MAX = 16, IO_BYTES = 1 << 16, VALUE_BYTES_MAX = 1 << 17 };

struct words {
	int count;
	char *at[WORDS_MAX];
};

static int64_t number(const struct words *w, int i)
{
	return i < w->count ? strtoll(w->at[i], NULL, 0) : 0;
}

static int hex_digit(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* Decodes word i in place; the terminating zero makes it a C string as well. "-" is the empty value. */
static size_t bytes(const struct words *w, int i)
{
	char *hex = w->at[i];
	size_t length = hex[0] == '-' ? 0 : strlen(hex) / 2;

	for (size_t k = 0; k < length; k++)
		hex[k] = (char)(hex_digit(hex[2 * k]) << 4 | hex_digit(hex[2 * k + 1]));
	hex[length] = 0;
	return length;
}

static const char *path(const struct words *w, int i)
{
	bytes(w, i);
	return w->at[i];
}

/* xorshift64*: the same seed gives the same bytes on every machine. */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545F4914F6CDD1DULL;
}

static void fill(uint8_t *to, size_t length, uint64_t *state)
{
	for (size_t i = 0; i < length; i++)
		to[i] = (uint8_t)(next_random(state) >> 32);
}

static uint64_t seeded(int64_t seed)
{
	return (uint64_t)seed * 0x9E3779B97F4A7C15ULL + 1;
}

static int write_all(int fd, const uint8_t *data, size_t length, off_t at)
{
	while (length > 0) {
		ssize_t done = pwrite(fd, data, length, at);

		if (done < 0)
			return -1;
		data += done;
		at += done;
		length -= (size_t)done;
	}
	return 0;
}

static int write_random(int fd, off_t at, int64_t length, int64_t seed)
{
	static uint8_t buffer[IO_BYTES];
	uint64_t state = seeded(seed);

	while (length > 0) {
		size_t part = length < IO_BYTES ? (size_t)length : IO_BYTES;

		fill(buffer, part, &state);
		if (write_all(fd, buffer, part, at) < 0)
			return -1;
		at += (off_t)part;
		length -= (int64_t)part;
	}
	return 0;
}

static int close_with(int fd, int result)
{
	int saved = errno;

	close(fd);
	errno = saved;
	return result;
}

/* write PATH OFFSET LENGTH SEED */
static int op_write(const struct words *w)
{
	int fd = open(path(w, 1), O_WRONLY | O_CREAT, 0644);

	return fd < 0 ? -1 : close_with(fd, write_random(fd, number(w, 2), number(w, 3), number(w, 4)));
}

/* text PATH OFFSET VALUE */
static int op_text(const struct words *w)
{
	int fd = open(path(w, 1), O_WRONLY | O_CREAT, 0644);
	size_t length = bytes(w, 3);

	return fd < 0 ? -1 : close_with(fd, write_all(fd, (uint8_t *)w->at[3], length, number(w, 2)));
}

/* journal-magic PATH BLOCK-BYTES COUNT SEED: blocks that begin with the number that starts every journal block */
static int op_journal_magic(const struct words *w)
{
	static const uint8_t magic[4] = { 0xC0, 0x3B, 0x39, 0x98 };
	int fd = open(path(w, 1), O_WRONLY | O_CREAT, 0644);
	int64_t block = number(w, 2);

	if (fd < 0 || write_random(fd, 0, block * number(w, 3), number(w, 4)) < 0)
		return -1;
	for (int64_t i = 0; i < number(w, 3); i++)
		if (write_all(fd, magic, sizeof(magic), i * block) < 0)
			return close_with(fd, -1);
	return close_with(fd, 0);
}

/* stripes PATH BLOCK-BYTES COUNT STRIDE-BYTES SEED: one block at each multiple of the stride */
static int op_stripes(const struct words *w)
{
	int fd = open(path(w, 1), O_WRONLY | O_CREAT, 0644);

	if (fd < 0)
		return -1;
	for (int64_t i = 0; i < number(w, 3); i++)
		if (write_random(fd, i * number(w, 4), number(w, 2), number(w, 5) + i) < 0)
			return close_with(fd, -1);
	return close_with(fd, 0);
}

/* fallocate PATH MODE OFFSET LENGTH */
static int op_fallocate(const struct words *w)
{
	int fd = open(path(w, 1), O_WRONLY | O_CREAT, 0644);

	return fd < 0 ? -1 : close_with(fd, fallocate(fd, (int)number(w, 2), number(w, 3), number(w, 4)));
}

/* punches PATH BLOCK-BYTES COUNT STRIDE-BYTES */
static int op_punches(const struct words *w)
{
	int fd = open(path(w, 1), O_WRONLY);
	int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	if (fd < 0)
		return -1;
	for (int64_t i = 0; i < number(w, 3); i++)
		if (fallocate(fd, mode, i * number(w, 4), number(w, 2)) < 0)
			return close_with(fd, -1);
	return close_with(fd, 0);
}

static int op_truncate(const struct words *w) { return truncate(path(w, 1), number(w, 2)); }
static int op_mkdir(const struct words *w) { return mkdir(path(w, 1), (mode_t)number(w, 2)); }
static int op_rmdir(const struct words *w) { return rmdir(path(w, 1)); }
static int op_unlink(const struct words *w) { return unlink(path(w, 1)); }
static int op_chmod(const struct words *w) { return chmod(path(w, 1), (mode_t)number(w, 2)); }
static int op_link(const struct words *w) { return link(path(w, 1), path(w, 2)); }
static int op_rename(const struct words *w) { return rename(path(w, 1), path(w, 2)); }

static int op_chown(const struct words *w)
{
	return lchown(path(w, 1), (uid_t)number(w, 2), (gid_t)number(w, 3));
}

/* symlink PATH TARGET */
static int op_symlink(const struct words *w) { return symlink(path(w, 2), path(w, 1)); }

/* node PATH MODE-WITH-TYPE MAJOR MINOR */
static int op_node(const struct words *w)
{
	dev_t device = makedev((unsigned)number(w, 3), (unsigned)number(w, 4));

	return mknod(path(w, 1), (mode_t)number(w, 2), device);
}

/* times PATH ATIME-SEC ATIME-NS MTIME-SEC MTIME-NS */
static int op_times(const struct words *w)
{
	struct timespec times[2] = { { number(w, 2), number(w, 3) }, { number(w, 4), number(w, 5) } };

	return utimensat(AT_FDCWD, path(w, 1), times, AT_SYMLINK_NOFOLLOW);
}

/* xattr PATH NAME VALUE */
static int op_xattr(const struct words *w)
{
	size_t length = bytes(w, 3);

	return lsetxattr(path(w, 1), path(w, 2), w->at[3], length, 0);
}

/* xattr-random PATH NAME LENGTH SEED */
static int op_xattr_random(const struct words *w)
{
	static uint8_t value[VALUE_BYTES_MAX];
	uint64_t state = seeded(number(w, 4));
	size_t length = (size_t)number(w, 3);

	if (length > sizeof(value)) {
		errno = E2BIG;
		return -1;
	}
	fill(value, length, &state);
	return lsetxattr(path(w, 1), path(w, 2), value, length, 0);
}

static int op_xattr_remove(const struct words *w) { return lremovexattr(path(w, 1), path(w, 2)); }

/* flags PATH FLAGS: adds FS_*_FL flags to those that the inode has */
static int op_flags(const struct words *w)
{
	int fd = open(path(w, 1), O_RDONLY | O_NONBLOCK);
	int flags = 0;

	if (fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		return -1;
	flags |= (int)number(w, 2);
	return close_with(fd, ioctl(fd, FS_IOC_SETFLAGS, &flags));
}

/* links PREFIX COUNT SOURCES SOURCE-PREFIX: hard links that spread over a few inodes, as one may have only 65000 */
static int op_links(const struct words *w)
{
	const char *prefix = path(w, 1);
	const char *source_prefix = path(w, 4);
	int64_t sources = number(w, 3);

	for (int64_t i = 0; i < number(w, 2); i++) {
		char from[4096], to[4096];

		snprintf(from, sizeof(from), "%s%lld", source_prefix, (long long)(i % sources));
		snprintf(to, sizeof(to), "%s%lld", prefix, (long long)i);
		if (link(from, to) < 0)
			return -1;
	}
	return 0;
}

/* files PREFIX COUNT: small files that hold their own name */
static int op_files(const struct words *w)
{
	const char *prefix = path(w, 1);

	for (int64_t i = 0; i < number(w, 2); i++) {
		char name[4096];
		int length = snprintf(name, sizeof(name), "%s%lld", prefix, (long long)i);
		int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);

		if (fd < 0 || close_with(fd, write_all(fd, (uint8_t *)name, (size_t)length, 0)) < 0)
			return -1;
	}
	return 0;
}

/* unlinks PREFIX FROM TO STEP */
static int op_unlinks(const struct words *w)
{
	const char *prefix = path(w, 1);

	for (int64_t i = number(w, 2); i < number(w, 3); i += number(w, 4)) {
		char name[4096];

		snprintf(name, sizeof(name), "%s%lld", prefix, (long long)i);
		if (unlink(name) < 0)
			return -1;
	}
	return 0;
}

static int op_sync(const struct words *w)
{
	int fd = open(".", O_RDONLY | O_DIRECTORY);

	(void)w;
	return fd < 0 ? -1 : close_with(fd, syncfs(fd));
}

/* fsync PATH: commits the running transaction, without writing metadata home as sync does */
static int op_fsync(const struct words *w)
{
	int fd = open(path(w, 1), O_RDONLY);

	return fd < 0 ? -1 : close_with(fd, fsync(fd));
}

static const struct {
	const char *name;
	int words;
	int (*run)(const struct words *);
} operations[] = {
	{ "write", 5, op_write }, { "text", 4, op_text }, { "journal-magic", 5, op_journal_magic },
	{ "stripes", 6, op_stripes }, { "fallocate", 5, op_fallocate }, { "punches", 5, op_punches },
	{ "truncate", 3, op_truncate }, { "mkdir", 3, op_mkdir }, { "rmdir", 2, op_rmdir },
	{ "unlink", 2, op_unlink }, { "chmod", 3, op_chmod }, { "chown", 4, op_chown }, { "link", 3, op_link },
	{ "rename", 3, op_rename }, { "symlink", 3, op_symlink }, { "node", 5, op_node }, { "times", 6, op_times },
	{ "xattr", 4, op_xattr }, { "xattr-random", 5, op_xattr_random }, { "xattr-remove", 3, op_xattr_remove },
	{ "flags", 3, op_flags }, { "links", 5, op_links },
	{ "files", 3, op_files }, { "unlinks", 5, op_unlinks }, { "sync", 1, op_sync },
	{ "fsync", 2, op_fsync },
};

static int perform(const struct words *w)
{
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		if (strcmp(operations[i].name, w->at[0]) == 0) {
			if (w->count == operations[i].words)
				return operations[i].run(w);
			break;
		}
	errno = ENOSYS;
	return -1;
}

int main(int argc, char **argv)
{
	char *line = NULL;
	size_t capacity = 0;

	if (argc != 2 || chdir(argv[1]) < 0) {
		perror("file-operations DIRECTORY");
		return 64;
	}
	umask(0);
	for (long line_nr = 1; getline(&line, &capacity, stdin) > 0; line_nr++) {
		struct words w = { 0 };
		int may_fail = line[0] == '?';
		char *rest = line + may_fail;

		for (char *word; w.count < WORDS_MAX && (word = strsep(&rest, " \n")) != NULL;)
			if (*word)
				w.at[w.count++] = word;
		if (w.count == 0 || perform(&w) == 0)
			continue;
		fprintf(stderr, "line %ld: %s: %s\n", line_nr, w.at[0], strerror(errno));
		if (!may_fail)
			return 1;
	}
	return 0;
}
