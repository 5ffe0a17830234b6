// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sequence-performer DIRECTORY SNAPSHOT-PROGRAM: performs sequences of system calls and tells the result of each.
 *
 * Standard input holds sequences: a line "begin NAME UID UMASK MODE GID DEFAULT-ACL", one line per step, a line "end".
 * Each sequence has a directory of its own, DIRECTORY/NAME, made by root with that mode and group, and a process of its
 * own that works there as UID. The answer is one line per step, what SNAPSHOT-PROGRAM prints of the directory
 * afterwards, and a line ".".
 *
 * A step is a name and words divided by blanks. In paths and names "@N" stands for N times the letter n. "-" is the
 * empty value. A step that begins with "*" is watched: the answer tells also what stat(2) says of everything that the
 * step names, and which of the times changed.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum {
	WORDS_MAX = 10,
	STEPS_MAX = 4096,
	SLOTS = 4,
	TARGETS_MAX = 4,
	IO_BYTES_MAX = 4 << 20,
	VALUE_BYTES_MAX = 1 << 17,
	DIRECT_ALIGNMENT = 4096,
	STEP_SECONDS_MAX = 30,
};

struct step {
	int count;
	char *at[WORDS_MAX];
};

static int slots[SLOTS] = { -1, -1, -1, -1 };
static uint8_t *buffer;

/* ---- words ---- */

static int64_t number(const struct step *s, int i)
{
	return strtoll(s->at[i], NULL, 0);
}

static const char *text(const struct step *s, int i)
{
	static char room[WORDS_MAX][8192];
	const char *from = s->at[i];
	size_t length = 0;

	if (strcmp(from, "-") == 0)
		return "";
	while (*from && length < sizeof(room[i]) - 1) {
		if (*from == '@') {
			char *end;
			size_t count = strtoul(from + 1, &end, 10);

			for (; count > 0 && length < sizeof(room[i]) - 1; count--)
				room[i][length++] = 'n';
			from = end;
		} else {
			room[i][length++] = *from++;
		}
	}
	room[i][length] = 0;
	return room[i];
}

static int hex_digit(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

static size_t from_hex(const char *hex, uint8_t *to)
{
	size_t length = hex[0] == '-' ? 0 : strlen(hex) / 2;

	for (size_t k = 0; k < length; k++)
		to[k] = (uint8_t)(hex_digit(hex[2 * k]) << 4 | hex_digit(hex[2 * k + 1]));
	return length;
}

static int slot(const struct step *s, int i)
{
	return slots[number(s, i) % SLOTS];
}

/* ---- data ---- */

/* Bytes that depend on the seed and are never zero, so that a lost write shows. */
static void fill(uint8_t *to, size_t length, uint64_t seed)
{
	uint64_t state = seed * 0x9E3779B97F4A7C15ULL + 1;

	for (size_t i = 0; i < length; i++) {
		state = state * 6364136223846793005ULL + 1442695040888963407ULL;
		to[i] = (uint8_t)(state >> 56 | 1);
	}
}

/* FNV-1a with 64 bits. */
static uint64_t hash_of(const uint8_t *data, size_t length)
{
	uint64_t hash = 0xCBF29CE484222325ULL;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ data[i]) * 0x100000001B3ULL;
	return hash;
}

static size_t bounded(int64_t length)
{
	return length < 0 ? 0 : length > IO_BYTES_MAX ? IO_BYTES_MAX : (size_t)length;
}

/* Direct I/O of the kernel's ext4 must be aligned, that of FUSE need not: only what both do is compared. */
static int is_direct(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && (flags & O_DIRECT) != 0;
}

static int64_t aligned(int fd, int64_t value)
{
	return is_direct(fd) ? value / DIRECT_ALIGNMENT * DIRECT_ALIGNMENT : value;
}

static int64_t aligned_length(int fd, int64_t value)
{
	int64_t whole = aligned(fd, value);

	return is_direct(fd) && whole == 0 ? DIRECT_ALIGNMENT : whole;
}

/* Whoever opened a file before it became immutable writes into FUSE's cache, and learns of the refusal later. */
static int is_immutable(int fd)
{
	int flags = 0;

	return ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && (flags & FS_IMMUTABLE_FL) != 0;
}

/* ---- the results beyond the returned number ---- */

static uint64_t data_hash;
static int has_data;

