// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tree-snapshot [--seconds N] [--entries N] DIRECTORY: everything a client can learn about a mounted tree.
 *
 * One line per object: the path below DIRECTORY in hexadecimal, then tab-separated KEY=VALUE fields. A failing system
 * call is a field too (KEY=!ERRNO), so that trees with damage can be compared as well. The first line, without a
 * path, holds the numbers of statfs.
 *
 * --seconds: no object may take longer; SIGALRM ends the program, and its exit tells of the hang.
 * --entries: objects to visit at most (damaged trees may be larger than any real one).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

enum {
	IO_BYTES = 1 << 17,
	DEPTH_MAX = 150,
	PATH_BYTES_MAX = 1 << 16,
	XATTR_BYTES_MAX = 1 << 16,
	SEGMENTS_MAX = 20000,
	WHOLE_FILE_BYTES_MAX = 16 << 20,
	DIRECT_BYTES_MAX = 1 << 20,
	/* Small on purpose: a large directory then takes many calls, each from the cookie of the last. */
	DIRENT_BYTES = 8192,
};

static unsigned seconds_per_object;
static long entries_left = 10000000;
static const int kernel_st_rdonly = 1;

/* ---- SHA-256 (FIPS 180-4) ---- */

struct sha256 {
	uint32_t state[8];
	uint64_t bytes;
	uint8_t block[64];
};

static uint32_t round_constants[64];

/* Is (r / 2^32)^n <= prime, for n = 2 or 3? The cube's lowest 32 bits cannot decide and would not fit. */
static int root_fits(__uint128_t r, int n, unsigned prime)
{
	__uint128_t square = r * r, limit = (__uint128_t)prime << 64;

	if (n == 2)
		return square <= limit;
	return (square >> 32) * r + ((square & 0xFFFFFFFF) * r >> 32) < limit;
}

/* The constants are fractions of cube roots of the first 64 primes, the start values of the first 8 square roots. */
static uint32_t root_fraction(unsigned prime, int n)
{
	uint64_t low = 0, high = (uint64_t)1 << 37;

	while (high - low > 1) {
		uint64_t middle = (low + high) / 2;

		if (root_fits(middle, n, prime))
			low = middle;
		else
			high = middle;
	}
	return (uint32_t)low;
}

static uint32_t start_values[8];

static void sha256_prepare(void)
{
	unsigned found = 0;

	for (unsigned n = 2; found < 64; n++) {
		int prime = 1;

		for (unsigned d = 2; d * d <= n; d++)
			prime &= n % d != 0;
		if (!prime)
			continue;
		if (found < 8)
			start_values[found] = root_fraction(n, 2);
		round_constants[found++] = root_fraction(n, 3);
	}
}

static uint32_t rotate(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

static void sha256_block(uint32_t *h, const uint8_t *p)
{
	uint32_t w[64], s[8];

	for (int i = 0; i < 16; i++)
		w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
	for (int i = 16; i < 64; i++) {
		uint32_t a = w[i - 15], b = w[i - 2];

		w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] +
		       (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
	}
	memcpy(s, h, sizeof(s));
	for (int i = 0; i < 64; i++) {
		uint32_t sum1 = rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25);
		uint32_t sum0 = rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22);
		uint32_t t1 = s[7] + sum1 + ((s[4] & s[5]) ^ (~s[4] & s[6])) + round_constants[i] + w[i];
		uint32_t t2 = sum0 + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));

		memmove(s + 1, s, 7 * sizeof(*s));
		s[4] += t1;
		s[0] = t1 + t2;
	}
	for (int i = 0; i < 8; i++)
		h[i] += s[i];
}

static void sha256_start(struct sha256 *hash)
{
	memcpy(hash->state, start_values, sizeof(hash->state));
	hash->bytes = 0;
}

static void sha256_add(struct sha256 *hash, const void *data, size_t length)
{
	const uint8_t *p = data;

	while (length > 0) {
		size_t at = hash->bytes % 64;
		size_t part = length < 64 - at ? length : 64 - at;

		memcpy(hash->block + at, p, part);
		hash->bytes += part;
		p += part;
		length -= part;
		if (at + part == 64)
			sha256_block(hash->state, hash->block);
	}
}

