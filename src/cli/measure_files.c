/* measure_files.c -- where --export and its kin write: by extension, whole, and never half a file (measure_report.h). */
#include <errno.h>
#include <sys/stat.h>

#include "base/file_write.h"
#include "base/mem.h"
#include "cli/measure_report.h"

static const struct {
    const char *extension;
    enum measure_file kind;
} extensions[] = {
    {".json", MEASURE_FILE_JSON},   {".csv", MEASURE_FILE_CSV},
    {".md", MEASURE_FILE_MARKDOWN}, {".markdown", MEASURE_FILE_MARKDOWN},
    {".html", MEASURE_FILE_HTML},   {".htm", MEASURE_FILE_HTML},
};

bool measure_file_kind(const char *path, enum measure_file *kind, struct err *e)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    *kind = MEASURE_FILE_JSON;
    if (!dot || dot == name)
        return true;
    for (size_t i = 0; i < COUNT(extensions); i++) {
        if (str_ieq(str_from(dot), str_from(extensions[i].extension))) {
            *kind = extensions[i].kind;
            return true;
        }
    }
    return err_set(e, "\"%s\": expected a name that ends in .json, .csv, .md or .html", path);
}

void measure_file_begin(struct measure_file_writer *w)
{
    *w = (struct measure_file_writer){0};
    w->out = open_memstream(&w->text, &w->bytes);
    ENSURE(w->out != NULL);
}

/* A device or a pipe cannot be replaced by a file: it is written into. */
static bool is_written_into(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

static bool write_into(const char *path, const struct measure_file_writer *w, struct err *e)
{
    bool to_stdout = strcmp(path, "-") == 0;
    FILE *out = to_stdout ? stdout : fopen(path, "w");
    bool good = out && fwrite(w->text, 1, w->bytes, out) == w->bytes && fflush(out) == 0;
    if (out && !to_stdout)
        good = fclose(out) == 0 && good;
    return good || err_set(e, "cannot write %s: %s", path, strerror(errno));
}

bool measure_file_end(struct measure_file_writer *w, const char *path, struct err *e)
{
    fclose(w->out);
    bool good = strcmp(path, "-") == 0 || is_written_into(path)
                    ? write_into(path, w, e)
                    : file_write_whole(path, (struct str){w->text, w->bytes}, 0644, e);
    free(w->text);
    return good;
}