static int64_t with_data(int64_t length)
{
	if (length >= 0) {
		data_hash = hash_of(buffer, (size_t)length);
		has_data = 1;
	}
	return length;
}

/* ---- operations ---- */

static int64_t into_slot(const struct step *s, int i, int fd)
{
	int *place = &slots[number(s, i) % SLOTS];

	if (fd < 0)
		return -1;
	if (*place >= 0)
		close(*place);
	*place = fd;
	return 0;
}

/* FUSE does not know these flags, and the server is not asked about opens: it refuses what follows from them. */
static int refused_by_flags(const char *path, int for_writing, int for_appending)
{
	int fd = for_writing ? open(path, O_RDONLY | O_NONBLOCK) : -1;
	int flags = 0, refused;

	if (fd < 0)
		return 0;
	refused = ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 &&
		  ((flags & FS_IMMUTABLE_FL) != 0 || ((flags & FS_APPEND_FL) != 0 && !for_appending));
	close(fd);
	return refused;
}

static int64_t op_open(const struct step *s)
{
	int flags = (int)number(s, 3) | O_NONBLOCK;
	int fd = open(text(s, 2), flags, (mode_t)number(s, 4));

	if (fd >= 0 && refused_by_flags(text(s, 2), (flags & O_ACCMODE) != O_RDONLY, (flags & O_APPEND) != 0)) {
		close(fd);
		errno = EPERM;
		return -1;
	}
	return into_slot(s, 1, fd);
}

static int64_t op_tmpfile(const struct step *s)
{
	return into_slot(s, 1, open(text(s, 2), (int)number(s, 3) | O_TMPFILE, (mode_t)number(s, 4)));
}

static int64_t op_close(const struct step *s)
{
	int *place = &slots[number(s, 1) % SLOTS];
	int fd = *place;

	*place = -1;
	return close(fd);
}

static int64_t op_linkfd(const struct step *s)
{
	char from[64];

	snprintf(from, sizeof(from), "/proc/self/fd/%d", slot(s, 1));
	return linkat(AT_FDCWD, from, AT_FDCWD, text(s, 2), AT_SYMLINK_FOLLOW);
}

static int64_t op_write(const struct step *s)
{
	int fd = slot(s, 1);
	size_t length = bounded(aligned_length(fd, number(s, 2)));

	if (is_immutable(fd))
		return -2;
	if (is_direct(fd) && !(fcntl(fd, F_GETFL) & O_APPEND))
		lseek(fd, aligned(fd, lseek(fd, 0, SEEK_CUR)), SEEK_SET);
	fill(buffer, length, (uint64_t)number(s, 3));
	return write(fd, buffer, length);
}

static int64_t op_pwrite(const struct step *s)
{
	int fd = slot(s, 1);
	size_t length = bounded(aligned_length(fd, number(s, 3)));

	if (is_immutable(fd))
		return -2;
	fill(buffer, length, (uint64_t)number(s, 4));
	return pwrite(fd, buffer, length, aligned(fd, number(s, 2)));
}

static int64_t op_read(const struct step *s)
{
	int fd = slot(s, 1);

	if (is_direct(fd))
		lseek(fd, aligned(fd, lseek(fd, 0, SEEK_CUR)), SEEK_SET);
	return with_data(read(fd, buffer, bounded(aligned_length(fd, number(s, 2)))));
}

static int64_t op_pread(const struct step *s)
{
	int fd = slot(s, 1);

	return with_data(pread(fd, buffer, bounded(aligned_length(fd, number(s, 3))), aligned(fd, number(s, 2))));
}

static int is_zero(int fd, int64_t from, int64_t to)
{
	ssize_t got;

	if (to - from > IO_BYTES_MAX)
		to = from + IO_BYTES_MAX;
	if (is_direct(fd) || from >= to)
		return 1;
	got = pread(fd, buffer, (size_t)(to - from), from);
	for (ssize_t i = 0; i < got; i++)
		if (buffer[i] != 0)
			return 0;
	return 1;
}

/* What lies between an offset and the next data must be zeros: -3 tells of data in a hole. */
static int64_t seek_soundly(int fd, int64_t offset, int whence)
{
	int64_t found = lseek(fd, offset, whence);
	int error = errno;
	struct stat st;

	lseek(fd, 0, SEEK_SET);
	if (whence == SEEK_DATA && (found >= 0 || error == ENXIO) && fstat(fd, &st) == 0) {
		if ((fcntl(fd, F_GETFL) & O_ACCMODE) != O_WRONLY && !is_zero(fd, offset, found < 0 ? st.st_size : found))
			return -3;
	}
	errno = error;
	return found;
}

