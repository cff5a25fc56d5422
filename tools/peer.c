/* SPDX-License-Identifier: MIT */
#include "peer.h"

#include "complain.h"
#include "rows.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char ** environ;

enum { MOST_WORDS = 64, FLAG_BYTES = 24, N_FLAGS = 6, DATA_FD = 3 };

int peer_write_layers(const struct synthetic_shape * shape, const struct synthetic_layer * layers, int n_layers) {
    const char * folder = getenv("TMPDIR");
    char * path = NULL;
    if (asprintf(&path, "%s/vattn-bench-XXXXXX", folder != NULL && *folder != '\0' ? folder : "/tmp") < 0)
        give_up("out of memory");
    const int fd = mkstemp(path);
    if (fd >= 0)
        unlink(path);
    FILE * file = fd >= 0 ? fdopen(dup(fd), "wb") : NULL;
    const size_t half = synthetic_layer_bytes(shape) / 2, n_q = (size_t)shape->n_heads * (size_t)shape->head_dim;
    bool good = file != NULL;
    for (int l = 0; l < n_layers && good; l++)
        good = fwrite(layers[l].k, 1, half, file) == half && fwrite(layers[l].v, 1, half, file) == half &&
               fwrite(layers[l].q, sizeof(float), n_q, file) == n_q;
    if (file == NULL || fclose(file) != 0 || !good)
        give_up("--peer: cannot write %d layers of %.0f MB to %s: %s; set TMPDIR to a larger disk or lower --layers",
                n_layers, 2e-6 * (double)half, path, strerror(errno));
    free(path);
    return fd;
}

/* The words of the command and the flags of the protocol; copy and flags are the memory behind them. */
static void make_words(char * copy, const struct synthetic_shape * shape, int n_layers, char flags[N_FLAGS][FLAG_BYTES],
                       const char * words[MOST_WORDS]) {
    static const char * const names[N_FLAGS] = {"--heads", "--kv-heads", "--head-dim", "--keys", "--layers", "--scale"};
    int n = 0;
    for (char * word; (word = strsep(&copy, " ")) != NULL;) {
        if (n == MOST_WORDS - 20)
            give_up("--peer: more than %d words; put them into a script", MOST_WORDS - 20);
        if (*word != '\0')
            words[n++] = word;
    }
    if (n == 0)
        give_up("--peer: no command behind the =");
    snprintf(flags[0], FLAG_BYTES, "%d", shape->n_heads);
    snprintf(flags[1], FLAG_BYTES, "%d", shape->n_kv_heads);
    snprintf(flags[2], FLAG_BYTES, "%d", shape->head_dim);
    snprintf(flags[3], FLAG_BYTES, "%lld", (long long)shape->n_keys);
    snprintf(flags[4], FLAG_BYTES, "%d", n_layers);
    snprintf(flags[5], FLAG_BYTES, "%.9g", 1 / sqrt((double)shape->head_dim));
    for (int i = 0; i < N_FLAGS; i++) {
        words[n++] = names[i];
        words[n++] = flags[i];
    }
    words[n++] = "--type";
    words[n++] = row_type_name(shape->type);
    words[n++] = "--data";
    words[n++] = "/dev/fd/3"; /* DATA_FD */
    words[n] = NULL;
}

static pid_t spawn(const char * const * words, int in, int out, int file) {
    posix_spawn_file_actions_t actions;
    pid_t process;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, file, DATA_FD);
    const int error = posix_spawnp(&process, words[0], &actions, NULL, (char * const *)(uintptr_t)words, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0)
        give_up("--peer: cannot start %s: %s; give its path", words[0], strerror(error));
    return process;
}

struct peer peer_start(const char * text, const struct synthetic_shape * shape, int n_layers, int file) {
    struct peer peer = {.process = -1};
    const char * command = strchr(text, '=');
    if (command == NULL || command == text || command - text >= PEER_NAME_BYTES)
        give_up("--peer %s: want NAME=COMMAND, a name of at most %d letters", text, PEER_NAME_BYTES - 1);
    memcpy(peer.name, text, (size_t)(command - text));
    char *copy = strdup(command + 1), flags[N_FLAGS][FLAG_BYTES];
    const char * words[MOST_WORDS];
    int to[2], from[2];
    make_words(copy, shape, n_layers, flags, words);
    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0)
        give_up("--peer: no pipe: %s", strerror(errno));
    signal(SIGPIPE, SIG_IGN); /* a peer that ended is found out by what it says */
    peer.process = spawn(words, to[0], from[1], file);
    close(to[0]);
    close(from[1]);
    peer.to = fdopen(to[1], "w");
    peer.from = fdopen(from[0], "r");
    free(copy);
    return peer;
}

static void read_line(struct peer * peer, char * line, int room) {
    if (fgets(line, room, peer->from) == NULL)
        give_up("--peer %s: it ended without an answer (its own message is above); leave it out or put it right",
                peer->name);
    line[strcspn(line, "\n")] = '\0';
}

void peer_await(struct peer * peer) {
    char line[128];
    read_line(peer, line, sizeof line);
    if (strcmp(line, "ready") != 0)
        give_up("--peer %s: said '%.40s' instead of 'ready'; does it speak the protocol of tools/peer.h?", peer->name,
                line);
}

static double ask(struct peer * peer, const char * verb, int layer, int threads) {
    char line[128], *end;
    fprintf(peer->to, "%s%d %d\n", verb, layer, threads);
    fflush(peer->to);
    read_line(peer, line, sizeof line);
    const double seconds = strtod(line, &end);
    if (end == line || *end != '\0' || !(seconds > 0))
        give_up("--peer %s: '%.40s' is no number of seconds", peer->name, line);
    return seconds;
}

double peer_seconds(struct peer * peer, int layer, int threads) {
    return ask(peer, "", layer, threads);
}

void peer_answer(struct peer * peer, int layer, int threads, float * out, size_t n) {
    (void)ask(peer, "out ", layer, threads);
    if (fread(out, sizeof *out, n, peer->from) != n)
        give_up("--peer %s: its answer ends early", peer->name);
}

void peer_stop(struct peer * peer) {
    fclose(peer->to);
    fclose(peer->from);
    waitpid(peer->process, NULL, 0);
    peer->process = -1;
}
