// The text language of supervisord: %(NAME)s expressions, the splitting of commands and of
// KEY="value" lists. What only mtd can put in at run time stays in the text as a reference;
// to_mtd() writes such a text as a string of mtd's configuration.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/result.h"

namespace mtd::ctl {

// Processes of a program that one pool runs: numbers first … first + count − 1 are slots 0, 1, ….
struct Block {
  std::uint32_t first = 0;
  std::uint32_t count = 1;
  bool operator==(const Block&) const = default;
};

// So few pools that in each of them a number is a fixed text and the slot's number: all processes,
// or up to ten from a multiple of ten, or one. `width`: the longest zero-padded form asked for.
[[nodiscard]] std::vector<Block> blocks_of(std::uint32_t start, std::uint32_t count,
                                           std::uint32_t width);

struct Expansions {
  std::map<std::string, std::string, std::less<>> names;  // here, program_name, …
  Block numbers;                                          // %(process_num)d
  bool exact = true;  // else several numbers are the slot's, without zeros
};

struct Expanded {
  std::string text;
  std::vector<std::string> variables;  // of %(ENV_…)s
  bool numbered = false;               // holds %(process_num)
  std::uint32_t width = 0;             // the widest zero-padded number
};

[[nodiscard]] Result<Expanded> expand_expressions(std::string_view value,
                                                  const Expansions& expansions);

// As Python's shlex.split.
[[nodiscard]] Result<std::vector<std::string>> split_words(std::string_view text);
// KEY="value",KEY2="value2", in this order; the last of the same key counts.
[[nodiscard]] Result<std::vector<std::pair<std::string, std::string>>> split_pairs(
    std::string_view text);

// References as ${NAME}, a $ as $$.
[[nodiscard]] std::string to_mtd(std::string_view text);
[[nodiscard]] bool has_reference(std::string_view text);

}  // namespace mtd::ctl
