// The flat form of a spawn spec: what encode refuses, and that no damaged spec is taken for a valid
// one.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "daemon/sys/keeper_protocol.h"
#include "daemon/sys/spawn_spec.h"
#include "daemon/sys/spawn_spec_format.h"

namespace mtd::sys {
namespace {

SpawnSpec small() {
  SpawnSpec spec;
  spec.executable = "/bin/true";
  spec.command = {"true", "-x"};
  spec.environment = {"A=1", "B=2"};
  spec.uid = 5;
  spec.groups = {9, 3, 9};
  spec.limits = {{4, 1, 2}};
  spec.descriptors = {{7, 1}, {0, 0}};
  spec.output_path = "/tmp/out";
  return spec;
}

std::vector<char> flat(const SpawnSpec& spec) {
  auto memory = encode(spec);
  REQUIRE(memory);
  std::vector<char> bytes(static_cast<std::size_t>(lseek(memory->get(), 0, SEEK_END)));
  REQUIRE(pread(memory->get(), bytes.data(), bytes.size(), 0) ==
          static_cast<ssize_t>(bytes.size()));
  return bytes;
}

TEST_CASE("what is written is what is read, in the order of the format") {
  const std::vector<char> bytes = flat(small());
  const SpecView view(bytes.data(), bytes.size());
  REQUIRE(view.valid(2));
  CHECK_FALSE(view.valid(1));
  CHECK(view.header().uid == 5);
  CHECK(view.header().has_gid == 0);
  REQUIRE(view.header().groups == 2);
  CHECK(view.groups()[0] == 3);
  CHECK(view.groups()[1] == 9);
  CHECK(view.descriptors()[0].child == 0);
  CHECK(view.descriptors()[1].index == 1);
  CHECK(view.limits()[0].hard == 2);
  std::vector<std::string> texts;
  const char* at = view.strings();
  for (int i = 0; i < 7; ++i, at = SpecView::next(at))
    texts.emplace_back(at);
  CHECK(texts ==
        std::vector<std::string>{"/bin/true", "/", "/tmp/out", "true", "-x", "A=1", "B=2"});
  CHECK(at == bytes.data() + bytes.size());
}

SpawnSpec hardened() {
  SpawnSpec spec = small();
  spec.sandbox.cpus = {0, 64, 1023};
  spec.sandbox.io_priority = 3 << 13;
  spec.sandbox.capabilities = 5;
  spec.sandbox.ambient = 0;
  spec.sandbox.no_new_privs = true;
  spec.sandbox.filter = {{6, 0, 0, 0x7fff0000U}};
  spec.sandbox.private_tmp = true;
  spec.sandbox.read_only_paths = {"/etc", "/usr"};
  return spec;
}

TEST_CASE("a sandbox is read as it was written, and nothing else moves") {
  const std::vector<char> bytes = flat(hardened());
  const SpecView view(bytes.data(), bytes.size());
  REQUIRE(view.valid(2));
  CHECK(view.header().magic == kSpecSandboxMagic);
  const SpecSandbox* sandbox = view.sandbox();
  REQUIRE(sandbox != nullptr);
  CHECK(sandbox->cpus[0] == 1);
  CHECK(sandbox->cpus[1] == 1);
  CHECK(sandbox->cpus[15] == std::uint64_t{1} << 63);
  CHECK(sandbox->affinity == SpecAffinity::set);
  CHECK(sandbox->io_priority == 3 << 13);
  CHECK(sandbox->capabilities == 5);
  CHECK(sandbox->has_ambient == 1);
  CHECK(sandbox->no_new_privs == 1);
  CHECK(sandbox->private_tmp == 1);
  REQUIRE(sandbox->filter == 1);
  CHECK(view.filter()->operand == 0x7fff0000U);
  CHECK(view.groups()[1] == 9);
  CHECK(view.limits()[0].hard == 2);
  const char* at = view.strings();
  for (int i = 0; i < 7; ++i)
    at = SpecView::next(at);
  CHECK(at == std::string("/etc"));
  CHECK(SpecView::next(at) == std::string("/usr"));
}

TEST_CASE("without a sandbox a spec is what a keeper of the first version reads") {
  const std::vector<char> bytes = flat(small());
  const SpecView view(bytes.data(), bytes.size());
  CHECK(view.header().magic == kSpecMagic);
  CHECK(view.sandbox() == nullptr);
  CHECK(reinterpret_cast<const char*>(view.limits()) == bytes.data() + sizeof(SpecHeader));
}

TEST_CASE("the memfd is sealed") {
  auto memory = encode(small());
  REQUIRE(memory);
  CHECK(write(memory->get(), "x", 1) < 0);
  CHECK(ftruncate(memory->get(), 0) < 0);
  CHECK(fcntl(memory->get(), F_GETFD) == FD_CLOEXEC);
}

TEST_CASE("a spec that cannot be started is refused") {
  SpawnSpec spec = small();
  spec.command.clear();
  CHECK_FALSE(encode(spec));
  spec = small();
  spec.executable.clear();
  CHECK_FALSE(encode(spec));
  spec = small();
  spec.environment.emplace_back("A\0B", 3);
  CHECK_FALSE(encode(spec));
  spec = small();
  spec.descriptors = {{3, 0}, {3, 1}};
  CHECK_FALSE(encode(spec));
  spec.descriptors = {{-1, 0}};
  CHECK_FALSE(encode(spec));
  spec.descriptors = {{3, keeper::kMaxDescriptors}};
  CHECK_FALSE(encode(spec));
  spec = small();
  spec.sandbox.filter.resize(kMaxFilterLength + 1);
  CHECK_FALSE(encode(spec));
  spec = small();
  spec.command.emplace_back(keeper::kMaxSpecBytes, 'x');
  const auto large = encode(spec);
  REQUIRE_FALSE(large);
  CHECK(large.error().errno_value == E2BIG);
}

TEST_CASE(
    "a spec cut anywhere is not valid, and one with a flipped bit is read within its bounds") {
  for (const SpawnSpec& spec : {small(), hardened()}) {
    const std::vector<char> bytes = flat(spec);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const std::vector<char> cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      CHECK_FALSE(SpecView(cut.data(), cut.size()).valid(2));
    }
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      std::vector<char> flipped = bytes;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
      const SpecView view(flipped.data(), flipped.size());
      if (!view.valid(2)) continue;
      const char* at = view.strings();
      const std::uint32_t paths = view.sandbox() == nullptr ? 0 : view.sandbox()->read_only_paths;
      const std::uint32_t count = 3 + view.header().command + view.header().environment + paths;
      for (std::uint32_t i = 0; i < count; ++i)
        at = SpecView::next(at);
      CHECK(at == flipped.data() + flipped.size());
    }
  }
}

}  // namespace
}  // namespace mtd::sys
