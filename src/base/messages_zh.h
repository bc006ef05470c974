/* Sorted by the English text (strcmp), which is the key; see base/language.h. */
{"cancelled", "已取消"},
