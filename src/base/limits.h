/* limits.h: every limit that qvl puts on what comes from outside, in one place. Each holds in production
 * code (never only in a test harness) and is tested at its edge. */
#ifndef QVL_BASE_LIMITS_H
#define QVL_BASE_LIMITS_H

/* model files */
#define QVL_MAX_SAFETENSORS_HEADER_BYTES (16u << 20) /* the 2B's is 76 KB */
#define QVL_MAX_TENSORS 4096u                        /* per file; the 32B has 1058 in all */
#define QVL_MAX_TENSOR_NAME_BYTES 256u
#define QVL_MAX_GGUF_HEADER_BYTES (64u << 20)        /* keys, values and tensor list; the 2B's has 6 MB */
#define QVL_MAX_GGUF_KEYS 4096u
#define QVL_MAX_GGUF_KEY_BYTES 256u
#define QVL_MAX_GGUF_TENSORS 2048u                   /* of one file; the 32B's text has 707 */
#define QVL_MAX_GGUF_STRING_BYTES (64u << 10)
#define QVL_MAX_GGUF_TEMPLATE_BYTES (256u << 10)     /* of a key that begins with tokenizer.chat_template */
#define QVL_MAX_GGUF_ARRAY (1u << 20)                /* elements */
#define QVL_MAX_GGUF_ALIGNMENT 65536u
#define QVL_MAX_SHARDS 256u
#define QVL_MAX_CONFIG_BYTES (1u << 20)              /* config.json and its small siblings */
#define QVL_MAX_COPIED_BYTES (64u << 20)             /* of one file that `qvl quantize` copies along */
#define QVL_MAX_INDEX_BYTES (4u << 20)
#define QVL_MAX_TOKENIZER_BYTES (64u << 20)
#define QVL_MAX_JSON_DEPTH 64u
#define QVL_MAX_JSON_VALUES (1u << 17)               /* of a config or header; each costs up to 300 bytes parsed */
#define QVL_MAX_VOCAB (1u << 20)
#define QVL_MAX_MERGES (1u << 21)
#define QVL_MAX_TOKEN_BYTES 1024u
#define QVL_MAX_HEAD_DIM 256u                        /* of both towers; kernels keep such rows on the stack */

/* pictures and clips */
#define QVL_MAX_MEDIA_SIDE_PX 32768u
#define QVL_MAX_MEDIA_PIXELS (64ull << 20)           /* width * height before resizing */
#define QVL_MAX_ASPECT_RATIO 200u                    /* the reference's own */
#define QVL_MAX_IMAGE_FILE_BYTES (256ull << 20)
#define QVL_MAX_MEDIA_PER_REQUEST 1024u
#define QVL_MAX_CLIP_FRAMES 16384u                   /* the published settings take 768 from a file */
#define QVL_MAX_CLIP_SECONDS 1000000u                /* eleven days */
#define QVL_MAX_CLIP_FILE_BYTES (1ull << 40)
#define QVL_MAX_CLIP_FILE_FRAMES (1u << 23)          /* a day at 97 frames a second */
#define QVL_MAX_CLIP_FPS 100000.0
#define QVL_MAX_CLIP_REWIND_FRAMES 2000u             /* decoded from the front because a key frame has misled */
#define QVL_MAX_CLIPS_OPEN 4u                        /* qvl-media processes that one request keeps for its clips */
#define QVL_MAX_CLIP_SCAN_MS 300000u                 /* for reading through a clip once, the same */
#define QVL_MAX_JPEG_SCANS 100u                      /* a progressive file has about 10 */
#define QVL_MAX_PNG_CHUNK_BYTES (8u << 20)           /* of one chunk other than IDAT */
#define QVL_MAX_MEDIA_MS 30000u                      /* for one picture, unless the caller says otherwise */
#define QVL_MAX_MEDIA_HELPER_BYTES (2ull << 30)      /* address space of qvl-media: 17 frames of 4K in a decoder, or
                                                        a 10-bit HEIC of 48 million pixels becoming RGB */
#define QVL_MAX_MEDIA_ALLOC_BYTES (512u << 20)       /* of those, for one piece: a plane of the largest frame has 128 MiB */
#define QVL_MAX_MEDIA_HELPER_CPU_S 60u               /* of one qvl-media process */
#define QVL_MAX_CLIP_THREADS 16u                     /* decoding one clip; libavcodec advises no more */
#define QVL_MAX_CLIP_HELPER_CPU_S 36000u             /* of one for a clip: the caller's deadlines are the true limit */

