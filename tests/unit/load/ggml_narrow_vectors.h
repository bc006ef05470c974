/* Made by reference/ggml_narrow_vectors.py with gguf 0.19.0. Not edited by hand. */
static const struct narrow_vector narrow_vectors[] = {
    {QVL_GGML_F32, 262144,
     "7e5027cb1baa12e9838068506765f2ba0c242ee2939b83c1ce8adf15d6f8ac28"},
    {QVL_GGML_F16, 131072,
     "c0456471bc96668b2e2d6845a541b0eb5accd29b77209e00290f325ffd9fabf5"},
    {QVL_GGML_BF16, 131072,
     "7d57a88b91204326a21f764d31f543936d5baf4a38c86558afda0234a40f5ffc"},
    {QVL_GGML_Q8_0, 69632,
     "fcf61b49e601136fbc4ba08115488f2b37b876a906d9227457fa0c4da680beca"},
};