static int64_t op_lseek(const struct step *s)
{
	int whence = (int)number(s, 3);

	if (whence == SEEK_DATA || whence == SEEK_HOLE)
		return seek_soundly(slot(s, 1), number(s, 2), whence);
	return lseek(slot(s, 1), number(s, 2), whence);
}

/* To the size that the file has, FUSE does not change the times while it gathers writes, and asks nobody. */
static int64_t op_truncate(const struct step *s)
{
	int64_t size = number(s, 2);
	struct stat st;

	if (stat(text(s, 1), &st) == 0 && st.st_size == size)
		size++;
	return truncate(text(s, 1), size);
}

static int64_t op_ftruncate(const struct step *s) { return ftruncate(slot(s, 1), number(s, 2)); }

/* FUSE changes the times before it asks for the change, and so also when that fails: they are put back. */
static int64_t op_fallocate(const struct step *s)
{
	int fd = slot(s, 1), error, exists;
	struct timespec times[2] = { { 0, UTIME_OMIT } };
	struct stat st;

	if (is_immutable(fd))
		return -2;
	exists = fstat(fd, &st) == 0;
	if (fallocate(fd, (int)number(s, 2), number(s, 3), number(s, 4)) == 0)
		return 0;
	error = errno;
	if (exists) {
		times[1] = st.st_mtim;
		futimens(fd, times);
	}
	errno = error;
	return -1;
}

static int64_t op_copy(const struct step *s)
{
	loff_t from = number(s, 2), to = number(s, 4);

	if (is_immutable(slot(s, 3)))
		return -2;
	return copy_file_range(slot(s, 1), &from, slot(s, 3), &to, bounded(number(s, 5)), 0);
}

/* Only what lies within the file: beyond it there would be a signal. */
static int64_t op_mmap(const struct step *s)
{
	int fd = slot(s, 1);
	int64_t offset = number(s, 2) / 4096 * 4096;
	size_t length = bounded(number(s, 3));
	struct stat st;
	uint8_t *map;

	if (fstat(fd, &st) < 0)
		return -1;
	if (offset >= st.st_size || is_immutable(fd))
		return -2;
	if ((int64_t)length > st.st_size - offset)
		length = (size_t)(st.st_size - offset);
	map = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
	if (map == MAP_FAILED)
		return -1;
	memcpy(buffer, map, length);
	with_data((int64_t)length);
	fill(map, length, (uint64_t)number(s, 4));
	if (number(s, 5) && msync(map, length, MS_SYNC) < 0)
		return -1;
	return munmap(map, length);
}

static int64_t op_fsync(const struct step *s) { return fsync(slot(s, 1)); }
static int64_t op_fdatasync(const struct step *s) { return fdatasync(slot(s, 1)); }
static int64_t op_mkdir(const struct step *s) { return mkdir(text(s, 1), (mode_t)number(s, 2)); }
static int64_t op_rmdir(const struct step *s) { return rmdir(text(s, 1)); }
static int64_t op_unlink(const struct step *s) { return unlink(text(s, 1)); }
static int64_t op_link(const struct step *s) { return link(text(s, 1), text(s, 2)); }
static int64_t op_symlink(const struct step *s) { return symlink(text(s, 2), text(s, 1)); }

static int64_t op_readlink(const struct step *s)
{
	return with_data(readlink(text(s, 1), (char *)buffer, 8192));
}

static int64_t op_rename(const struct step *s)
{
	return renameat2(AT_FDCWD, text(s, 1), AT_FDCWD, text(s, 2), (unsigned)number(s, 3));
}

static int64_t op_mknod(const struct step *s)
{
	return mknod(text(s, 1), (mode_t)number(s, 2), makedev((unsigned)number(s, 3), (unsigned)number(s, 4)));
}

static int64_t op_chmod(const struct step *s) { return chmod(text(s, 1), (mode_t)number(s, 2)); }
static int64_t op_fchmod(const struct step *s) { return fchmod(slot(s, 1), (mode_t)number(s, 2)); }

static int64_t op_chown(const struct step *s)
{
	return lchown(text(s, 1), (uid_t)number(s, 2), (gid_t)number(s, 3));
}

