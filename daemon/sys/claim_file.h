// ClaimFile: who works on which task, in a file of fixed places, so that it outlives a kill -9 of
// all of mtd. A loss of power ends what works as well: what the file says is of one boot of the
// machine. Written, never synced; one small write(2) for each claim, whole or not at all.
//
// A claim stays in its place after it is over, until another one takes the place. So the file says
// who may have begun; whether that is over the store of tasks knows.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"

namespace mtd::sys {

inline constexpr std::uint32_t kClaimPlaces = 4096;

struct FiledClaim {
  std::uint64_t task = 0;  // 0: a place that was never used
  std::uint64_t incarnation = 0;
  std::int64_t started_ns = 0;
  std::uint32_t attempt = 0;
  std::uint32_t slot = 0;
  bool operator==(const FiledClaim&) const = default;
};

class ClaimFile {
 public:
  ClaimFile() = default;  // none: there is no place in it
  // `boot` and `life` name the boot of the machine and the life of mtd. Of another boot nothing is
  // left; workers of another life are nobody now, incarnation 0. An error: nobody knows what an
  // earlier broker has left. That nothing can be written is none: then there is no place in it.
  [[nodiscard]] static Result<ClaimFile> open(const std::string& path, std::string_view boot,
                                              std::string_view life);
  // What an earlier broker has left, by place.
  [[nodiscard]] const std::vector<std::pair<std::uint32_t, FiledClaim>>& left() const {
    return left_;
  }
  // Why there is no place in it; empty: there are places.
  [[nodiscard]] const std::string& trouble() const { return trouble_; }
  // Of these, those that are not over: nobody else is given their places. The others are taken out,
  // lest they be taken for claims of tasks that get the same numbers. Before the first add(); until
  // then there is no place.
  void keep(const std::set<std::uint32_t>& places);

  // Its place; nothing: there is none, or it cannot be written.
  [[nodiscard]] std::optional<std::uint32_t> add(const FiledClaim& claim);
  // The place may be taken by another one.
  void remove(std::uint32_t place) { free_.push_back(place); }

 private:
  explicit ClaimFile(UniqueFd file) : file_(std::move(file)) {}
  Result<void> begin(std::string_view boot, std::string_view life);
  // Both at the start: after one that fails there is no place any more.
  void write(const void* from, std::size_t size, std::int64_t at);
  void stop_writing(const char* what, int error);

  UniqueFd file_;
  std::string trouble_;
  std::vector<std::pair<std::uint32_t, FiledClaim>> left_;
  std::vector<std::uint32_t> free_;  // the last one is taken first
};

}  // namespace mtd::sys
