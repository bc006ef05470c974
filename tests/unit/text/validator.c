#include "validator.h"

#include <math.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

static const json_t *follow(const json_t *root, const char *ref)
{
    char copy[200], *save = NULL;
    const json_t *at = root;
    snprintf(copy, sizeof copy, "%s", ref + 1);
    for (char *step = strtok_r(copy, "/", &save); step && at; step = strtok_r(NULL, "/", &save))
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(step)) : json_object_get(at, step);
    if (!at)
        abort();
    return at;
}

static bool has_type(const char *type, const json_t *v)
{
    if (strcmp(type, "integer") == 0)
        return json_is_integer(v) || (json_is_real(v) && floor(json_real_value(v)) >= json_real_value(v));
    return strcmp(type, "null") == 0      ? json_is_null(v)
           : strcmp(type, "boolean") == 0 ? json_is_boolean(v)
           : strcmp(type, "number") == 0  ? json_is_number(v)
           : strcmp(type, "string") == 0  ? json_is_string(v)
           : strcmp(type, "array") == 0   ? json_is_array(v)
                                          : json_is_object(v);
}

static bool is_equal(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) >= json_number_value(b) && json_number_value(a) <= json_number_value(b);
    return json_equal(a, b);
}

static size_t count_characters(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += (*s & 0xC0) != 0x80;
    return n;
}

static bool matches(const char *pattern, const char *s)
{
    regex_t regex;
    if (regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB))
        abort();
    bool is = regexec(&regex, s, 0, NULL, 0) == 0;
    regfree(&regex);
    return is;
}

static bool check_general(const json_t *root, const json_t *s, const json_t *v)
{
    const json_t *x, *one;
    size_t i, n_valid = 0;
    if ((x = json_object_get(s, "$ref")) && !is_valid(root, follow(root, json_string_value(x)), v))
        return false;
    if ((x = json_object_get(s, "const")) && !is_equal(x, v))
        return false;
    if ((x = json_object_get(s, "type")) && json_is_string(x) && !has_type(json_string_value(x), v))
        return false;
    if (x && json_is_array(x)) {
        bool is_one = false;
        json_array_foreach(x, i, one) is_one = is_one || has_type(json_string_value(one), v);
        if (!is_one)
            return false;
    }
    if ((x = json_object_get(s, "enum"))) {
        bool is_one = false;
        json_array_foreach(x, i, one) is_one = is_one || is_equal(one, v);
        if (!is_one)
            return false;
    }
    json_array_foreach(json_object_get(s, "allOf"), i, one) if (!is_valid(root, one, v)) return false;
    if ((x = json_object_get(s, "anyOf"))) {
        json_array_foreach(x, i, one) n_valid += is_valid(root, one, v);
        if (n_valid == 0)
            return false;
    }
    n_valid = 0;
    if ((x = json_object_get(s, "oneOf"))) {
        json_array_foreach(x, i, one) n_valid += is_valid(root, one, v);
        if (n_valid != 1)
            return false;
    }
    return true;
}

static bool check_scalar(const json_t *s, const json_t *v)
{
    const json_t *x;
    if (json_is_string(v)) {
        size_t n = count_characters(json_string_value(v));
        if ((x = json_object_get(s, "minLength")) && n < (size_t)json_integer_value(x))
            return false;
        if ((x = json_object_get(s, "maxLength")) && n > (size_t)json_integer_value(x))
            return false;
        if ((x = json_object_get(s, "pattern")) && !matches(json_string_value(x), json_string_value(v)))
            return false;
    }
    if (!json_is_number(v))
        return true;
    double d = json_number_value(v);
    if ((x = json_object_get(s, "minimum")) && d < json_number_value(x))
        return false;
    if ((x = json_object_get(s, "maximum")) && d > json_number_value(x))
        return false;
    if ((x = json_object_get(s, "exclusiveMinimum")) && d <= json_number_value(x))
        return false;
    if ((x = json_object_get(s, "exclusiveMaximum")) && d >= json_number_value(x))
        return false;
    if ((x = json_object_get(s, "multipleOf"))) {
        double q = d / json_number_value(x);
        return fabs(q) > 1e15 || fabs(q - round(q)) < 1e-9 * (fabs(q) + 1);
    }
    return true;
}

static bool check_array(const json_t *root, const json_t *s, const json_t *v)
{
    const json_t *items = json_object_get(s, "items"), *prefix = json_object_get(s, "prefixItems"), *x, *one;
    size_t n = json_array_size(v), i;
    if ((x = json_object_get(s, "minItems")) && n < (size_t)json_integer_value(x))
        return false;
    if ((x = json_object_get(s, "maxItems")) && n > (size_t)json_integer_value(x))
        return false;
    json_array_foreach(v, i, one)
    {
        const json_t *schema = i < json_array_size(prefix) ? json_array_get(prefix, i) : items;
        if (schema && !is_valid(root, schema, one))
            return false;
    }
    return true;
}

static bool check_object(const json_t *root, const json_t *s, json_t *v)
{
    const json_t *properties = json_object_get(s, "properties"), *more = json_object_get(s, "additionalProperties");
    const json_t *x, *one;
    const char *key;
    json_t *member;
    size_t i, n = json_object_size(v);
    json_array_foreach(json_object_get(s, "required"), i,
                       one) if (!json_object_get(v, json_string_value(one))) return false;
    if ((x = json_object_get(s, "minProperties")) && n < (size_t)json_integer_value(x))
        return false;
    if ((x = json_object_get(s, "maxProperties")) && n > (size_t)json_integer_value(x))
        return false;
    json_object_foreach(v, key, member)
    {
        const json_t *schema = json_object_get(properties, key);
        schema = schema ? schema : more;
        if (schema && !is_valid(root, schema, member))
            return false;
    }
    return true;
}

bool is_valid(const json_t *root, const json_t *s, const json_t *v)
{
    if (json_is_boolean(s))
        return json_is_true(s);
    return check_general(root, s, v) && check_scalar(s, v) && (!json_is_array(v) || check_array(root, s, v)) &&
           (!json_is_object(v) || check_object(root, s, (json_t *)v));
}
