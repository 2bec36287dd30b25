/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * Runs a fuzz target over files, without a fuzzer: each argument is an input or
 * a folder of inputs. With no input at all it fails, so that a lost corpus is
 * seen.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static unsigned inputs_nr;

static int replay_file(const char *path, size_t len)
{
	uint8_t *data = malloc(len ? len : 1);
	FILE *f = fopen(path, "rb");
	int r = 1;

	if (!data || !f || fread(data, 1, len, f) != len) {
		fprintf(stderr, "%s: cannot be read\n", path);
	} else {
		/* Named before it runs: a crash then says where it came from. */
		printf("%s\n", path);
		fflush(stdout);
		LLVMFuzzerTestOneInput(data, len);
		inputs_nr++;
		r = 0;
	}
	if (f)
		fclose(f);
	free(data);
	return r;
}

static int replay(const char *path);

static int replay_folder(const char *path)
{
	struct dirent **entries;
	int r = 0, nr = scandir(path, &entries, NULL, alphasort);

	for (int i = 0; i < nr; i++) {
		char name[4096];

		snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.')
			r |= replay(name);
		free(entries[i]);
	}
	if (nr >= 0)
		free(entries);
	return r;
}

static int replay(const char *path)
{
	struct stat st;

	if (stat(path, &st)) {
		fprintf(stderr, "%s: not found\n", path);
		return 1;
	}
	if (S_ISDIR(st.st_mode))
		return replay_folder(path);
	return replay_file(path, (size_t)st.st_size);
}

int main(int argc, char **argv)
{
	int r = 0;

	for (int i = 1; i < argc; i++)
		r |= replay(argv[i]);
	if (!inputs_nr)
		fprintf(stderr, "no input was run\n");
	return r || !inputs_nr;
}
