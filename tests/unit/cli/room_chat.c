/* The chat's files that are tested here: see room.c. */
#include "../../../src/cli/conversation.c"
#include "../../../src/cli/conversation_file.c"
#include "../../../src/cli/words.c"
