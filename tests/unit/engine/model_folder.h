/* model_folder.h: a golden model on disk for the tests of this room. */
#ifndef MODEL_FOLDER_H
#define MODEL_FOLDER_H

/* Path of golden model `letter`, written on first use into a temporary folder that goes at exit. */
const char *model_folder(char letter);

#endif
