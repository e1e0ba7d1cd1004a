#include "daemon/role/log.h"

#include <spdlog/details/null_mutex.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <string_view>

#include "daemon/sys/journal_stream.h"

namespace mtd::role {
namespace {

constexpr std::size_t kMaxLine = 4096;  // PIPE_BUF

// sd-daemon(3): a line that begins with <N> has that syslog priority.
const char* syslog_prefix(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::trace:
    case spdlog::level::debug:
      return "<7>";
    case spdlog::level::info:
      return "<6>";
    case spdlog::level::warn:
      return "<4>";
    case spdlog::level::err:
      return "<3>";
    case spdlog::level::critical:
      return "<2>";
    case spdlog::level::off:
    case spdlog::level::n_levels:
      break;
  }
  return "<6>";
}

class StderrSink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  explicit StderrSink(bool journal) : journal_(journal) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t text;
    if (journal_) {
      const std::string_view prefix = syslog_prefix(message.level);
      text.append(prefix.data(), prefix.data() + prefix.size());
    }
    base_sink::formatter_->format(message, text);
    if (text.size() > kMaxLine) {  // what a pipe takes at once; longer lines could make us wait
      text.resize(kMaxLine - 1);
      text.push_back('\n');
    }
    if (dropped_ > 0) {
      const std::string notice =
          "mtd: " + std::to_string(dropped_) + " log lines were dropped: stderr was full\n";
      if (!sys::write_stderr(notice)) {
        ++dropped_;
        return;
      }
      dropped_ = 0;
    }
    if (!sys::write_stderr({text.data(), text.size()})) ++dropped_;
  }
  void flush_() override {}

 private:
  bool journal_;
  unsigned long dropped_ = 0;
};

}  // namespace

void set_up_log(const std::string& level) {
  const bool journal = sys::stderr_is_journal();
  auto logger = std::make_shared<spdlog::logger>("mtd", std::make_shared<StderrSink>(journal));
  logger->set_pattern(journal ? "%v" : "%Y-%m-%dT%H:%M:%S.%eZ %-7l %v",
                      spdlog::pattern_time_type::utc);
  spdlog::set_default_logger(std::move(logger));
  set_log_level(level);
}

void set_log_level(const std::string& level) {
  spdlog::set_level(level.empty() ? spdlog::level::info : spdlog::level::from_str(level));
}

}  // namespace mtd::role