static void sha256_print(struct sha256 *hash)
{
	uint64_t bits = hash->bytes * 8;
	uint8_t length[8];

	sha256_add(hash, "\x80", 1);
	while (hash->bytes % 64 != 56)
		sha256_add(hash, "", 1);
	for (int i = 0; i < 8; i++)
		length[i] = (uint8_t)(bits >> (56 - 8 * i));
	sha256_add(hash, length, 8);
	for (int i = 0; i < 8; i++)
		printf("%08x", hash->state[i]);
}

/* ---- output ---- */

static void print_hex(const void *data, size_t length)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = data;

	for (size_t i = 0; i < length; i++) {
		putchar(digits[p[i] >> 4]);
		putchar(digits[p[i] & 15]);
	}
}

static void failed(const char *key)
{
	printf("\t%s=!%s", key, strerrorname_np(errno));
}

/* ---- one object ---- */

static void print_time(const char *key, const struct statx_timestamp *t)
{
	printf("\t%s=%lld.%09u", key, (long long)t->tv_sec, t->tv_nsec);
}

static int print_stat(int dir_fd, const char *name, struct statx *st)
{
	if (statx(dir_fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS | STATX_BTIME, st) < 0) {
		failed("stat");
		return -1;
	}
	printf("\tmode=%o\tuid=%u\tgid=%u\tnlink=%u\tsize=%llu\tblocks=%llu\tblksize=%u\tino=%llu", st->stx_mode,
	       st->stx_uid, st->stx_gid, st->stx_nlink, (unsigned long long)st->stx_size,
	       (unsigned long long)st->stx_blocks, st->stx_blksize, (unsigned long long)st->stx_ino);
	if (S_ISCHR(st->stx_mode) || S_ISBLK(st->stx_mode))
		printf("\trdev=%u:%u", st->stx_rdev_major, st->stx_rdev_minor);
	print_time("atime", &st->stx_atime);
	print_time("mtime", &st->stx_mtime);
	print_time("ctime", &st->stx_ctime);
	if (st->stx_mask & STATX_BTIME)
		print_time("btime", &st->stx_btime);
	else
		printf("\tbtime=none");
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void print_xattrs(int dir_fd, const char *name)
{
	static char path[64 + 256 + 1], list[XATTR_BYTES_MAX];
	static uint8_t value[XATTR_BYTES_MAX];
	char *names[1024];
	size_t count = 0;
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dir_fd, name);
	length = llistxattr(path, list, sizeof(list));
	if (length < 0)
		return failed("listxattr");
	for (ssize_t at = 0; at < length && count < 1024; at += (ssize_t)strlen(list + at) + 1)
		names[count++] = list + at;
	qsort(names, count, sizeof(names[0]), by_name);
	for (size_t i = 0; i < count; i++) {
		ssize_t size = lgetxattr(path, names[i], value, sizeof(value));
		ssize_t asked = lgetxattr(path, names[i], NULL, 0);

		printf("\txattr:%s=", names[i]);
		if (size < 0)
			printf("!%s", strerrorname_np(errno));
		else if (asked != size)
			printf("!size %zd, then %zd", asked, size);
		else
			print_hex(value, (size_t)size);
	}
	if (lgetxattr(path, "user.fuse4fs-test-absent", value, sizeof(value)) < 0)
		failed("absent-xattr");
}

static void print_symlink(int dir_fd, const char *name)
{
	static char target[8192];
	ssize_t length = readlinkat(dir_fd, name, target, sizeof(target));

	if (length < 0)
		return failed("target");
	printf("\ttarget=");
	print_hex(target, (size_t)length);
}

static void print_inode_flags(int fd)
{
	struct fsxattr attributes;
	unsigned long generation = 0;
	int flags = 0;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		failed("flags");
	else
		printf("\tflags=%x", (unsigned)flags);
	if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) < 0)
		failed("fsxattr");
	else
		printf("\tfsxattr=%x,%u,%u,%u", attributes.fsx_xflags, attributes.fsx_extsize, attributes.fsx_projid,
		       attributes.fsx_cowextsize);
	if (ioctl(fd, FS_IOC_GETVERSION, &generation) < 0)
		failed("generation");
	else
		printf("\tgeneration=%u", (unsigned)generation);
}