/* conversation */
#define QVL_MAX_MESSAGES 4096u
#define QVL_MAX_PARTS 65536u
#define QVL_MAX_TEXT_BYTES (64ull << 20)             /* all text of one request */
#define QVL_MAX_CHAT_JSON_BYTES (1u << 30)           /* pictures and clips in data: URIs included */
#define QVL_MAX_CHAT_JSON_VALUES (1u << 20)
#define QVL_MAX_CHAT_MEDIA_BYTES (1ull << 30)        /* pictures and clips of one that are kept in memory, as decoded */
#define QVL_MAX_MEDIA_NAME_BYTES 128u                /* of a picture's or clip's "uuid" */
#define QVL_MAX_PATH_BYTES 4095u                     /* PATH_MAX of Linux without its NUL */
#define QVL_MAX_INPUT_BYTES (1ull << 30)             /* of a program: what stdin brings, a conversation as JSON */
#define QVL_MAX_STOP_STRINGS 16u
#define QVL_MAX_STOP_BYTES 1024u
#define QVL_MAX_TOP_LOGITS 64u

/* constraints of an answer */
#define QVL_MAX_CONSTRAINT_BYTES (256u << 10)        /* of a schema, a regular expression, all choices together */
#define QVL_MAX_CONSTRAINT_CHOICES 4096u
#define QVL_MAX_SCHEMA_VALUES (1u << 16)             /* JSON values of a schema */
#define QVL_MAX_TOOLS 1024u                          /* of one request to the server; OpenAI takes 128 */
#define QVL_MAX_TOOLS_VALUES (1u << 18)              /* of all definitions of tools; each costs 64 bytes parsed */
#define QVL_MAX_SCHEMA_RULES 8192u                   /* places of a schema, told apart by what holds there */
#define QVL_MAX_SCHEMA_TOGETHER 64u                  /* schemas that hold at one place */
#define QVL_MAX_SCHEMA_CASES 4096u                   /* of anyOf and oneOf at one place, multiplied out */
#define QVL_MAX_SCHEMA_REF_BYTES 1024u
#define QVL_MAX_SCHEMA_NUMBER_BYTES 64u              /* of a bound, as written */
#define QVL_MAX_SCHEMA_PROPERTIES 1024u              /* of one object */
#define QVL_MAX_SCHEMA_MULTIPLE 1000u                /* of multipleOf, without its point */
#define QVL_MAX_GRAMMAR_EDGES (1u << 20)             /* as drawn; an edge has 20 bytes */
#define QVL_MAX_GRAMMAR_STATES (1u << 17)            /* deterministic; with 20 to 100 classes of bytes 4 bytes each */
#define QVL_MAX_GRAMMAR_WORK 20000000u               /* edges looked at while it is made deterministic */
#define QVL_MAX_GRAMMAR_REPEAT 16384u                /* of a counted repetition; items of an array */
#define QVL_MAX_GRAMMAR_DEPTH 128u                   /* objects and arrays open at a time in an answer */
#define QVL_MAX_REGEX_DEPTH 64u                      /* groups */
#define QVL_MAX_CACHED_GRAMMAR_BYTES (32u << 20)     /* of constraints that an engine keeps compiled */
#define QVL_MAX_MATCHER_BYTES (16u << 20)            /* what one answer keeps of masks and steps; then it begins anew */

/* what `qvl verify` compares with */
#define QVL_MAX_REFERENCE_BYTES (256u << 20)         /* reference/verify.py writes 16 MB unless told otherwise */
#define QVL_MAX_REFERENCE_HEADER_BYTES (8u << 20)
#define QVL_MAX_REFERENCE_CASES 256u
#define QVL_MAX_REFERENCE_PARTS 256u                 /* of one question */

/* chat in the terminal */
#define QVL_MAX_PASTE_BYTES (1u << 20)               /* in one piece; the line is drawn again with every key */
#define QVL_MAX_HISTORY_ENTRIES 1000u
#define QVL_MAX_HISTORY_ENTRY_BYTES 8192u            /* longer ones are not kept */
#define QVL_MAX_HISTORY_BYTES (16u << 20)            /* of the file: what the two above make, and one long chat */

/* engine */
#define QVL_MAX_REQUESTS 1024u                       /* submitted to one engine at a time */
#define QVL_MAX_TOKENS 1048576u                      /* of one answer, and of one prefill chunk */

#define QVL_MAX_CACHED_PATCHES 16384u                /* temporal patches in the vision cache: each is a mapping of
                                                        its own, and Linux gives a process 65,530 */

#define QVL_MAX_SWEPT_FILES (1u << 20)               /* of the vision cache's folder, that may go at a time; 96 bytes each */
#define QVL_MAX_UNWRITTEN_BYTES (256ull << 20)       /* of features on their way there, of each use; what is more is not kept */

#define QVL_MAX_KEPT_BLOCKS 16384u                   /* of keys and values, for later requests: the same */

