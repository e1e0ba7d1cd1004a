// The flat form of a SpawnSpec: what stands in the memfd, and the one reader of it that both ends
// share. Layout: SpecHeader, SpecSandbox and the filter (if there are any), limits, groups,
// descriptors, then all strings, each ended by NUL, in the order executable, directory, output
// path, command, environment, read-only paths. No pointers, no padding that matters.
//
// A spec without a sandbox is written as the first version knew it, so that a keeper of that
// version takes it; one with a sandbox has another magic number, and that keeper refuses it.
//
// SpecView never reads outside [data, data + size): a spec that `valid()` accepts can be walked
// without further checks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace mtd::sys {

inline constexpr std::uint32_t kSpecMagic = 0x3153544dU;         // "MTS1"
inline constexpr std::uint32_t kSpecSandboxMagic = 0x3253544dU;  // "MTS2": with SpecSandbox
inline constexpr std::uint32_t kMaxSpecCpus = 1024;
inline constexpr std::uint32_t kMaxFilterLength = 4096;  // BPF_MAXINSNS
inline constexpr std::int32_t kMaxChildFd = 1023;        // highest number a descriptor may get

struct SpecLimit {
  std::int32_t resource = 0;
  std::uint32_t padding = 0;
  std::uint64_t soft = 0, hard = 0;
};
struct SpecDescriptor {
  std::int32_t child = 0;   // ascending, unique
  std::uint32_t index = 0;  // into the descriptors that came with the revision
};
struct SpecHeader {
  std::uint32_t magic = kSpecMagic;
  std::uint32_t size = 0;  // of the whole spec
  std::uint32_t limits = 0, groups = 0, descriptors = 0, command = 0, environment = 0;
  std::uint32_t umask = 022;
  std::uint32_t uid = 0, gid = 0;
  std::int32_t nice = 0, oom_score_adj = 0;
  std::uint8_t has_uid = 0, has_gid = 0, has_nice = 0, has_oom_score_adj = 0;
  std::uint32_t padding = 0;
};
static_assert(sizeof(SpecHeader) % 8 == 0);

enum class SpecAffinity : std::uint8_t { none, set, per_worker };
struct SpecSandbox {
  std::uint64_t capabilities = 0, ambient = 0;  // bit n: capability n
  std::uint64_t cpus[kMaxSpecCpus / 64] = {};   // of SpecAffinity::set
  std::uint32_t filter = 0;                     // SpecInstructions that follow
  std::uint32_t read_only_paths = 0;            // the last strings
  std::int32_t io_priority = 0;                 // as ioprio_set(2) takes it
  std::uint8_t has_io_priority = 0, has_capabilities = 0, has_ambient = 0, no_new_privs = 0;
  std::uint8_t private_tmp = 0;
  SpecAffinity affinity = SpecAffinity::none;
  std::uint8_t padding[6] = {};
};
static_assert(sizeof(SpecSandbox) % 8 == 0);
struct SpecInstruction {  // struct sock_filter
  std::uint16_t code = 0;
  std::uint8_t jump_true = 0, jump_false = 0;
  std::uint32_t operand = 0;
};

class SpecView {
 public:
  SpecView() = default;
  SpecView(const char* data, std::size_t size) : data_(data), size_(size) {}

  [[nodiscard]] const SpecHeader& header() const {
    return *reinterpret_cast<const SpecHeader*>(data_);
  }
  [[nodiscard]] const SpecSandbox* sandbox() const {  // null: none
    if (header().magic != kSpecSandboxMagic) return nullptr;
    return reinterpret_cast<const SpecSandbox*>(data_ + sizeof(SpecHeader));
  }
  [[nodiscard]] const SpecInstruction* filter() const {  // of a spec with a sandbox
    return reinterpret_cast<const SpecInstruction*>(sandbox() + 1);
  }
  [[nodiscard]] const SpecLimit* limits() const {
    return reinterpret_cast<const SpecLimit*>(data_ + sizeof(SpecHeader) + sandbox_bytes());
  }
  [[nodiscard]] const std::uint32_t* groups() const {
    return reinterpret_cast<const std::uint32_t*>(limits() + header().limits);
  }
  [[nodiscard]] const SpecDescriptor* descriptors() const {
    return reinterpret_cast<const SpecDescriptor*>(groups() + header().groups);
  }
  // The first string: the executable. The others follow: next(), over and over.
  [[nodiscard]] const char* strings() const {
    return reinterpret_cast<const char*>(descriptors() + header().descriptors);
  }
  [[nodiscard]] static const char* next(const char* text) { return text + std::strlen(text) + 1; }

  // `passed`: how many descriptors came along.
  [[nodiscard]] bool valid(std::uint32_t passed) const {
    if (size_ < sizeof(SpecHeader)) return false;
    const SpecHeader& head = header();
    if (head.magic != kSpecMagic && head.magic != kSpecSandboxMagic) return false;
    if (head.size != size_ || head.command == 0) return false;
    if (sandbox() != nullptr &&
        (size_ < sizeof(SpecHeader) + sizeof(SpecSandbox) || sandbox()->filter > kMaxFilterLength))
      return false;
    const std::uint64_t fixed = sizeof(SpecHeader) + sandbox_bytes() +
                                std::uint64_t{head.limits} * sizeof(SpecLimit) +
                                std::uint64_t{head.groups} * sizeof(std::uint32_t) +
                                std::uint64_t{head.descriptors} * sizeof(SpecDescriptor);
    if (fixed >= size_ || data_[size_ - 1] != '\0') return false;
    std::int32_t previous = -1;
    for (std::uint32_t i = 0; i < head.descriptors; ++i) {
      const SpecDescriptor& one = descriptors()[i];
      if (one.child <= previous || one.child > kMaxChildFd || one.index >= passed) return false;
      previous = one.child;
    }
    std::uint64_t ends = 0;
    for (std::uint64_t at = fixed; at < size_; ++at)
      ends += data_[at] == '\0' ? 1U : 0U;
    const std::uint64_t paths = sandbox() == nullptr ? 0 : sandbox()->read_only_paths;
    return ends == std::uint64_t{3} + head.command + head.environment + paths;
  }

 private:
  [[nodiscard]] std::uint64_t sandbox_bytes() const {
    if (sandbox() == nullptr) return 0;
    return sizeof(SpecSandbox) + std::uint64_t{sandbox()->filter} * sizeof(SpecInstruction);
  }

  const char* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace mtd::sys
