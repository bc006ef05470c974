/* mistake.h: the mistakes that ports of this model make (MODEL.md, "How exactness is shown"), each as a switch of
 * the test build, so that a test can show that the golden vectors catch it, and reference/score_demo.py that the
 * demo model's answers do. In every other build QVL_MISTAKE(x) is the constant false and nothing of this exists. */
#ifndef QVL_MODEL_MISTAKE_H
#define QVL_MODEL_MISTAKE_H

#define QVL_MISTAKE_LIST(X)                                                                                        \
    X(ATTENTION_ACROSS_PICTURES)                                                                                   \
    X(ATTENTION_ACROSS_FRAMES)                                                                                     \
    X(FIRST_FRAME_TWICE)                                                                                           \
    X(BLACK_PADDING)                                                                                               \
    X(TIMES_AFTER_PADS)                                                                                            \
    X(NO_TIMES)                                                                                                    \
    X(PATCHES_TRANSPOSED)                                                                                          \
    X(NO_PATCH_BIAS)                                                                                               \
    X(POSITION_NOT_ALIGNED)                                                                                        \
    X(CHUNKED_MROPE)                                                                                               \
    X(MROPE_AXES_SWAPPED)                                                                                          \
    X(NO_DEEPSTACK)                                                                                                \
    X(VISION_ROPE_RASTER_ORDER)                                                                                    \
    X(TAPS_ONE_EARLY)                                                                                              \
    X(RMS_NORM_EPS)                                                                                                \
    X(TANH_GELU_IN_MERGER)                                                                                         \
    X(ERF_GELU_IN_BLOCK)                                                                                           \
    X(LAYER_NORM_EPS)                                                                                              \
    X(UNBOUNDED_MROPE_STRIDE)

#ifdef QVL_MISTAKES
enum qvl_mistake {
    QVL_MISTAKE_NONE,
#define X(name) QVL_MISTAKE_##name,
    QVL_MISTAKE_LIST(X)
#undef X
};
extern enum qvl_mistake qvl_mistake; /* set by the test, or from the environment by qvl-mistaken */
#define QVL_MISTAKE(name) (qvl_mistake == QVL_MISTAKE_##name)
#else
#define QVL_MISTAKE(name) 0
#endif

#endif
