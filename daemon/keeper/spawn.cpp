#include <fcntl.h>
#include <linux/sched.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/keeper/child.h"
#include "daemon/keeper/keeper.h"

namespace mtd::keeper {
namespace {

bool lacks(int error) {
  return error == ENOSYS || error == EINVAL || error == E2BIG || error == EPERM;
}

Clone by_clone3(int cgroup_fd) {
  Clone result;
  clone_args request{};
  request.exit_signal = kUnconfirmedExitSignal;
  if (cgroup_fd >= 0) {
    request.flags = CLONE_INTO_CGROUP;
    request.cgroup = static_cast<std::uint64_t>(cgroup_fd);
  }
  result.pid = static_cast<int>(syscall(SYS_clone3, &request, sizeof request));
  if (result.pid < 0) result.error = errno;
  result.in_cgroup = result.pid >= 0 && cgroup_fd >= 0;
  return result;
}

}  // namespace

Clone clone_child(Kernel& kernel, int cgroup_fd) {
  if (kernel.clone3) {
    Clone result = by_clone3(cgroup_fd);
    if (result.pid >= 0 || !lacks(result.error)) return result;
    if (result.error == ENOSYS) kernel.clone3 = false;
  }
  Clone result;
  result.pid = static_cast<int>(
      syscall(SYS_clone, kUnconfirmedExitSignal, nullptr, nullptr, nullptr, nullptr));
  if (result.pid < 0) result.error = errno;
  return result;
}

void spawn(Keeper& keeper, std::uint32_t index, const RevisionRecord& revision,
           const Given& given) {
  const int cgroup_fd = given.cgroup_fd;
  Table& table = keeper.table;
  Process& record = table.processes[index];
  Entry& entry = record.message;
  entry.revision = revision.id;
  entry.started_ns = keeper.now_ns;
  table.changed(index);
  int pipe_fds[2] = {-1, -1};
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) {
    entry.state = EntryState::failed;
    entry.stage = Stage::descriptors;
    entry.error = errno;
    return;
  }
  record.note.stage = Stage::clone;
  Clone child = clone_child(keeper.kernel, cgroup_fd);
  if (child.pid == 0) {
    std::int32_t fds[kMaxDescriptors];
    for (std::uint32_t i = 0; i < revision.descriptors + revision.own; ++i) {
      fds[i] = i < revision.descriptors ? revision.fds[i] : given.own[i - revision.descriptors];
    }
    ChildPlan plan;
    plan.settings = &keeper.settings;
    plan.note = &record.note;
    plan.spec = sys::SpecView(table.spec_of(revision), revision.size);
    plan.fds = fds;
    plan.scratch = table.scratch;
    plan.key = entry.key;
    plan.exec_pipe = pipe_fds[1];
    plan.join_cgroup = child.in_cgroup ? -1 : cgroup_fd;
    run_child(plan);
  }
  close(pipe_fds[1]);
  if (child.pid < 0) {
    close(pipe_fds[0]);
    const int error = child.error;
    const bool of_cgroup =
        cgroup_fd >= 0 && (error == ENOENT || error == ENODEV || error == EBUSY ||
                           error == EOPNOTSUPP || error == EACCES || error == EBADF);
    entry.state = EntryState::failed;
    entry.stage = of_cgroup ? Stage::cgroup : Stage::clone;
    entry.error = error;
    return;
  }
  entry.state = EntryState::starting;
  entry.in_cgroup = cgroup_fd >= 0 ? 1 : 0;  // by clone, or joined before anything else
  record.exec_pipe = pipe_fds[0];
  record.setup_deadline_ns = keeper.now_ns + given.timeout_ms * kMillisecond;
  if (record.setup_deadline_ns < keeper.next_setup_deadline_ns) {
    keeper.next_setup_deadline_ns = record.setup_deadline_ns;
  }
  table.set_pid(index, child.pid);
  table.link_starting(index);
  // EPOLLHUP needs no asking. Unwatched its exec could not be seen.
  if (!watch(keeper, record.exec_pipe, Watched::exec_pipe, index, 0)) {
    record.killed_for = errno;
    kill(child.pid, SIGKILL);
  }
}

}  // namespace mtd::keeper
