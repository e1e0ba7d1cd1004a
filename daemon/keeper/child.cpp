#include "daemon/keeper/child.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <initializer_list>

#include "common/spec_marker.h"
#include "daemon/keeper/child_sandbox.h"
#include "daemon/keeper/line.h"

namespace mtd::keeper {
namespace {

char* put_number(char* at, std::uint64_t value) {
  Line number;
  number.count(value);
  std::memcpy(at, number.text(), number.size());
  return at + number.size();
}

void join_cgroup(const ChildPlan& plan) {
  plan.note->stage = Stage::cgroup;
  const int procs = openat(plan.join_cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);
  check(*plan.note, procs >= 0);
  check(*plan.note, write(procs, "0", 1) == 1);
  close(procs);
}

// Maps exactly the descriptors of the spec, and closes all others but the exec pipe.
void map_descriptors(const ChildPlan& plan, int& exec_pipe) {
  plan.note->stage = Stage::descriptors;
  const sys::SpecDescriptor* wanted = plan.spec.descriptors();
  const std::uint32_t count = plan.spec.header().descriptors;
  const int highest = count == 0 ? 2 : (wanted[count - 1].child > 2 ? wanted[count - 1].child : 2);
  if (exec_pipe <= highest) {
    exec_pipe = fcntl(exec_pipe, F_DUPFD_CLOEXEC, highest + 1);
    check(*plan.note, exec_pipe >= 0);
  }
  std::uint32_t i = 0;
  std::uint32_t next = 0;  // all below are as they shall be
  for (int fd = 0; fd <= highest; ++fd) {
    const bool named = i < count && wanted[i].child == fd;
    if (!named && fd > 2) continue;
    if (static_cast<std::uint32_t>(fd) > next) {
      close_all(next, static_cast<std::uint32_t>(fd) - 1, plan.settings->nofile);
    }
    // Sources stand above every number that is given (lift() moves them), so none is overwritten.
    const int source = named ? plan.fds[wanted[i].index] : plan.settings->null_fd;
    check(*plan.note, dup2(source, fd) == fd);
    if (named) ++i;
    next = static_cast<std::uint32_t>(fd) + 1;
  }
  // Sources are closed last: close_all above only ever reaches numbers below `highest`.
  const auto pipe = static_cast<std::uint32_t>(exec_pipe);
  if (pipe > next) close_all(next, pipe - 1, plan.settings->nofile);
  close_all(pipe + 1, UINT32_MAX, plan.settings->nofile);
}

// A worker has what its spec says, or what mtd was started with; never what mtd gave itself.
void set_oom_score(const ChildPlan& plan) {
  const sys::SpecHeader& head = plan.spec.header();
  const Settings& settings = *plan.settings;
  const bool given = head.has_oom_score_adj != 0;
  if (!given && settings.oom_score_adj == settings.original_oom_score_adj) return;
  plan.note->stage = Stage::oom_score;
  const bool done =
      write_oom_score_adj(given ? head.oom_score_adj : settings.original_oom_score_adj);
  check(*plan.note, done || errno == ENOENT);  // no /proc here: stays as it is
}

void set_limits(const ChildPlan& plan) {
  plan.note->stage = Stage::limits;
  bool nofile_given = false;
  for (std::uint32_t i = 0; i < plan.spec.header().limits; ++i) {
    const sys::SpecLimit& limit = plan.spec.limits()[i];
    const rlimit64 value{limit.soft, limit.hard};
    nofile_given = nofile_given || limit.resource == RLIMIT_NOFILE;
    check(*plan.note, syscall(SYS_prlimit64, 0, limit.resource, &value, nullptr) == 0);
  }
  const Settings& settings = *plan.settings;
  if (nofile_given || settings.nofile == settings.original_nofile_soft) return;
  const rlimit64 original{settings.original_nofile_soft, settings.nofile};
  check(*plan.note, syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &original, nullptr) == 0);
}

bool has_groups(const ChildPlan& plan) {
  auto* const mine = reinterpret_cast<std::uint32_t*>(plan.scratch);
  constexpr int kMost = 65536;
  const long count = syscall(SYS_getgroups, kMost, mine);
  return count == static_cast<long>(plan.spec.header().groups) &&
         std::memcmp(mine, plan.spec.groups(), static_cast<std::size_t>(count) * sizeof *mine) == 0;
}

// Groups, then group, then user: after the user there is no right left for the others. The libc's
// functions are avoided: they would signal all threads of a process that has none.
void set_credentials(const ChildPlan& plan) {
  const sys::SpecHeader& head = plan.spec.header();
  if (head.has_uid == 0 && head.has_gid == 0) return;
  ChildNote& note = *plan.note;
  note.stage = Stage::groups;
  if (!has_groups(plan)) {
    check(note, syscall(SYS_setgroups, static_cast<long>(head.groups), plan.spec.groups()) == 0);
  }
  note.stage = Stage::group;
  if (head.has_gid != 0) check(note, syscall(SYS_setresgid, head.gid, head.gid, head.gid) == 0);
  note.stage = Stage::user;
  if (head.has_uid != 0) check(note, syscall(SYS_setresuid, head.uid, head.uid, head.uid) == 0);
  note.stage = Stage::verify;
  std::uint32_t real = 0, effective = 0, saved = 0;
  check(note, syscall(SYS_getresuid, &real, &effective, &saved) == 0);
  errno = EPERM;
  check(note,
        head.has_uid == 0 || (real == head.uid && effective == head.uid && saved == head.uid));
  check(note, syscall(SYS_getresgid, &real, &effective, &saved) == 0);
  errno = EPERM;
  check(note,
        head.has_gid == 0 || (real == head.gid && effective == head.gid && saved == head.gid));
  check(note, has_groups(plan));
}

void open_output(const ChildPlan& plan, const char* path) {
  ChildNote& note = *plan.note;
  note.stage = Stage::output;
  // Non-blocking: a FIFO without a reader, put where the file was, must not hold the child up.
  constexpr int kFlags =
      O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  const int file = open(path, kFlags, 0640);
  check(note, file >= 0);
  struct stat status {};
  check(note, fstat(file, &status) == 0);
  if (!S_ISREG(status.st_mode)) give_up(note, EINVAL);
  check(note, fcntl(file, F_SETFL, O_APPEND) == 0);
  check(note, dup2(file, 1) == 1 && dup2(file, 2) == 2);
  close(file);
}

void unblock_signals() {
  const std::uint64_t none = 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, sizeof none);
}

