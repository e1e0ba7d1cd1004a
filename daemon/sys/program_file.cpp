#include "daemon/sys/program_file.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "common/unique_fd.h"

namespace mtd::sys {
namespace {

struct Machine {
  std::uint16_t number;
  const char* name;
};
constexpr std::array<Machine, 8> kMachines{{{EM_X86_64, "x86_64"},
                                            {EM_AARCH64, "aarch64"},
                                            {EM_386, "i386"},
                                            {EM_ARM, "arm"},
                                            {EM_RISCV, "riscv"},
                                            {EM_PPC64, "ppc64"},
                                            {EM_S390, "s390"},
                                            {EM_MIPS, "mips"}}};

std::string name_of(std::uint16_t machine) {
  for (const auto& one : kMachines) {
    if (one.number == machine) return one.name;
  }
  return "machine " + std::to_string(machine);
}

std::string bits_of(const Elf64_Ehdr& header) {
  return header.e_ident[EI_CLASS] == ELFCLASS32 ? "32-bit " : "";
}

// How much of the file's beginning was read; -1: it cannot be.
ssize_t read_header(const std::string& path, Elf64_Ehdr& header) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  return file ? ::pread(file.get(), &header, sizeof header, 0) : -1;
}

bool is_elf(const Elf64_Ehdr& header) {
  return std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0;
}

std::string not_executable(mode_t mode) {
  std::array<char, 8> octal{};
  (void)std::snprintf(octal.data(), octal.size(), "%04o", static_cast<unsigned>(mode & 07777));
  return std::string("is not executable: its mode is ") + octal.data();
}

}  // namespace

std::string misfit_of(int file) {
  struct stat status {};
  if (::fstat(file, &status) != 0) return {};
  if ((status.st_mode & 0111) == 0) return not_executable(status.st_mode);
  if (status.st_size == 0) return "is an empty file";
  Elf64_Ehdr header{}, own{};
  const ssize_t size = read_header("/proc/self/fd/" + std::to_string(file), header);
  if (size < 0) return {};
  if (size >= 2 && std::memcmp(&header, "#!", 2) == 0)
    return "is a script; an upgrade executes the program itself";
  if (size != sizeof header || !is_elf(header)) return "is no program";
  if (read_header("/proc/self/exe", own) != sizeof own) return {};
  if (header.e_machine != own.e_machine || header.e_ident[EI_CLASS] != own.e_ident[EI_CLASS] ||
      header.e_ident[EI_DATA] != own.e_ident[EI_DATA]) {
    return "is a " + bits_of(header) + "program for " + name_of(header.e_machine) +
           "; the running mtd is one for " + name_of(own.e_machine);
  }
  // The table of sections is what a linker writes last.
  const std::uint64_t whole = header.e_shoff + std::uint64_t{header.e_shentsize} * header.e_shnum;
  if (header.e_shoff != 0 && whole > static_cast<std::uint64_t>(status.st_size)) {
    return "is cut short: it has " + std::to_string(status.st_size) + " bytes of " +
           std::to_string(whole);
  }
  return {};
}

}  // namespace mtd::sys
