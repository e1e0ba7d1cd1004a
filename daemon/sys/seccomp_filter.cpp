#include "daemon/sys/seccomp_filter.h"

#include <cerrno>

#ifdef MTD_HAS_SECCOMP
#include <sched.h>
#include <seccomp.h>

#include <cstring>
#include <memory>

#include "daemon/sys/memfd.h"
#endif

namespace mtd::sys {

#ifdef MTD_HAS_SECCOMP
namespace {

struct Release {
  void operator()(void* filter) const { seccomp_release(filter); }
};
using Filter = std::unique_ptr<void, Release>;  // scmp_filter_ctx

Error failed(const std::string& what, int code) {
  return Error::from_errno("seccomp: " + what, -code);
}

// The other word sizes whose programs run here.
int add_architectures(scmp_filter_ctx filter) {
#if defined(__x86_64__)
  const int error = seccomp_arch_add(filter, SCMP_ARCH_X86);
  return error != 0 ? error : seccomp_arch_add(filter, SCMP_ARCH_X32);
#elif defined(__aarch64__)
  return seccomp_arch_add(filter, SCMP_ARCH_ARM);
#else
  return filter == nullptr ? -EINVAL : 0;
#endif
}

int refuse_new_namespaces(scmp_filter_ctx filter) {
  for (const int each : {CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER,
                         CLONE_NEWPID, CLONE_NEWNET}) {
    const auto flag = static_cast<scmp_datum_t>(each);
    const scmp_arg_cmp has_flag{0, SCMP_CMP_MASKED_EQ, flag, flag};
    const int error =
        seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1, &has_flag);
    if (error != 0) return error;
  }
  return 0;
}

int refuse(scmp_filter_ctx filter, const std::string& call) {
  if (call == "clone:namespaces") return refuse_new_namespaces(filter);
  const int number = seccomp_syscall_resolve_name(call.c_str());
  if (number == __NR_SCMP_ERROR) return 0;  // of a group; names of people are checked at load
  const std::uint32_t action = call == "clone3" ? SCMP_ACT_ERRNO(ENOSYS) : SCMP_ACT_ERRNO(EPERM);
  return seccomp_rule_add_array(filter, action, number, 0, nullptr);
}

}  // namespace

Result<std::vector<SpecInstruction>> compile_seccomp(const std::vector<std::string>& refused) {
  const Filter filter(seccomp_init(SCMP_ACT_ALLOW));
  if (!filter) return Error{"seccomp: no filter can be made", ENOMEM};
  if (const int error = add_architectures(filter.get()); error != 0)
    return failed("add an architecture", error);
  for (const std::string& call : refused) {
    if (const int error = refuse(filter.get(), call); error != 0)
      return failed("refuse " + call, error);
  }
  const auto file = make_memfd("mtd-seccomp");
  if (!file) return file.error();
  if (const int error = seccomp_export_bpf(filter.get(), file->get()); error != 0)
    return failed("compile the filter", error);
  const auto bytes = read_memfd(file->get(), kMaxFilterLength * sizeof(SpecInstruction));
  if (!bytes) return bytes.error().with_context("seccomp filter");
  std::vector<SpecInstruction> program(bytes->size() / sizeof(SpecInstruction));
  std::memcpy(program.data(), bytes->data(), program.size() * sizeof(SpecInstruction));
  return program;
}
#else
Result<std::vector<SpecInstruction>> compile_seccomp(const std::vector<std::string>&) {
  return Error{"this mtd was built without libseccomp; leave sandbox.seccomp out", ENOSYS};
}
#endif

}  // namespace mtd::sys
