#include "config/keys_health.h"

#include <nlohmann/json.hpp>

#include "config/binding.h"
#include "config/resolved_json.h"

namespace mtd::config {
namespace {

using Json = nlohmann::json;
using S = PoolSpec;

constexpr double kYearMs = 365 * 24 * 3'600'000.0;

// What a probe does is worked out by resolve.cpp.
template <auto Role, auto Member>
PoolKey target_row(std::string_view path, Type type, std::string_view doc) {
  return {
      {path, type, 0, 0, {}, "none", Apply::hot, doc}, nullptr, [](const S& spec, const KeyInfo&) {
        const auto& target = (spec.probes.*Role).*Member;
        if (target.empty()) return Json();
        if constexpr (std::is_same_v<std::decay_t<decltype(target)>, std::string>) {
          return json_marked(target);
        } else {
          return json_marked_list(target);
        }
      }};
}

template <auto Role, auto Member>
PoolKey number_row(std::string_view path, Type type, double max, std::string_view fallback,
                   std::string_view doc) {
  constexpr Binding<S> kBinding = bind<S, &S::probes, Role, Member>();
  return {{path, type, 1, max, {}, fallback, Apply::hot, doc}, kBinding.set, kBinding.get};
}

std::vector<PoolKey> live_keys() {
  constexpr auto kLive = &ProbesSpec::live;
  return {
      target_row<kLive, &ProbeSpec::exec>(
          "probes.live.exec", Type::command,
          "A command that has to end with 0, in the surroundings of the workers, with MTD_PID. A "
          "worker whose live probe fails is ended with cause probe and restarted as after a "
          "crash."),
      target_row<kLive, &ProbeSpec::http>(
          "probes.live.http", Type::text,
          "A URL that has to answer with a status from 200 to 399: http://ADDRESS:PORT/PATH or "
          "http://unix:/SOCKET:/PATH."),
      target_row<kLive, &ProbeSpec::tcp>("probes.live.tcp", Type::text,
                                         "ADDRESS:PORT that has to accept a connection."),
      target_row<kLive, &ProbeSpec::unix_path>("probes.live.unix", Type::path,
                                               "A socket that has to accept a connection."),
      number_row<kLive, &ProbeSpec::period>(
          "probes.live.period", Type::duration, kYearMs, "\"10s\"",
          "From one probe of a worker to its next; the first comes at a random moment within the "
          "first period."),
      number_row<kLive, &ProbeSpec::timeout>("probes.live.timeout", Type::duration, 3'600'000,
                                             "\"1s\"",
                                             "A probe that is not answered by then has failed."),
      number_row<kLive, &ProbeSpec::threshold>("probes.live.threshold", Type::integer, 100, "3",
                                               "So many failures in a row count as one."),
  };
}

std::vector<PoolKey> ready_keys() {
  constexpr auto kReady = &ProbesSpec::ready;
  return {
      target_row<kReady, &ProbeSpec::exec>(
          "probes.ready.exec", Type::command,
          "As in probes.live. A worker whose ready probe fails is left alone; it is unready, and "
          "does not count as ready, until the probe passes again."),
      target_row<kReady, &ProbeSpec::http>("probes.ready.http", Type::text, "As in probes.live."),
      target_row<kReady, &ProbeSpec::tcp>("probes.ready.tcp", Type::text, "As in probes.live."),
      target_row<kReady, &ProbeSpec::unix_path>("probes.ready.unix", Type::path,
                                                "As in probes.live."),
      number_row<kReady, &ProbeSpec::period>(
          "probes.ready.period", Type::duration, kYearMs, "\"10s\"",
          "As in probes.live; with ready \"probe\" a worker that starts is asked after 50 ms, then "
          "after twice as long each time, up to the period."),
      number_row<kReady, &ProbeSpec::timeout>("probes.ready.timeout", Type::duration, 3'600'000,
                                              "\"1s\"", "As in probes.live."),
      number_row<kReady, &ProbeSpec::threshold>("probes.ready.threshold", Type::integer, 100, "3",
                                                "As in probes.live."),
  };
}

}  // namespace

std::vector<PoolKey> health_keys() {
  std::vector<PoolKey> keys{
      {{"watchdog",
        Type::duration,
        10,
        kYearMs,
        {},
        "off",
        Apply::rolling,
        "A worker has to send WATCHDOG=1 to NOTIFY_SOCKET at least so often once it is ready; it "
        "finds the time in WATCHDOG_USEC. One that does not gets SIGABRT, for its core dump, then "
        "SIGKILL."},
       [](S& spec, const Scalar& value, const KeyInfo&) {
         spec.watchdog = std::get<Duration>(value);
       },
       [](const S& spec, const KeyInfo&) {
         return spec.watchdog.is_zero() ? Json() : Json(format_duration(spec.watchdog));
       }}};
  for (auto make : {live_keys, ready_keys}) {
    for (PoolKey& key : make())
      keys.push_back(std::move(key));
  }
  return keys;
}

}  // namespace mtd::config
