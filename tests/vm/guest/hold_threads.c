// hold_threads PID NAME: stops the threads of a process that bear a name, and no other, until they or it are killed. For trying
// out what a watchdog notices when one part of a service hangs and the rest goes on.
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static int bears(const char *pid, const char *task, const char *name) {
    char path[300], comm[32] = "";
    snprintf(path, sizeof path, "/proc/%s/task/%s/comm", pid, task);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    if (!fgets(comm, sizeof comm, file)) comm[0] = 0;
    fclose(file);
    return strncmp(comm, name, strlen(name)) == 0;
}

int main(int count, char **words) {
    if (count != 3) return fprintf(stderr, "usage: hold_threads PID NAME\n"), 2;
    char path[64];
    snprintf(path, sizeof path, "/proc/%s/task", words[1]);
    DIR *tasks = opendir(path);
    if (!tasks) return perror(path), 1;
    int held = 0;
    for (struct dirent *task; (task = readdir(tasks));) {
        if (task->d_name[0] == '.' || !bears(words[1], task->d_name, words[2])) continue;
        pid_t id = atoi(task->d_name);
        if (ptrace(PTRACE_SEIZE, id, 0, 0) || ptrace(PTRACE_INTERRUPT, id, 0, 0)) return perror("ptrace"), 1;
        held++;
    }
    if (!held) return fprintf(stderr, "no thread of %s is named %s\n", words[1], words[2]), 1;
    printf("held %d\n", held);
    fflush(stdout);
    // A process whose killed threads nobody has waited for stays, and nobody learns of its end.
    while (waitpid(-1, NULL, __WALL) > 0) {}
    return 0;
}
