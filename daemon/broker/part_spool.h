// PartSpool: answers in files. A part of an answer is taken out of its worker's socket long before
// the answer is on record; so it is kept in a file as well, and the next broker has what a killed
// one had taken. A result that is larger than the store is to keep stays in that file: then it is
// the result's until its task is forgotten. One file an attempt, DIRECTORY/TASK.ATTEMPT: records of
// a head and the bytes of one part, in order.
//
// All files together with the database have no more bytes than the quota; beyond it nothing is
// added. Nothing is synced here: a loss of power ends the workers, too, and the store syncs the
// file of a result before it says that the result is there.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"
#include "daemon/broker/model/values.h"

namespace mtd::broker {

struct SpoolOptions {
  std::string directory;             // empty: nothing is kept
  std::string database;              // whose size counts, too; empty: none
  std::uint64_t quota = ~0ULL >> 1;  // bytes
  // Of all files, for whoever keeps the quota as well, in any thread.
  std::shared_ptr<std::atomic<std::uint64_t>> bytes =
      std::make_shared<std::atomic<std::uint64_t>>(0);
};

// The parts of one file, in order, though it is removed meanwhile.
class SpoolReader {
 public:
  explicit SpoolReader(UniqueFd file) : file_(std::move(file)) {}
  // Nothing: that was all.
  [[nodiscard]] Result<std::optional<std::string>> next();
  [[nodiscard]] std::uint32_t parts() const { return parts_; }  // that were given out
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }  // of the parts that were given out
  // Where the next one begins.
  [[nodiscard]] std::uint64_t at() const { return at_; }

 private:
  UniqueFd file_;
  std::uint32_t parts_ = 0;
  std::uint64_t at_ = 0, bytes_ = 0;
};

class PartSpool {
 public:
  struct Kept {
    std::uint32_t parts = 0;
    std::uint64_t bytes = 0;
  };
  using Name = std::pair<std::uint64_t, std::uint32_t>;  // task, attempt

  // Sees what a former broker left.
  explicit PartSpool(SpoolOptions options);

  // ---- parts of an answer that is not whole yet; of an attempt that somebody works on ----
  // What there is of it. What was cut off in the middle, or cannot be read, does not count and is
  // gone.
  [[nodiscard]] Kept kept(task::TaskId id, std::uint32_t attempt);
  // Call it before the part's frame is taken out of the socket. One that is there is not added
  // again.
  [[nodiscard]] Result<void> add(task::TaskId id, std::uint32_t attempt, std::uint32_t part,
                                 std::string_view bytes);
  [[nodiscard]] Result<std::vector<std::string>> read(task::TaskId id, std::uint32_t attempt);
  // Not of a result.
  void remove(task::TaskId id, std::uint32_t attempt);
  using Wanted = std::function<bool(task::TaskId id, std::uint32_t attempt)>;
  void remove_unless(const Wanted& wanted);

  // ---- results ----
  // The file is the result of its task from now on. Its name: Answer::file.
  [[nodiscard]] std::string make_result(task::TaskId id, std::uint32_t attempt);
  [[nodiscard]] Result<SpoolReader> open(const std::string& file) const;
  void remove_result(const std::string& file);

  // ---- what a former broker left, until somebody says what it is ----
  [[nodiscard]] std::vector<Name> unknown() const;
  [[nodiscard]] static std::string file_of(const Name& name);
  void is_parts(const Name& name);
  void is_result(const Name& name);
  void is_nothing(const Name& name);

 private:
  struct File {
    Kept kept;
    std::uint64_t size = 0;
  };
  using Files = std::map<Name, File>;
  [[nodiscard]] std::string path_of(const Name& name) const;
  [[nodiscard]] File& begun(const Name& name);
  [[nodiscard]] std::optional<File> cut_to_parts(const Name& name, std::uint64_t size) const;
  [[nodiscard]] Result<void> make_room(std::uint64_t more) const;
  void remove(Files& from, const Name& name);

  SpoolOptions options_;
  Files parts_, results_, unknown_;
};

}  // namespace mtd::broker