struct segments {
	int count;
	struct { off_t from, to; } at[SEGMENTS_MAX];
};

/* Data and holes as lseek shows them. Returns -1 when lseek failed. */
static int find_segments(int fd, off_t size, struct segments *found)
{
	off_t at = 0;

	found->count = 0;
	while (at < size && found->count < SEGMENTS_MAX) {
		off_t data = lseek(fd, at, SEEK_DATA);
		off_t hole;

		if (data < 0)
			return errno == ENXIO ? 0 : -1;
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			return -1;
		if (data < at || hole <= data) {
			errno = ERANGE;
			return -1;
		}
		found->at[found->count].from = data;
		found->at[found->count++].to = hole;
		at = hole;
	}
	return 0;
}

static void print_segments(int fd, const struct segments *found)
{
	printf("\tdata=");
	for (int i = 0; i < found->count; i++)
		printf("%s%lld-%lld", i ? "," : "", (long long)found->at[i].from, (long long)found->at[i].to);
	if (lseek(fd, INT64_MAX, SEEK_DATA) < 0)
		failed("seek-past-end");
}

static int hash_range(int fd, off_t from, off_t to, struct sha256 *hash)
{
	static uint8_t buffer[IO_BYTES];

	while (from < to) {
		size_t want = to - from < IO_BYTES ? (size_t)(to - from) : IO_BYTES;
		ssize_t got = pread(fd, buffer, want, from);

		if (got < 0)
			return -1;
		if (got == 0)
			break;
		sha256_add(hash, buffer, (size_t)got);
		from += got;
	}
	return 0;
}

/* Too large to read: the data segments, and the edges of the holes around them. */
static int hash_sparse(int fd, off_t size, const struct segments *found, struct sha256 *hash)
{
	off_t edge = 5000;

	for (int i = 0; i < found->count; i++) {
		off_t from = found->at[i].from > edge ? found->at[i].from - edge : 0;
		off_t to = found->at[i].to < size - edge ? found->at[i].to + edge : size;

		if (to - from > WHOLE_FILE_BYTES_MAX)
			to = from + WHOLE_FILE_BYTES_MAX;
		if (hash_range(fd, from, to, hash) < 0)
			return -1;
	}
	return hash_range(fd, size > edge ? size - edge : 0, size, hash);
}

static void print_content(int fd, off_t size, const struct segments *found)
{
	struct sha256 hash;
	int result;

	sha256_start(&hash);
	if (size <= WHOLE_FILE_BYTES_MAX)
		result = hash_range(fd, 0, size + 1, &hash);
	else
		result = hash_sparse(fd, size, found, &hash);
	if (result < 0)
		return failed("sha256");
	printf("\tread=%llu\tsha256=", (unsigned long long)hash.bytes);
	sha256_print(&hash);
}

/* The same bytes without the page cache between us and the server. */
static void print_direct_content(int dir_fd, const char *name, off_t size)
{
	static uint8_t *buffer;
	struct sha256 hash;
	off_t at = 0;
	int fd;

	if (size == 0 || size > DIRECT_BYTES_MAX)
		return;
	if (!buffer && posix_memalign((void **)&buffer, 4096, IO_BYTES) != 0)
		return;
	fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		return failed("direct");
	sha256_start(&hash);
	for (ssize_t got; (got = pread(fd, buffer, IO_BYTES, at)) != 0; at += got) {
		if (got < 0) {
			failed("direct");
			close(fd);
			return;
		}
		sha256_add(&hash, buffer, (size_t)got);
		if (got % 4096)
			break;
	}
	close(fd);
	printf("\tdirect=");
	sha256_print(&hash);
}

static void print_regular(int dir_fd, const char *name, off_t size)
{
	static struct segments found;
	int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC);

	if (fd < 0)
		return failed("open");
	print_inode_flags(fd);
	/* Before any read: pages that are cached over an unwritten extent count as data. */
	if (find_segments(fd, size, &found) < 0)
		failed("data");
	else
		print_segments(fd, &found);
	print_content(fd, size, &found);
	close(fd);
	print_direct_content(dir_fd, name, size);
}