static struct timespec time_of(const struct step *s, int i)
{
	struct timespec t = { number(s, i), 123456789 };

	if (strcmp(s->at[i], "now") == 0)
		t.tv_nsec = UTIME_NOW;
	if (strcmp(s->at[i], "omit") == 0)
		t.tv_nsec = UTIME_OMIT;
	return t;
}

static int64_t op_utimens(const struct step *s)
{
	struct timespec times[2] = { time_of(s, 2), time_of(s, 3) };
	int sets_atime = times[0].tv_nsec != UTIME_NOW && times[0].tv_nsec != UTIME_OMIT;
	int sets_mtime = times[1].tv_nsec != UTIME_NOW && times[1].tv_nsec != UTIME_OMIT;

	/* Of an append-only file: FUSE sends the times that it keeps itself in the same way. */
	if (sets_mtime && !sets_atime && refused_by_flags(text(s, 1), 1, 0))
		return -2;
	return utimensat(AT_FDCWD, text(s, 1), times, AT_SYMLINK_NOFOLLOW);
}

static int64_t op_setxattr(const struct step *s)
{
	size_t length = bounded(number(s, 3));

	fill(buffer, length, (uint64_t)number(s, 4));
	return lsetxattr(text(s, 1), text(s, 2), buffer, length, (int)number(s, 5));
}

static int64_t op_setacl(const struct step *s)
{
	size_t length = from_hex(s->at[3], buffer);

	return lsetxattr(text(s, 1), text(s, 2), buffer, length, 0);
}

static int64_t op_getxattr(const struct step *s)
{
	return with_data(lgetxattr(text(s, 1), text(s, 2), buffer, VALUE_BYTES_MAX));
}

static int64_t op_removexattr(const struct step *s) { return lremovexattr(text(s, 1), text(s, 2)); }

/* The order of a list is nobody's promise: the hashes of the names are added up. */
static int64_t op_listxattr(const struct step *s)
{
	ssize_t length = llistxattr(text(s, 1), (char *)buffer, VALUE_BYTES_MAX);

	data_hash = 0;
	for (ssize_t at = 0; at < length; at += (ssize_t)strlen((char *)buffer + at) + 1)
		data_hash += hash_of(buffer + at, strlen((char *)buffer + at));
	has_data = length >= 0;
	return length;
}

static int64_t close_with(int fd, int64_t result)
{
	int saved = errno;

	close(fd);
	errno = saved;
	return result;
}

