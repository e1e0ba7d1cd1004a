#include "daemon/keeper/child_sandbox.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

namespace mtd::keeper {
namespace {

constexpr int kIoOfProcess = 1;  // IOPRIO_WHO_PROCESS, ioprio_set(2)
constexpr int kMostCapabilities = 64;
constexpr std::uint64_t kReadOnly = 1;  // MOUNT_ATTR_RDONLY
constexpr long kWholeTree = 0x8000;     // AT_RECURSIVE

struct MountAttributes {  // struct mount_attr, mount_setattr(2)
  std::uint64_t set = 0, clear = 0, propagation = 0, user_namespace = 0;
};

static_assert(sizeof(sock_filter) == sizeof(sys::SpecInstruction) &&
              offsetof(sock_filter, jt) == offsetof(sys::SpecInstruction, jump_true) &&
              offsetof(sock_filter, k) == offsetof(sys::SpecInstruction, operand));

// The one of the processors in `cpus` that is the slot's turn, alone.
void pick_one(std::uint64_t* cpus, std::size_t words, std::uint32_t slot) {
  std::uint32_t count = 0;
  for (std::size_t i = 0; i < words; ++i)
    count += static_cast<std::uint32_t>(__builtin_popcountll(cpus[i]));
  if (count == 0) return;
  std::uint32_t before = slot % count;
  for (std::size_t i = 0; i < words; ++i) {
    for (std::uint64_t rest = cpus[i]; rest != 0; rest &= rest - 1) {
      const std::uint64_t lowest = rest & (~rest + 1);
      cpus[i] &= ~lowest;
      if (before-- == 0) {
        for (std::size_t k = 0; k < words; ++k)
          cpus[k] = k == i ? lowest : 0;
        return;
      }
    }
  }
}

void make_read_only(const ChildPlan& plan, const char* path) {
  const MountAttributes attributes{kReadOnly, 0, 0, 0};
  const auto set = [&] {
    return syscall(SYS_mount_setattr, AT_FDCWD, path, kWholeTree, &attributes, sizeof attributes);
  };
  if (set() == 0) return;
  check(*plan.note, errno == EINVAL);  // else it is a mount already
  check(*plan.note, syscall(SYS_mount, path, path, nullptr, MS_BIND | MS_REC, nullptr) == 0);
  check(*plan.note, set() == 0);
}

bool mount_tmp(const char* path) {
  return syscall(SYS_mount, "tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") == 0;
}

struct Capabilities {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
};

void put(std::uint64_t set, __u32 __user_cap_data_struct::*which, Capabilities& capabilities) {
  capabilities.data[0].*which = static_cast<__u32>(set);
  capabilities.data[1].*which = static_cast<__u32>(set >> 32);
}

}  // namespace

void set_scheduling(const ChildPlan& plan) {
  const sys::SpecSandbox* const sandbox = plan.spec.sandbox();
  if (sandbox == nullptr) return;
  ChildNote& note = *plan.note;
  constexpr std::size_t kWords = sys::kMaxSpecCpus / 64;
  if (sandbox->affinity != sys::SpecAffinity::none) {
    note.stage = Stage::cpu_affinity;
    std::uint64_t cpus[kWords] = {};
    if (sandbox->affinity == sys::SpecAffinity::per_worker) {
      check(note, syscall(SYS_sched_getaffinity, 0, sizeof cpus, cpus) > 0);
      pick_one(cpus, kWords, plan.key.slot);
    } else {
      for (std::size_t i = 0; i < kWords; ++i)
        cpus[i] = sandbox->cpus[i];
    }
    check(note, syscall(SYS_sched_setaffinity, 0, sizeof cpus, cpus) == 0);
  }
  if (sandbox->has_io_priority != 0) {
    note.stage = Stage::io_priority;
    check(note, syscall(SYS_ioprio_set, kIoOfProcess, 0, sandbox->io_priority) == 0);
  }
}

void make_mounts(const ChildPlan& plan, Scratch scratch) {
  const sys::SpecSandbox* const sandbox = plan.spec.sandbox();
  if (sandbox == nullptr || (sandbox->private_tmp == 0 && sandbox->read_only_paths == 0)) return;
  ChildNote& note = *plan.note;
  note.stage = Stage::mount_namespace;
  check(note, syscall(SYS_unshare, CLONE_NEWNS) == 0);
  check(note, syscall(SYS_mount, nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) == 0);
  note.stage = Stage::read_only_paths;
  const sys::SpecHeader& head = plan.spec.header();
  const char* path = plan.spec.strings();
  for (std::uint32_t before = 3 + head.command + head.environment; before > 0; --before)
    path = sys::SpecView::next(path);
  for (std::uint32_t i = 0; i < sandbox->read_only_paths; ++i, path = sys::SpecView::next(path)) {
    Scratch room = scratch;
    make_read_only(plan, expand(plan, room, path));
  }
  if (sandbox->private_tmp == 0) return;
  note.stage = Stage::private_tmp;
  check(note, mount_tmp("/tmp"));
  check(note, mount_tmp("/var/tmp") || errno == ENOENT);
}

void limit_capabilities(const ChildPlan& plan) {
  const sys::SpecSandbox* const sandbox = plan.spec.sandbox();
  if (sandbox == nullptr) return;
  ChildNote& note = *plan.note;
  note.stage = Stage::capabilities;
  for (int i = 0; sandbox->has_capabilities != 0 && i < kMostCapabilities; ++i) {
    const long there = syscall(SYS_prctl, PR_CAPBSET_READ, i, 0, 0, 0);
    if (there < 0) break;  // the kernel knows no more
    if (there == 0 || (sandbox->capabilities >> i & 1U) != 0) continue;
    check(note, syscall(SYS_prctl, PR_CAPBSET_DROP, i, 0, 0, 0) == 0);
  }
  if (sandbox->has_ambient != 0 && sandbox->ambient != 0)
    check(note, syscall(SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0);
}

void set_capabilities(const ChildPlan& plan) {
  const sys::SpecSandbox* const sandbox = plan.spec.sandbox();
  if (sandbox == nullptr || sandbox->has_ambient == 0) return;
  ChildNote& note = *plan.note;
  note.stage = Stage::capabilities;
  check(note, syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0);
  Capabilities all;
  check(note, syscall(SYS_capget, &all.header, all.data) == 0);
  const std::uint64_t permitted = all.data[0].permitted | std::uint64_t{all.data[1].permitted}
                                                              << 32;
  // A kernel that does not know one of them has no bit for it, and capset would silently drop it.
  if ((permitted & sandbox->ambient) != sandbox->ambient) give_up(note, EPERM);
  put(sandbox->ambient, &__user_cap_data_struct::inheritable, all);
  if (syscall(SYS_geteuid) != 0) {
    put(sandbox->ambient, &__user_cap_data_struct::permitted, all);
    put(sandbox->ambient, &__user_cap_data_struct::effective, all);
  }
  check(note, syscall(SYS_capset, &all.header, all.data) == 0);
  for (int i = 0; i < kMostCapabilities; ++i) {
    if ((sandbox->ambient >> i & 1U) == 0) continue;
    check(note, syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0) == 0);
  }
}

void lock_down(const ChildPlan& plan) {
  const sys::SpecSandbox* const sandbox = plan.spec.sandbox();
  if (sandbox == nullptr || sandbox->no_new_privs == 0) return;
  ChildNote& note = *plan.note;
  note.stage = Stage::no_new_privs;
  check(note, syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  if (sandbox->filter == 0) return;
  note.stage = Stage::seccomp;
  struct {
    unsigned short length;
    const sys::SpecInstruction* instructions;
  } const program{static_cast<unsigned short>(sandbox->filter), plan.spec.filter()};
  check(note, syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0);
}

}  // namespace mtd::keeper