/* ---- directories ---- */

struct entry {
	uint64_t ino;
	int64_t next;
	int type;
	char *name;
};

struct entries {
	size_t count, capacity;
	struct entry *at;
};

static void remember(struct entries *list, const struct dirent64 *d)
{
	if (list->count == list->capacity) {
		list->capacity = list->capacity ? 2 * list->capacity : 64;
		list->at = realloc(list->at, list->capacity * sizeof(*list->at));
	}
	list->at[list->count].ino = d->d_ino;
	list->at[list->count].next = d->d_off;
	list->at[list->count].type = d->d_type;
	list->at[list->count++].name = strdup(d->d_name);
}

static void forget(struct entries *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->at[i].name);
	free(list->at);
}

/* Reads on from the descriptor's position. */
static int read_entries(int fd, struct entries *list)
{
	static char buffer[DIRENT_BYTES];
	ssize_t length;

	while ((length = getdents64(fd, buffer, sizeof(buffer))) > 0) {
		for (ssize_t at = 0; at < length;) {
			const struct dirent64 *d = (const struct dirent64 *)(buffer + at);

			remember(list, d);
			at += d->d_reclen;
		}
		if (list->count > (size_t)entries_left)
			break;
	}
	return length < 0 ? -1 : 0;
}

/* A listing that is resumed at the cookie of the entry in the middle must give exactly the rest. */
static void print_resumed_listing(int fd, const struct entries *all)
{
	struct entries rest = { 0 };
	size_t middle = all->count / 2;
	int equal;

	if (middle == 0)
		return;
	if (lseek(fd, all->at[middle - 1].next, SEEK_SET) < 0 || read_entries(fd, &rest) < 0) {
		failed("resumed");
		return forget(&rest);
	}
	equal = rest.count == all->count - middle;
	for (size_t i = 0; equal && i < rest.count; i++)
		equal = strcmp(rest.at[i].name, all->at[middle + i].name) == 0;
	printf("\tresumed=%s", equal ? "ok" : "differs");
	forget(&rest);
}

static void print_dots(const struct entries *all)
{
	for (size_t i = 0; i < all->count; i++)
		if (strcmp(all->at[i].name, ".") == 0 || strcmp(all->at[i].name, "..") == 0)
			printf("\tdirent:%s=%llu:%d", all->at[i].name, (unsigned long long)all->at[i].ino, all->at[i].type);
}

static void print_absent_name(int fd)
{
	struct stat st;

	if (fstatat(fd, "fuse4fs-test-absent", &st, AT_SYMLINK_NOFOLLOW) < 0)
		failed("absent-name");
}

static char path[PATH_BYTES_MAX];

static void visit(int dir_fd, const struct entry *entry, size_t path_length, int depth);

static int by_entry_name(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static void visit_children(int fd, const struct entries *all, size_t path_length, int depth)
{
	for (size_t i = 0; i < all->count; i++) {
		const char *name = all->at[i].name;
		size_t length = strlen(name);

		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strchr(name, '/'))
			continue;
		if (path_length + length + 2 > sizeof(path) || entries_left-- <= 0)
			return;
		path[path_length] = '/';
		memcpy(path + path_length + 1, name, length + 1);
		visit(fd, &all->at[i], path_length + 1 + length, depth);
	}
}

static void visit_directory(int dir_fd, const char *name, size_t path_length, int depth)
{
	struct entries all = { 0 };
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC);

	if (fd < 0) {
		failed("open");
		putchar('\n');
		return;
	}
	print_inode_flags(fd);
	if (read_entries(fd, &all) < 0)
		failed("readdir");
	printf("\tentries=%zu", all.count);
	print_dots(&all);
	print_resumed_listing(fd, &all);
	print_absent_name(fd);
	putchar('\n');
	/* The order of a listing is the server's business; which of several links is read must not depend on it. */
	qsort(all.at, all.count, sizeof(*all.at), by_entry_name);
	if (depth < DEPTH_MAX)
		visit_children(fd, &all, path_length, depth + 1);
	forget(&all);
	close(fd);
}

