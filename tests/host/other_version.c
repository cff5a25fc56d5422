/* Preloaded into a host: a ggml that the plug-in does not know. */
const char * ggml_version(void);

const char * ggml_version(void) {
    return "0.26.1";
}