static int64_t op_setflags(const struct step *s)
{
	int fd = open(text(s, 1), O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
	int flags = 0;

	if (fd < 0)
		return -1;
	/* What was written before the file became immutable is to reach it. */
	fsync(fd);
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		return close_with(fd, -1);
	flags = (flags & ~(int)number(s, 3)) | (int)number(s, 2);
	return close_with(fd, ioctl(fd, FS_IOC_SETFLAGS, &flags));
}

static int64_t op_readdir(const struct step *s)
{
	DIR *dir = opendir(text(s, 1));
	int64_t count = 0;

	if (!dir)
		return -1;
	data_hash = 0;
	has_data = 1;
	errno = 0;
	for (struct dirent *d; (d = readdir(dir)) != NULL; count++)
		data_hash += hash_of((uint8_t *)d->d_name, strlen(d->d_name)) + d->d_type;
	if (errno != 0)
		count = -1;
	closedir(dir);
	return count;
}

static int64_t op_access(const struct step *s)
{
	int mode = (int)number(s, 2);

	if (access(text(s, 1), mode) < 0)
		return -1;
	if (!refused_by_flags(text(s, 1), (mode & W_OK) != 0, 1))
		return 0;
	errno = EPERM;
	return -1;
}

static int64_t op_stat(const struct step *s)
{
	struct stat st;

	return lstat(text(s, 1), &st);
}

/* Words: d a descriptor, p a path, the rest is the operation's business. Those of d and p are watched. */
static const struct operation {
	const char *name, *words;
	int64_t (*run)(const struct step *);
} operations[] = {
	{ "open", "dpnn", op_open }, { "tmpfile", "dpnn", op_tmpfile }, { "close", "d", op_close },
	{ "linkfd", "dp", op_linkfd }, { "write", "dnn", op_write }, { "pwrite", "dnnn", op_pwrite },
	{ "read", "dn", op_read }, { "pread", "dnn", op_pread }, { "lseek", "dnn", op_lseek },
	{ "truncate", "pn", op_truncate }, { "ftruncate", "dn", op_ftruncate },
	{ "fallocate", "dnnn", op_fallocate }, { "copy", "dndnn", op_copy }, { "mmap", "dnnnn", op_mmap },
	{ "fsync", "d", op_fsync }, { "fdatasync", "d", op_fdatasync }, { "mkdir", "pn", op_mkdir },
	{ "rmdir", "p", op_rmdir }, { "unlink", "p", op_unlink }, { "link", "pp", op_link },
	{ "symlink", "pn", op_symlink }, { "readlink", "p", op_readlink }, { "rename", "ppn", op_rename },
	{ "mknod", "pnnn", op_mknod }, { "chmod", "pn", op_chmod }, { "fchmod", "dn", op_fchmod },
	{ "chown", "pnn", op_chown }, { "utimens", "pnn", op_utimens }, { "setxattr", "pnnnn", op_setxattr },
	{ "setacl", "pnn", op_setacl }, { "getxattr", "pn", op_getxattr }, { "removexattr", "pn", op_removexattr },
	{ "listxattr", "p", op_listxattr }, { "setflags", "pnn", op_setflags }, { "readdir", "p", op_readdir },
	{ "access", "pn", op_access }, { "stat", "p", op_stat },
};

static const struct operation *operation_of(const struct step *s)
{
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		if (strcmp(operations[i].name, s->at[0]) == 0 && s->count == (int)strlen(operations[i].words) + 1)
			return &operations[i];
	return NULL;
}

/* ---- watching ---- */

struct target {
	int fd;
	char path[8192];
	int exists;
	struct stat before;
};

static int stat_target(const struct target *t, struct stat *st)
{
	return (t->fd >= 0 ? fstat(t->fd, st) : lstat(t->path, st)) == 0;
}

static void add_path(struct target *t, const char *path, int parent)
{
	char *slash;

	t->fd = -1;
	snprintf(t->path, sizeof(t->path), "%s", path);
	if (!parent)
		return;
	slash = strrchr(t->path, '/');
	if (slash)
		*slash = 0;
	else
		strcpy(t->path, ".");
}

static int find_targets(const struct step *s, const struct operation *op, struct target *targets)
{
	int count = 0;

	for (int i = 1; i < s->count && count + 2 <= TARGETS_MAX; i++) {
		if (op->words[i - 1] == 'd' && slot(s, i) >= 0)
			targets[count++].fd = slot(s, i);
		if (op->words[i - 1] == 'p') {
			add_path(&targets[count++], text(s, i), 0);
			add_path(&targets[count++], text(s, i), 1);
		}
	}
	return count;
}

static int is_later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec > b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec);
}

/*
 * File systems take their times from a clock of a few milliseconds: a change shows only after its next tick. File
 * systems with finer times, as the kernel's ext4, may have put all times ahead of that clock. It is asked by system
 * call, as what is mapped into processes may be ahead of what the kernel itself goes by.
 */
static struct timespec tick(void)
{
	struct timespec now;

	syscall(SYS_clock_gettime, CLOCK_REALTIME_COARSE, &now);
	return now;
}

static void watch_before(struct target *targets, int count)
{
	struct timespec last = tick(), now;

	for (int i = 0; i < count; i++)
		targets[i].exists = stat_target(&targets[i], &targets[i].before);
	for (int i = 0; i < count; i++)
		if (targets[i].exists && is_later(&targets[i].before.st_ctim, &last))
			last = targets[i].before.st_ctim;
	do
		now = tick();
	while (!is_later(&now, &last));
}

static const char *change(const struct timespec *before, const struct timespec *after, const char *letter)
{
	return before->tv_sec == after->tv_sec && before->tv_nsec == after->tv_nsec ? "" : letter;
}

static void watch_after(const struct target *targets, int count)
{
	for (int i = 0; i < count; i++) {
		const struct stat *before = &targets[i].before;
		struct stat st;

		if (!stat_target(&targets[i], &st)) {
			printf(" | %s", strerrorname_np(errno));
			continue;
		}
		printf(" | %o %u %u %u", st.st_mode, (unsigned)st.st_nlink, st.st_uid, st.st_gid);
		if (!S_ISDIR(st.st_mode))
			printf(" %lld", (long long)st.st_size);
		if (!targets[i].exists)
			printf(" new");
		else if (before->st_ino != st.st_ino)
			printf(" another");
		else
			printf(" %s%s%s.", change(&before->st_atim, &st.st_atim, "a"), change(&before->st_mtim, &st.st_mtim, "m"),
			       change(&before->st_ctim, &st.st_ctim, "c"));
	}
}

