/* Preloaded into test-llama-archs, which looks for its -b device before it has loaded any backend. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>

__attribute__((constructor)) static void load_all(void) {
    void (*load)(void);
    *(void **)&load = dlsym(RTLD_DEFAULT, "ggml_backend_load_all");
    if (load) {
        load();
    }
}
