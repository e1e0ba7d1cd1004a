#include "ctl/progress_bar.h"

#include <algorithm>
#include <cstdio>

#include "common/time.h"
#include "ctl/display_width.h"

namespace mtd::ctl {
namespace {

constexpr std::size_t kWidestBar = 40;
constexpr std::size_t kNarrowestBar = 10;

std::string rate_phrase(double rate) {
  char text[32];
  std::snprintf(text, sizeof text, rate < 10 ? "%.1f/s" : "%.0f/s", rate);
  return text;
}

std::string facts(const MapProgress& progress) {
  const std::string done = std::to_string(progress.done);
  std::string text = done + "/" + (progress.total ? std::to_string(*progress.total) : "?");
  if (progress.total && *progress.total > 0) {
    text += "  " + std::to_string(progress.done * 100 / *progress.total) + "%";
  }
  if (progress.elapsed_ms > 0 && progress.done > 0) {
    const double rate =
        static_cast<double>(progress.done) * 1000 / static_cast<double>(progress.elapsed_ms);
    text += "  " + rate_phrase(rate);
    if (progress.total && *progress.total > progress.done) {
      const double left = static_cast<double>(*progress.total - progress.done) / rate;
      text +=
          "  ETA " + format_duration_brief(Duration::seconds(static_cast<std::int64_t>(left) + 1));
    }
  }
  if (progress.failed > 0) text += "  " + std::to_string(progress.failed) + " failed";
  if (progress.stopping) text += "  stopping " + std::to_string(progress.running);
  if (!progress.connected) text += "  mtd is away";
  return text;
}

}  // namespace

std::string progress_bar(const MapProgress& progress, const Screen& screen) {
  const std::string text = facts(progress);
  const std::size_t width = screen.width > 1 ? screen.width - 1 : 0;
  const std::size_t used = display_width(text) + 4;
  if (!progress.total || *progress.total <= 0 || width < used + kNarrowestBar) {
    return cut_to_width(text, width, screen.ellipsis());
  }
  const std::size_t bar = std::min(kWidestBar, width - used);
  const auto full = static_cast<std::size_t>(
      std::min<std::int64_t>(static_cast<std::int64_t>(bar),
                             static_cast<std::int64_t>(bar) * progress.done / *progress.total));
  return "[" + std::string(full, '#') + std::string(bar - full, '.') + "]  " + text;
}

}  // namespace mtd::ctl