/* ---- sequences ---- */

static void perform(char *line)
{
	static struct target targets[TARGETS_MAX];
	int watched = line[0] == '*', count = 0;
	char *rest = line + watched;
	const struct operation *op;
	struct step s = { 0 };
	int64_t result;
	int error;

	for (char *word; s.count < WORDS_MAX && (word = strsep(&rest, " \n")) != NULL;)
		if (*word)
			s.at[s.count++] = word;
	op = s.count > 0 ? operation_of(&s) : NULL;
	if (!op) {
		printf("unknown\n");
		return;
	}
	alarm(STEP_SECONDS_MAX);
	if (watched) {
		count = find_targets(&s, op, targets);
		watch_before(targets, count);
	}
	has_data = 0;
	errno = 0;
	result = op->run(&s);
	error = errno;
	if (result == -1)
		printf("%s", strerrorname_np(error));
	else
		printf("%lld", (long long)result);
	if (has_data && result != -1)
		printf(" %016llx", (unsigned long long)data_hash);
	if (watched)
		watch_after(targets, count);
	putchar('\n');
}

static int prepare(const struct step *s, uid_t *uid)
{
	const char *name = s->at[1];
	size_t length;

	*uid = (uid_t)number(s, 2);
	if (mkdir(name, 0777) < 0 || chown(name, *uid, (gid_t)number(s, 5)) < 0 || chmod(name, (mode_t)number(s, 4)) < 0)
		return -1;
	length = from_hex(s->at[6], buffer);
	if (length > 0 && setxattr(name, "system.posix_acl_default", buffer, length, 0) < 0)
		return -1;
	umask((mode_t)number(s, 3));
	return chdir(name);
}

static void become(uid_t uid)
{
	gid_t group = 1001;

	if (uid == 0)
		return;
	if (setgroups(1, &group) < 0 || setgid(uid) < 0 || setuid(uid) < 0) {
		perror("setuid");
		_exit(1);
	}
}

static void run_sequence(char **lines, int count)
{
	struct step s = { 0 };
	char *rest = lines[0];
	uid_t uid = 0;

	for (char *word; s.count < WORDS_MAX && (word = strsep(&rest, " \n")) != NULL;)
		if (*word)
			s.at[s.count++] = word;
	if (s.count != 7 || prepare(&s, &uid) < 0) {
		perror("begin");
		_exit(1);
	}
	become(uid);
	for (int i = 1; i < count; i++) {
		perform(lines[i]);
		fflush(stdout);
	}
	_exit(0);
}

static void wait_for(pid_t pid, const char *what)
{
	int status = 0;

	waitpid(pid, &status, 0);
	if (status != 0)
		printf("%s: %s %d\n", what, WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "exit", WEXITSTATUS(status));
	fflush(stdout);
}

static void take_snapshot(const char *program, const char *directory)
{
	pid_t pid = fork();

	if (pid == 0) {
		execl(program, program, "--seconds", "30", directory, (char *)NULL);
		_exit(127);
	}
	wait_for(pid, "snapshot");
}

int main(int argc, char **argv)
{
	static char *lines[STEPS_MAX];
	char *line = NULL;
	size_t capacity = 0;
	int count = 0;

	if (argc != 3 || chdir(argv[1]) < 0 || posix_memalign((void **)&buffer, 4096, IO_BYTES_MAX) != 0) {
		perror("sequence-performer DIRECTORY SNAPSHOT-PROGRAM");
		return 64;
	}
	umask(0);
	while (getline(&line, &capacity, stdin) > 0) {
		char name[256] = "";
		pid_t pid;

		if (strcmp(line, "end\n") != 0) {
			if (count < STEPS_MAX)
				lines[count++] = strdup(line);
			continue;
		}
		sscanf(lines[0], "begin %255s", name);
		fflush(stdout);
		pid = fork();
		if (pid == 0)
			run_sequence(lines, count);
		wait_for(pid, "sequence");
		take_snapshot(argv[2], name);
		while (count > 0)
			free(lines[--count]);
		printf(".\n");
		fflush(stdout);
	}
	return 0;
}