[[noreturn]] void execute(const ChildPlan& plan, Scratch scratch, const char* command) {
  const sys::SpecHeader& head = plan.spec.header();
  // The pointer arrays take the end of the scratch memory, the expanded strings its front.
  const std::uint64_t pointers = std::uint64_t{head.command} + head.environment + 2;
  auto** const argv = reinterpret_cast<const char**>(scratch.end) - pointers;
  scratch.end = reinterpret_cast<char*>(argv);
  const char** at = argv;
  for (std::uint32_t i = 0; i < head.command; ++i, command = sys::SpecView::next(command)) {
    *at++ = expand(plan, scratch, command);
  }
  *at++ = nullptr;
  const char** const environment = at;
  for (std::uint32_t i = 0; i < head.environment; ++i, command = sys::SpecView::next(command)) {
    *at++ = expand(plan, scratch, command);
  }
  *at = nullptr;
  lock_down(plan);  // from here on the filter may refuse everything but execve
  plan.note->stage = Stage::exec;
  syscall(SYS_execve, plan.spec.strings(), argv, environment);
  give_up(*plan.note, errno);
}

}  // namespace

[[noreturn]] void give_up(ChildNote& note, int error) {
  note.error = error;
  note.failed = true;
  _exit(127);
}

void check(ChildNote& note, bool done) {
  if (!done) give_up(note, errno);
}

const char* expand(const ChildPlan& plan, Scratch& scratch, const char* text) {
  if (std::strchr(text, SpecMarker::kEscape) == nullptr) return text;
  char* const start = scratch.at;
  char* to = start;
  for (const char* from = text; *from != '\0'; ++from) {
    if (scratch.end - to < 32) give_up(*plan.note, E2BIG);
    if (*from != SpecMarker::kEscape) {
      *to++ = *from;
      continue;
    }
    switch (*++from) {
      case SpecMarker::kSlot:
        to = put_number(to, plan.key.slot);
        break;
      case SpecMarker::kIncarnation:
        to = put_number(to, plan.key.incarnation);
        break;
      case SpecMarker::kPid:
        to = put_number(to, static_cast<std::uint64_t>(syscall(SYS_getpid)));
        break;
      case SpecMarker::kLiteral:
        *to++ = SpecMarker::kEscape;
        break;
      default:
        give_up(*plan.note, EINVAL);
    }
  }
  *to++ = '\0';
  scratch.at = to;
  return start;
}