/* Content is read once per inode, or hard links by the hundred thousand would cost too much. */
static int first_visit(const struct statx *st)
{
	enum { SLOTS = 1 << 16 };
	static uint64_t seen[SLOTS];
	size_t slot = (size_t)(st->stx_ino * 0x9E3779B97F4A7C15ULL >> 48);

	if (st->stx_nlink < 2)
		return 1;
	if (seen[slot] == st->stx_ino)
		return 0;
	seen[slot] = st->stx_ino;
	return 1;
}

static void visit(int dir_fd, const struct entry *entry, size_t path_length, int depth)
{
	const char *name = entry->name;
	struct statx st;

	alarm(seconds_per_object);
	print_hex(path, path_length);
	if (depth > 0)
		printf("\tdirent=%llu:%d", (unsigned long long)entry->ino, entry->type);
	if (print_stat(dir_fd, name, &st) < 0) {
		putchar('\n');
		return;
	}
	if (!S_ISDIR(st.stx_mode) && !first_visit(&st)) {
		putchar('\n');
		return;
	}
	print_xattrs(dir_fd, name);
	if (S_ISDIR(st.stx_mode))
		return visit_directory(dir_fd, name, path_length, depth);
	if (S_ISREG(st.stx_mode))
		print_regular(dir_fd, name, (off_t)st.stx_size);
	if (S_ISLNK(st.stx_mode))
		print_symlink(dir_fd, name);
	putchar('\n');
}

static void print_statfs(const char *directory)
{
	struct statfs st;

	alarm(seconds_per_object);
	if (statfs(directory, &st) < 0)
		failed("statfs");
	else
		printf("\ttype=%lx\tbsize=%ld\tfrsize=%ld\tblocks=%llu\tbfree=%llu\tbavail=%llu\tfiles=%llu\tffree=%llu"
		       "\tnamelen=%ld\treadonly=%d",
		       (unsigned long)st.f_type, (long)st.f_bsize, (long)st.f_frsize, (unsigned long long)st.f_blocks,
		       (unsigned long long)st.f_bfree, (unsigned long long)st.f_bavail, (unsigned long long)st.f_files,
		       (unsigned long long)st.f_ffree, (long)st.f_namelen, (st.f_flags & kernel_st_rdonly) != 0);
}

/* Label and UUID by ioctl, as the first line's last fields. */
static void print_identity(const char *directory)
{
	struct { uint32_t length, flags; uint8_t uuid[16]; } uuid = { .length = 16 };
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char label[FSLABEL_MAX] = { 0 };

	if (fd < 0)
		return failed("root");
	if (ioctl(fd, FS_IOC_GETFSLABEL, label) < 0)
		failed("label");
	else
		printf("\tlabel=%s", label);
	if (ioctl(fd, _IOR('f', 44, uint64_t), &uuid) < 0)
		failed("uuid");
	else {
		printf("\tuuid=");
		print_hex(uuid.uuid, sizeof(uuid.uuid));
	}
	close(fd);
}

int main(int argc, char **argv)
{
	static char output[1 << 20];
	struct entry root = { .name = "." };
	int root_fd, at = 1;

	for (; at + 1 < argc && strncmp(argv[at], "--", 2) == 0; at += 2) {
		if (strcmp(argv[at], "--seconds") == 0)
			seconds_per_object = (unsigned)atoi(argv[at + 1]);
		else if (strcmp(argv[at], "--entries") == 0)
			entries_left = atol(argv[at + 1]);
	}
	if (at + 1 != argc) {
		fprintf(stderr, "usage: tree-snapshot [--seconds N] [--entries N] DIRECTORY\n");
		return 64;
	}
	setvbuf(stdout, output, _IOFBF, sizeof(output));
	sha256_prepare();
	print_statfs(argv[at]);
	print_identity(argv[at]);
	putchar('\n');
	path[0] = '.';
	root_fd = open(argv[at], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0) {
		perror(argv[at]);
		return 1;
	}
	visit(root_fd, &root, 1, 0);
	return ferror(stdout) || fflush(stdout) ? 1 : 0;
}