/* server */
#define QVL_MAX_HTTP_HEADER_BYTES (16u << 10)        /* of one request, its first line included */
#define QVL_MAX_HTTP_HEADERS 100u
#define QVL_MAX_HTTP_CONNECTIONS 1024u
#define QVL_MAX_HTTP_CONNECTIONS_PER_ADDRESS 64u     /* of other machines: on this one a proxy stands for many */
#define QVL_MAX_HTTP_REQUESTS_PER_CONNECTION 1000u
#define QVL_MAX_HTTP_HEADER_MS 10000u                /* from the first byte, or the last reply's end, to the last header */
#define QVL_MAX_HTTP_BODY_BYTES (64ull << 20)        /* unless the options say otherwise */
#define QVL_MAX_HTTP_FORM_BYTES (200ull << 20)       /* of multipart/form-data, the same */
#define QVL_MAX_API_KEY_BYTES 512u
#define QVL_MAX_API_KEYS 1024u
#define QVL_MAX_PEM_BYTES (1u << 20)
#define QVL_MAX_HTTP_BODY_GRACE_MS 10000u            /* then a body comes at 1 KiB a second on average, or is cut */
#define QVL_MIN_HTTP_BODY_BYTES_PER_S 1024u
#define QVL_MAX_HTTP_BODY_MS 120000u                 /* then it must have come at 64 KiB a second */
#define QVL_MIN_HTTP_LONG_BODY_BYTES_PER_S 65536u
#define QVL_MAX_HTTP_BODIES_BYTES (1ull << 30)       /* of all requests that are there at a time */
#define QVL_MAX_HTTP_SWALLOW_BYTES (64u << 10)       /* of a refused body, read so that the connection can be kept */
#define QVL_MAX_HTTP_LINGER 64u                      /* closed connections whose clients still send */
#define QVL_MAX_HTTP_LINGER_MS 5000u
#define QVL_MAX_HTTP_LINGER_BYTES (64u << 20)
#define QVL_MAX_HTTP_FLUSH_MS 1000u                  /* for replies under way when the server closes */
#define QVL_MAX_HTTP_WRONG_KEYS_PER_S 10u            /* of one address */
#define QVL_MAX_HTTP_QUERY 64u                       /* parameters in a target */
#define QVL_MAX_HTTP_IDLE_MS 30000u                  /* of a kept connection */
#define QVL_MAX_HTTP_FORM_PARTS 64u
#define QVL_MAX_UNSENT_BYTES (256u << 10)            /* of a stream, before its writer waits */
#define QVL_MAX_STALL_MS 30000u                      /* that a client may take nothing of its stream */
#define QVL_MAX_BODY_VALUES (1u << 18)               /* JSON values of a request */
#define QVL_MAX_TOKENIZE_BYTES (4u << 20)              /* of /tokenize, in one thread for all: about a second */
#define QVL_MAX_LOGIT_BIAS 1024u
#define QVL_MAX_SERVER_MEDIA 128u                    /* pictures and clips of one request */
#define QVL_MAX_SERVER_LISTED 2048u                  /* pictures in lists, of all its clips: a file gives 768 frames */
#define QVL_MAX_SERVER_MEDIA_BYTES (256ull << 20)    /* of one request, in memory */
#define QVL_MAX_URL_BYTES 2048u                      /* of a picture or clip to be fetched */
#define QVL_MAX_FETCHES 32u                          /* of one request */
#define QVL_MAX_FETCH_BYTES (20u << 20)
#define QVL_MAX_FETCHED_BYTES (64u << 20)            /* of one request, in memory until its answer begins */
#define QVL_MAX_FETCH_MS 10000u
#define QVL_MAX_FETCHES_MS 30000u                    /* of one request: from its first fetch to the end of its last */
#define QVL_MAX_FETCH_REDIRECTS 3u

/* hubs */
#define QVL_MAX_HUB_DEPTH 16u                        /* folders in folders, of what is removed or measured */
#define QVL_MAX_HUB_URL_BYTES 8192u                  /* signed addresses have 1000 to 3000 */
#define QVL_MAX_HUB_REDIRECTS 8u
#define QVL_MAX_HUB_LIST_BYTES (16u << 20)           /* of one page of a listing */
#define QVL_MAX_HUB_PAGES 64u
#define QVL_MAX_HUB_LISTED 20000u                    /* files of a repository */
#define QVL_MAX_HUB_FILES 256u                       /* of those, fetched */
#define QVL_MAX_HUB_NAME_BYTES 255u                  /* of a file, its folders included */
#define QVL_MAX_HUB_FILE_BYTES (1ull << 40)
#define QVL_MAX_HUB_CONNECTIONS 16u
#define QVL_MAX_HUB_HEADER_BYTES (256u << 10)        /* of one request: hubs send 2 to 8 KiB */
#define QVL_MAX_HUB_ERROR_BYTES (64u << 10)          /* of a reply that is not wanted, before the connection is cut */
#define QVL_MAX_HUB_WAIT_S 300u                      /* that a hub may ask for before it is asked again */
#define QVL_MAX_HUB_TRIES 5u                         /* one after the other without a byte */

/* threads */
#define QVL_MAX_THREADS 256u

#endif
