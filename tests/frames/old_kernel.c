/* Runs a program as if on a kernel that lacks something: old_kernel landlock PROGRAM ARG..., or seccomp, or both. The system
 * calls that would bring it are answered as such a kernel answers. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ANSWER(call, error) \
  BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1), BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))

int main (int count, char **words)
{
  if (count < 3) return 2;
  int landlock = strcmp (words[1], "seccomp") != 0, seccomp = strcmp (words[1], "landlock") != 0;
  struct sock_filter filter[] = {
    BPF_STMT (BPF_LD | BPF_W | BPF_ABS, offsetof (struct seccomp_data, nr)),
    ANSWER (landlock ? 444 : -1, ENOSYS),
    ANSWER (seccomp ? SYS_seccomp : -1, ENOSYS),
    BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, seccomp ? SYS_prctl : -1, 0, 3),
    BPF_STMT (BPF_LD | BPF_W | BPF_ABS, offsetof (struct seccomp_data, args[0])),
    ANSWER (PR_SET_SECCOMP, EINVAL),
    BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
  if (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
    perror ("seccomp");
    return 3;
  }
  execv (words[2], words + 2);
  perror (words[2]);
  return 3;
}
