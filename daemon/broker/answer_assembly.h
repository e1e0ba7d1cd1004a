// AnswerAssembly: workers' answers until they are on record. Puts together what came in parts, and
// keeps it meanwhile where a kill -9 of the broker does not lose it; what is larger than the store
// keeps stands in a file of the spool, and the answer names it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/result.h"
#include "daemon/broker/model/values.h"
#include "daemon/broker/part_spool.h"
#include "daemon/broker/worker_frames.h"
#include "daemon/broker/worker_socket.h"

namespace mtd::broker {

// Of the bytes of a result, whatever the quota has room for.
inline constexpr std::uint64_t kMaxResult = 1ULL << 30U;

class AnswerAssembly {
 public:
  struct Rules {
    std::string_view pool;         // for the log
    std::uint64_t max_result = 0;  // bytes that the store keeps; more goes to a file
    bool in_memory = false;        // what the store keeps need not outlive the broker
  };
  struct Answer {
    std::shared_ptr<task::Answer> content;
    bool too_big = false;  // it cannot be kept; its error says so
  };

  explicit AnswerAssembly(PartSpool& spool) : spool_(spool) {}

  // The worker has this attempt from an earlier broker, and perhaps has told that one parts of its
  // answer. Those that it could not keep are lost, and no fault of the worker's.
  void inherit(const task::WorkerKey& worker, const AnswerOf& of);
  // Errors are the worker's, for which it is killed. Of an attempt that the worker has.
  [[nodiscard]] Result<void> add_part(const task::WorkerKey& worker, const PartFrame& frame,
                                      std::string_view body, const Rules& rules);
  [[nodiscard]] Result<Answer> make(const task::WorkerKey& worker, const AnswerFrame& frame,
                                    std::optional<std::string_view> body, const Rules& rules);
  // Of an attempt that is over nothing is kept.
  [[nodiscard]] static Answer make_of_nothing(const AnswerFrame& frame);
  // The answer is on record, or refused.
  void settled(const AnswerOf& of, bool taken);
  // The worker is gone, and with it what it had not finished to say.
  void forget(const task::WorkerKey& worker);

 private:
  // Of an answer that is not whole yet.
  struct Parts {
    AnswerOf of;
    std::uint32_t count = 0;
    std::uint64_t bytes = 0;
    std::vector<std::string> pieces;  // empty: all of it is in the file alone
    bool is_filed = false;
    std::string lost;         // why it cannot be kept; nothing of it is kept then
    bool may_lack = false;    // an earlier broker may have taken more than there is
    bool is_lacking = false;  // … and has
  };
  // What an answer brought besides its line.
  struct Data {
    std::uint64_t bytes = 0;  // 0: nobody knows, if it is lost
    std::string text;         // or
    std::string file;         // in the spool
    std::string lost;         // or why it cannot be kept
  };
  using PartsList = std::vector<Parts>;

  [[nodiscard]] PartsList::iterator parts_of(const task::WorkerKey& worker, const AnswerOf& of,
                                             const Rules& rules);
  void note_lack(Parts& parts, std::uint32_t told);
  void keep(Parts& parts, std::string_view body, const Rules& rules);
  [[nodiscard]] Result<void> keep_in_file(Parts& parts, std::string_view body, const Rules& rules);
  [[nodiscard]] Result<Data> take_data(const task::WorkerKey& worker, const AnswerFrame& frame,
                                       std::optional<std::string_view> body, const Rules& rules);
  [[nodiscard]] Data take_parts(Parts& parts);

  PartSpool& spool_;
  std::map<task::WorkerKey, PartsList> incomplete_;
  std::map<task::WorkerKey, std::vector<AnswerOf>> inherited_;
  // Answers on their way to the record whose data is in a file.
  std::map<std::pair<std::uint64_t, std::uint32_t>, std::string> filed_;
  bool spool_failed_ = false;
};

}  // namespace mtd::broker