bool write_oom_score_adj(std::int32_t value) {
  const int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (file < 0) return false;
  Line text;
  text.number(value);
  const bool done = write(file, text.text(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  close(file);
  errno = error;
  return done;
}

void close_all(std::uint32_t first, std::uint32_t last, std::uint64_t limit) {
  if (syscall(SYS_close_range, first, last, 0) == 0) return;
  for (std::uint64_t fd = first; fd <= last && fd < limit; ++fd)
    close(static_cast<int>(fd));
}

void run_child(const ChildPlan& plan) {
  ChildNote& note = *plan.note;
  const sys::SpecHeader& head = plan.spec.header();
  Scratch scratch{plan.scratch, plan.scratch + kScratchBytes};
  if (plan.join_cgroup >= 0) join_cgroup(plan);
  int exec_pipe = plan.exec_pipe;
  map_descriptors(plan, exec_pipe);
  note.stage = Stage::session;
  check(note, setsid() >= 0);
  note.stage = Stage::signals;  // all are default already, and blocked: the keeper sets none
  set_scheduling(plan);
  note.stage = Stage::priority;
  if (head.has_nice != 0) check(note, setpriority(PRIO_PROCESS, 0, head.nice) == 0);
  set_oom_score(plan);
  set_limits(plan);
  make_mounts(plan, scratch);
  limit_capabilities(plan);
  set_credentials(plan);
  set_capabilities(plan);
  note.stage = Stage::umask;
  umask(head.umask);
  note.stage = Stage::directory;
  const char* const directory = sys::SpecView::next(plan.spec.strings());
  if (std::strcmp(directory, "/") != 0) check(note, chdir(expand(plan, scratch, directory)) == 0);
  const char* const output = sys::SpecView::next(directory);
  if (*output != '\0') open_output(plan, expand(plan, scratch, output));
  unblock_signals();
  note.stage = Stage::exec;
  execute(plan, scratch, sys::SpecView::next(output));
}

void run_role_child(const Settings& settings, ChildNote& note, int socket, int program) {
  note.stage = Stage::directory;  // before descriptor 3, which may be this one, is replaced
  if (settings.start_directory >= 0) check(note, fchdir(settings.start_directory) == 0);
  note.stage = Stage::descriptors;
  constexpr int kProgram = kRoleSocketFd + 1;
  if (program >= 0) program = fcntl(program, F_DUPFD_CLOEXEC, kProgram + 1);
  check(note, socket == kRoleSocketFd ? fcntl(socket, F_SETFD, 0) == 0
                                      : dup2(socket, kRoleSocketFd) == kRoleSocketFd);
  if (program >= 0) check(note, dup3(program, kProgram, O_CLOEXEC) == kProgram);
  close_all(program >= 0 ? kProgram + 1 : kProgram, UINT32_MAX, settings.nofile);
  note.stage = Stage::session;
  check(note, setsid() >= 0);
  note.stage = Stage::signals;
  // Only the keeper acts on these; a terminal's Ctrl-C or a kill of the group is not for the role.
  for (const int number : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2}) {
    check(note, ::signal(number, SIG_IGN) != SIG_ERR);
  }
  unblock_signals();
  note.stage = Stage::limits;
  // The role passes on what the keeper holds: its limit is the keeper's; workers get the original.
  const rlimit64 own{settings.nofile, settings.nofile};
  syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &own, nullptr);
  umask(022);
  note.stage = Stage::oom_score;
  const std::int32_t before = settings.original_oom_score_adj;
  if (settings.oom_score_adj == kOwnOomScore) {
    (void)!write_oom_score_adj(before < kRoleOomScore ? before : kRoleOomScore);
  }
  note.stage = Stage::exec;
  static char name[] = "mtd-supervisor";  // what ps shows; the keeper's own argv is another copy
  settings.argv[0] = name;
  if (program >= 0) {
    syscall(SYS_execveat, kProgram, "", settings.argv, settings.role_environment, AT_EMPTY_PATH);
    // A script in its place needs a name, a filter may know no execveat.
    if (errno != ENOENT && errno != ENOSYS) give_up(note, errno);
  }
  for (const auto& path : settings.role_paths) {
    syscall(SYS_execve, path, settings.argv, settings.role_environment);
    if (errno != ENOENT) break;
  }
  give_up(note, errno);
}

}  // namespace mtd::keeper
