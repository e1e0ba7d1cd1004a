// Finds processes by the MTD_TAG in their start environment, by looking through all of /proc.
// Finds nothing where there is no /proc of this PID namespace. Reading a stuck process's
// environment can hang: run this in a HelperProcess only.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "common/time.h"

namespace mtd::sys {

struct TaggedProcess {
  pid_t pid = 0;
  std::string tag;  // instance/pool/slot/incarnation
  std::string comm;
};

// All whose tag begins with `prefix`; zombies and the calling process left out.
[[nodiscard]] std::vector<TaggedProcess> scan_tagged(std::string_view prefix);
// SIGKILL to those whose tag is one of `tags` (exact; one that ends with '/' stands for all that
// begin with it), each checked once more through its pidfd, so that no stranger with a reused pid
// is hit; repeats until a look finds none, at most 8 times. Answers whom it signalled.
std::vector<TaggedProcess> kill_tagged(const std::vector<std::string>& tags);

struct EndedTagged {
  std::vector<TaggedProcess> killed;
  std::vector<TaggedProcess> living;  // those of them that did not end within the patience
};
// The same until nobody is left, or patience is. The caller's own ancestors are left alone.
[[nodiscard]] EndedTagged end_tagged(const std::vector<std::string>& tags, Duration patience);

// One process a line: "PID TAG COMM".
[[nodiscard]] std::string encode(const std::vector<TaggedProcess>& processes);
[[nodiscard]] std::vector<TaggedProcess> decode_tagged(std::string_view text);

}  // namespace mtd::sys
