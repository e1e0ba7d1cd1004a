// THE table of control methods: dispatch, access tier, mtctl verb, completion, interface
// description and manual section all come from it. Varlink types; see varlink.org.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>

#include "common/control_types.h"

namespace mtd::control {

inline constexpr std::string_view kInterface = "io.mtd.Manager";

enum class Tier { read, operate, admin };
enum class Streaming {
  no,
  optional,
  required,  // does it answer `more` calls with several replies
  upgrade,   // only with `upgrade`: after the answer the connection speaks something else
};

// Whether a call whose answer was lost can be made again without harm. `absolute`: unless it names
// something relative to what it finds.
enum class Repeat { yes, absolute, no };

struct Method {
  std::string_view name;  // Status
  Tier tier;
  Streaming streaming;
  Repeat repeat;
  std::string_view parameters;  // Varlink struct, as in the interface description
  std::string_view reply;       // likewise; its named types are in control_types.h
  std::string_view verb;        // of mtctl; empty: none of its own
  std::string_view synopsis;    // of the verb's arguments
  std::string_view summary;     // one sentence
};

// `select` members are selectors: "web", "web/3", "web*"; empty or absent: all pools.
inline constexpr std::array kMethods{
    Method{"Status", Tier::read, Streaming::optional, Repeat::yes, "(select: ?[]string)",
           "(daemon: ?Daemon, pools: []Pool)", "status", "[SEL…]",
           "Show pools, or with a selector their workers"},
    Method{"Start", Tier::operate, Streaming::no, Repeat::yes, "(select: []string, wait: ?bool)",
           "(pools: []PoolResult)", "start", "SEL…", "Start stopped pools or workers"},
    Method{"Stop", Tier::operate, Streaming::no, Repeat::yes,
           "(select: []string, now: ?bool, drain: ?bool, wait: ?bool)", "(pools: []PoolResult)",
           "stop", "[--now|--drain] SEL…", "Stop pools or workers with their whole process trees"},
    Method{"Restart", Tier::operate, Streaming::no, Repeat::no, "(select: []string, wait: ?bool)",
           "(pools: []PoolResult)", "restart", "SEL…", "Replace the processes of pools or workers"},
    Method{"Scale", Tier::operate, Streaming::no, Repeat::absolute,
           "(pool: string, want: ?int, delta: ?int, reset: ?bool, current: ?int, wait: ?bool)",
           "(pool: string, before: int, want: int, want_file: int)", "scale",
           "POOL N|+N|-N | POOL=N…", "Change the number of workers until told otherwise"},
    Method{"Reload", Tier::admin, Streaming::no, Repeat::yes, "(pool: ?string, wait: ?bool)",
           "(plan: Plan, config_rev: int, pools: []PoolResult)", "reload", "[POOL]",
           "Apply the configuration files"},
    Method{"Rollout", Tier::admin, Streaming::no, Repeat::no,
           "(pool: string, action: string, wait: ?bool)", "(pools: []PoolResult)", "rollout",
           "status|pause|resume|undo POOL", "Follow, hold, or take back the roll-out of a pool"},
    Method{"Signal", Tier::operate, Streaming::no, Repeat::no,
           "(signal: string, select: []string, whom: ?string)", "(sent: int)", "signal",
           "SIG SEL [--whom main|group|tree]", "Send a signal to workers"},
    Method{"Events", Tier::read, Streaming::required, Repeat::yes,
           "(since: ?string, follow: ?bool, select: ?[]string)",
           "(events: []Event, cursor: ?string)", "events", "[-f] [--since CURSOR]",
           "Show state changes, numbered, none missed"},
    Method{"Wait", Tier::read, Streaming::no, Repeat::yes, "(select: []string, for: string)",
           "(pools: []PoolResult)", "wait", "SEL --for ready|stopped",
           "Wait until pools or workers are ready or stopped"},
    Method{"IsReady", Tier::read, Streaming::no, Repeat::yes, "(select: ?[]string)",
           "(ready: bool, pools: []Pool)", "is-ready", "[SEL]",
           "Exit 0 when all are ready, 3 when not"},
    Method{"Why", Tier::read, Streaming::no, Repeat::yes, "(select: []string)", "(pools: []Pool)",
           "why", "SEL", "Tell what happened and what happens next"},
    Method{"GetConfig", Tier::admin, Streaming::no, Repeat::yes, "()",
           "(config: object, config_rev: int, config_path: string)", "", "",
           "The configuration in force, with the workers' whole environment"},
    Method{"ResetFailed", Tier::operate, Streaming::no, Repeat::yes, "(select: []string)",
           "(pools: []PoolResult)", "reset-failed", "SEL…",
           "Forget failures: back-off and breaker start afresh"},
    Method{"Enable", Tier::operate, Streaming::no, Repeat::yes, "(select: []string)",
           "(pools: []PoolResult)", "enable", "[--now] SEL…", "Start pools with mtd from now on"},
    Method{"Disable", Tier::operate, Streaming::no, Repeat::yes, "(select: []string)",
           "(pools: []PoolResult)", "disable", "[--now] SEL…",
           "Start pools with mtd no more, also after the machine has started again"},
    Method{"Freeze", Tier::operate, Streaming::no, Repeat::yes, "(select: []string)",
           "(pools: []PoolResult)", "freeze", "SEL…", "Suspend all processes of pools"},
    Method{"Thaw", Tier::operate, Streaming::no, Repeat::yes, "(select: []string)",
           "(pools: []PoolResult)", "thaw", "SEL…", "Let frozen pools go on"},
    Method{"Tree", Tier::read, Streaming::optional, Repeat::yes, "(select: ?[]string)",
           "(workers: []TreeWorker)", "tree", "[SEL…]", "Show the process tree of every worker"},
    Method{"Limits", Tier::read, Streaming::no, Repeat::yes, "()", "(limits: []Limit, host: Host)",
           "limits", "", "Show every limit in force with its use"},
    Method{"Upgrade", Tier::admin, Streaming::no, Repeat::no, "(follow: ?int)",
           "(number: int, state: string, from: string, to: string)", "upgrade", "",
           "Execute the new programs in place; no worker is touched"},
    Method{"Shutdown", Tier::admin, Streaming::no, Repeat::yes, "(now: ?bool, wait: ?bool)", "()",
           "shutdown", "[--now]", "Stop every pool and end mtd"},
};

// Everything that makes a Varlink interface. io.mtd.Tasks is in task_methods.h.
struct Interface {
  std::string_view name;
  std::string_view about;  // sentences
  std::span<const Method> methods;
  std::span<const ObjectType> types;
  std::span<const ErrorType> errors;
};
[[nodiscard]] const Interface& manager_interface();

// nullptr: no such method. `name` without the interface.
[[nodiscard]] const Method* find_method(const Interface& interface, std::string_view name);
[[nodiscard]] const Method* find_method(std::string_view name);  // of io.mtd.Manager

// The interface in Varlink's interface language, with comments: methods, types and errors.
[[nodiscard]] std::string interface_description(const Interface& interface);
[[nodiscard]] std::string interface_description();  // of io.mtd.Manager
// Likewise of org.varlink.service.
[[nodiscard]] std::string service_interface_description();

}  // namespace mtd::control
