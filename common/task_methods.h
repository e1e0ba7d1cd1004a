// THE table of io.mtd.Tasks, the broker's interface: what clients do with tasks. The mtctl verbs
// are in ctl/; the interface description and the manual's section come from here.
#pragma once

#include <array>

#include "common/control_methods.h"

namespace mtd::control {

inline constexpr std::string_view kTaskInterface = "io.mtd.Tasks";

inline constexpr std::array kTaskMethods{
    Method{"Stats", Tier::read, Streaming::no, Repeat::yes, "(pool: ?string)",
           "(pools: []Queue, store: Store)", "", "", "The queues in numbers"},
    Method{"List", Tier::read, Streaming::no, Repeat::yes,
           "(pool: ?string, group: ?string, states: ?[]string, limit: ?int, after: ?int)",
           "(tasks: []Task)", "", "",
           "Tasks by their numbers, above that of `after`, at most `limit`"},
    Method{"Show", Tier::read, Streaming::no, Repeat::yes, "(id: ?int, uid: ?string)",
           "(task: Task)", "", "", "One task with its attempts"},
    Method{"Cancel", Tier::operate, Streaming::no, Repeat::yes,
           "(ids: ?[]int, group: ?string, pool: ?string, now: ?bool)",
           "(cancelled: int, asked: int, finished: int)", "", "",
           "Cancel tasks; a worker that runs one is told, or with `now` killed"},
    Method{"Retry", Tier::operate, Streaming::no, Repeat::yes, "(ids: ?[]int, pool: ?string)",
           "(count: int)", "", "",
           "Let dead, cancelled or expired tasks run again; of a pool, all dead ones"},
    Method{"Remove", Tier::operate, Streaming::no, Repeat::yes,
           "(ids: ?[]int, pool: ?string, group: ?string)", "(count: int)", "", "",
           "Forget tasks that have come to an end; of a pool, its dead ones"},
    Method{"Pause", Tier::operate, Streaming::no, Repeat::yes, "(pool: string)", "()", "", "",
           "Give out no more tasks"},
    Method{"Resume", Tier::operate, Streaming::no, Repeat::yes, "(pool: string)", "()", "", "",
           "Give out and take in tasks again"},
    Method{"Drain", Tier::operate, Streaming::no, Repeat::yes,
           "(pool: string, close: ?bool, wait: ?bool)", "(remaining: int)", "", "",
           "Answer when nothing waits or runs; with `close` nothing new is taken until Resume"},
    Method{"Open", Tier::operate, Streaming::upgrade, Repeat::yes, "()",
           "(proto: int, max_body: int, pools: []string)", "", "",
           "Put tasks and hear of their ends, in frames of mtd-task/1"},
};

[[nodiscard]] const Interface& task_interface();

}  // namespace mtd::control
