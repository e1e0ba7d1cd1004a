// A command that the adapter runs: its three standard streams, its end. The child dies with the
// adapter, and is the leader of a process group of its own.
#pragma once

#include <csignal>
#include <optional>
#include <string>
#include <vector>

#include "common/exit_status.h"
#include "common/result.h"
#include "common/unique_fd.h"

namespace mtd::adapter {

enum class Stream { inherit, null, pipe };

struct Command {
  std::vector<std::string> words;
  std::vector<std::string> environment;  // "NAME=value", in place of what is inherited
  Stream input = Stream::null;
  Stream output = Stream::pipe;
  Stream errors = Stream::inherit;
};

class Child {
 public:
  // The error: why the command cannot be executed.
  [[nodiscard]] static Result<Child> start(const Command& command);

  // Our ends of the pipes, not blocking. Closed when the caller resets them.
  UniqueFd input;
  UniqueFd output;
  UniqueFd errors;

  // Its end, if it has come; asked for once.
  [[nodiscard]] std::optional<ExitStatus> take_end();
  void signal_group(int number) const;

 private:
  int pid_ = -1;
};

// Becomes readable whenever a child has ended. Made before the first one is started.
class ChildEnds {
 public:
  ChildEnds();
  [[nodiscard]] int fd() const { return fd_.get(); }
  void clear() const;

 private:
  UniqueFd fd_;
};

// What is there now; false at the end of the stream.
[[nodiscard]] bool read_some(int fd, std::string& into, std::size_t most);
void write_some(UniqueFd& fd, std::string_view& rest);

}  // namespace mtd::adapter
