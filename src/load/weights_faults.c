#include "load/weights_faults.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/language.h"

enum { SHAPE_BYTES = 128 };

static void format_shape(const uint64_t *dim, uint32_t n_dim, char out[SHAPE_BYTES])
{
    size_t n = 0;
    for (uint32_t i = 0; i < n_dim && n < SHAPE_BYTES; i++)
        n += (size_t)snprintf(out + n, SHAPE_BYTES - n, "%s%" PRIu64, i ? ", " : "", dim[i]);
    if (n_dim == 0)
        snprintf(out, SHAPE_BYTES, "%s", qvl_text("nothing"));
}

void qvl_faults_add(struct qvl_faults *faults, enum qvl_fault kind, const char *name, const char *detail)
{
    if (faults->n[kind] < QVL_FAULTS_NAMED)
        snprintf(faults->text[kind][faults->n[kind]], sizeof faults->text[0][0], "%.72s%s", name, detail);
    faults->n[kind]++;
}

void qvl_faults_add_shape(struct qvl_faults *faults, const char *name, const uint64_t *found, uint32_t n_found,
                          const uint64_t *expected, uint32_t n_expected)
{
    char is[SHAPE_BYTES], want[SHAPE_BYTES], detail[120];
    format_shape(found, n_found, is);
    format_shape(expected, n_expected, want);
    snprintf(detail, sizeof detail, qvl_text(" is [%.40s], expected [%.40s]"), is, want);
    qvl_faults_add(faults, QVL_FAULT_DIFFERENT, name, detail);
}

/* "3 missing: a, b, ..." */
static size_t format_faults(const struct qvl_faults *faults, enum qvl_fault kind, char *out, size_t n_out)
{
    size_t n = faults->n[kind];
    char names[QVL_FAULTS_NAMED * sizeof faults->text[0][0] + 8];
    snprintf(names, sizeof names, "%s%s%s%s", faults->text[kind][0], n > 1 ? ", " : "",
             n > 1 ? faults->text[kind][1] : "", n > QVL_FAULTS_NAMED ? ", ..." : "");
    const char *format = kind == QVL_FAULT_MISSING      ? qvl_text("%zu missing: %s")
                         : kind == QVL_FAULT_UNEXPECTED ? qvl_text("%zu not asked for: %s")
                                                        : qvl_text("%zu different: %s");
    return (size_t)snprintf(out, n_out, format, n, names);
}

enum qvl_status qvl_faults_report(const struct qvl_faults *faults, const char *model, size_t n_expected,
                                  const char *asker, struct qvl_error *err)
{
    char text[360] = "";
    size_t n = 0;
    for (enum qvl_fault k = 0; k < QVL_N_FAULT; k++) {
        if (faults->n[k] && n > 0 && n < sizeof text)
            n += (size_t)snprintf(text + n, sizeof text - n, "; ");
        if (faults->n[k] && n < sizeof text)
            n += format_faults(faults, k, text + n, sizeof text - n);
    }
    if (n == 0)
        return QVL_OK;
    return qvl_fail(err, QVL_ERR_MODEL, "%s: the weights are not the %zu tensors that %s asks for: %s", model,
                    n_expected, asker, text);
}
