#include "ctl/verb_details.h"

namespace mtd::ctl {

const std::vector<VerbDetail>& verb_details() {
  static const std::vector<VerbDetail> rows{
      {"status",
       "Without a selector: one line for every pool, and what needs attention. With selectors: the "
       "workers of these pools in detail; the exit code then says whether all of them are running "
       "and ready.\n\n"
       "RESTARTS counts unplanned deaths only, RECYCLED planned replacements only. WANT 4(2) "
       "means: "
       "4 asked for at run time, the file says 2. NOTE says what happens next, and when.",
       0,
       kAnyNumber,
       true,
       WordKind::selector,
       {{"-w,--watch", "", "Show it again whenever something changes, until interrupted", ""}},
       {{"mtctl status", "all pools"},
        {"mtctl status web 'mail*'", "the workers of some pools"},
        {"mtctl status -w", "stay and follow"},
        {"mtctl status -o json | jq .pools[0].ready", "for programs"}}},
      {"start",
       "Waits until the pools are ready. Fails when one cannot become ready.",
       1,
       kAnyNumber,
       true,
       WordKind::selector,
       {},
       {{"mtctl start web", ""}, {"mtctl start --all --timeout 30s", ""}}},
      {"stop",
       "Ends the workers with everything they started, and waits until nothing of them is left. "
       "The pool stays stopped until it is started again.",
       1,
       kAnyNumber,
       true,
       WordKind::selector,
       {{"--now", "", "Kill at once instead of asking first", ""}},
       {{"mtctl stop web", ""},
        {"mtctl stop --now web/3", "one worker, at once"},
        {"mtctl stop --all", ""}}},
      {"restart",
       "Replaces the processes one after the other where the pool allows old and new to overlap, "
       "else stops and starts them.",
       1,
       kAnyNumber,
       true,
       WordKind::selector,
       {},
       {{"mtctl restart web", ""}, {"mtctl restart web/0 web/1", ""}}},
      {"scale",
       "The number holds across a reload and a restart of the daemon, until the pool is scaled "
       "again or reset to what the file says.",
       1,
       kAnyNumber,
       false,
       WordKind::pool,
       {{"--current", "N", "Only if the pool is asked to have N workers now", ""},
        {"--reset", "", "Back to the number in the configuration file", ""}},
       {{"mtctl scale web 4", ""},
        {"mtctl scale web +2", "two more"},
        {"mtctl scale web -1", "one less"},
        {"mtctl scale web=4 mail=2", "several pools"},
        {"mtctl scale --reset web", "what the file says"}}},
      {"reload",
       "Reads the configuration files and applies them all or not at all. Prints how each pool "
       "changes. 'mtctl config diff' shows it beforehand.",
       0,
       1,
       false,
       WordKind::pool,
       {},
       {{"mtctl reload", ""}, {"mtctl reload web", "one pool only"}}},
      {"rollout",
       "status says how far the roll-out of a new revision is, and why the last one failed; it "
       "exits "
       "1 when it did. pause lets workers that are being replaced come to their end and begins "
       "with "
       "no others. resume goes on, and waits for the end. undo brings every worker back to the "
       "revision before, also when the roll-out is over; the files then differ from what is in "
       "force, until they are changed or reloaded.",
       2,
       2,
       false,
       WordKind::rollout,
       {},
       {{"mtctl rollout status web", ""},
        {"mtctl rollout pause web", ""},
        {"mtctl rollout undo web", "the revision before"}}},
      {"signal",
       "SIG is a name with or without SIG, or a number.",
       2,
       kAnyNumber,
       true,
       WordKind::signal,
       {{"--whom", "WHOM",
         "main: the worker (default), group: its process group, tree: all it started",
         "main group tree"}},
       {{"mtctl signal HUP web", ""}, {"mtctl signal USR1 web/2 --whom tree", ""}}},
      {"events",
       "Without -f: what is kept, then the end. Every event has a cursor to go on from; a gap is "
       "shown as an event \"lagged\".",
       0,
       kAnyNumber,
       false,
       WordKind::selector,
       {{"-f,--follow", "", "Stay and show what happens, until interrupted", ""},
        {"--since", "CURSOR", "Only what came after it; 0: all that is kept", ""}},
       {{"mtctl events -f", ""},
        {"mtctl events -f web -o jsonl", "one JSON object a line"},
        {"mtctl events --since 0", "all that is kept"}}},
      {"wait",
       "Ends as soon as it is so; it does not poll.",
       1,
       kAnyNumber,
       true,
       WordKind::selector,
       {{"--for", "STATE", "ready (default) or stopped", "ready stopped"}},
       {{"mtctl wait web --for ready --timeout 30s", ""}, {"mtctl wait --all --for stopped", ""}}},
      {"is-ready",
       "Does not wait. Meant for health checks and scripts, with -q.",
       0,
       kAnyNumber,
       true,
       WordKind::selector,
       {},
       {{"mtctl is-ready -q web && echo yes", ""}}},
      {"why",
       "The last exits of every worker with their cause, the limit in force, and the next thing "
       "that "
       "will happen. With -o wide also what each process had used.",
       1,
       kAnyNumber,
       true,
       WordKind::selector,
       {},
       {{"mtctl why web", ""}, {"mtctl why -o wide web/3", ""}}},
      {"reset-failed",
       "",
       1,
       kAnyNumber,
       true,
       WordKind::selector,
       {},
       {{"mtctl reset-failed web", "try again at once"}}},
      {"freeze",
       "The workers stay in memory and get no processor time until they are thawed.",
       1,
       kAnyNumber,
       true,
       WordKind::selector,
       {},
       {{"mtctl freeze web", ""}}},
      {"thaw", "", 1, kAnyNumber, true, WordKind::selector, {}, {{"mtctl thaw web", ""}}},
      {"tree",
       "Processes that left their worker's process group or whose parent died are shown under the "
       "worker that started them, marked \"stray\".",
       0,
       kAnyNumber,
       true,
       WordKind::selector,
       {},
       {{"mtctl tree", ""}, {"mtctl tree web", ""}}},
      {"limits",
       "Also says what this host cannot do.",
       0,
       0,
       false,
       WordKind::none,
       {},
       {{"mtctl limits", ""}}},
      {"upgrade",
       "Executes the files that stand now where mtd and mtd-supervisor were started from, after a "
       "package was installed for example: the supervisor is replaced, then the keeper executes "
       "its successor in place. Workers, sockets and the keeper's process id stay.\n\n"
       "Both new programs are tested first, with copies of what they will take over. If one is "
       "missing, is no program of this machine, fails its test, or is not ready within 10 "
       "seconds, the old ones go on, and the exit code is 1.",
       0,
       0,
       false,
       WordKind::none,
       {},
       {{"mtctl upgrade", ""}, {"mtctl upgrade --no-wait", "do not wait for its end"}}},
      {"shutdown",
       "Waits until every worker has ended and the daemon is gone.",
       0,
       0,
       false,
       WordKind::none,
       {{"--now", "", "Kill the workers at once instead of asking first", ""}},
       {{"mtctl shutdown", ""}}},
      {"metrics",
       "Without a selector: mtd and its pools. With selectors: their workers, too. For the "
       "text-file "
       "collector of node_exporter, write it to a file beside and rename that.",
       0,
       kAnyNumber,
       true,
       WordKind::selector,
       {},
       {{"mtctl metrics", ""}, {"mtctl metrics --all", "with every worker"}}},
      {"config",
       "check reads the files as the daemon would and prints every problem with file, line and "
       "column. show prints the merged result and where each value comes from. diff says how the "
       "files differ from what the daemon runs and how each pool would change: hot (in place), "
       "rolling, restart, add, remove; it exits 0 whether they differ or not. schema prints a JSON "
       "Schema for editors.\n\n"
       "new prints a small configuration with comments to begin with. migrate reads a "
       "supervisord.conf with the files it includes, prints the configuration of mtd that does the "
       "same, and says on standard error, with file and line, what it could not carry over. A "
       "program becomes a pool, GROUP.PROGRAM where it is in a group, so that 'GROUP.*' selects "
       "the group; several pools where its command holds %(process_num)02d and the like.",
       1,
       2,
       false,
       WordKind::file_or_keyword,
       {{"--config", "PATH", "The configuration file or directory instead of the usual one", ""}},
       {{"mtctl config check", "the usual place"},
        {"mtctl config check ./mtd.json", ""},
        {"mtctl config show web", "one pool, with defaults"},
        {"mtctl config diff", "what would 'mtctl reload' do?"},
        {"mtctl config schema > mtd.schema.json", ""},
        {"mtctl config new > mtd.json", ""},
        {"mtctl config migrate /etc/supervisor/supervisord.conf > mtd.json", ""}}},
      {"version", "", 0, 0, false, WordKind::none, {}, {{"mtctl version -o json", ""}}},
      {"completion",
       "Load it in your shell's start-up file.",
       1,
       1,
       false,
       WordKind::shell,
       {},
       {{"source <(mtctl completion bash)", ""},
        {"mtctl completion zsh > ~/.zfunc/_mtctl", ""},
        {"mtctl completion fish > ~/.config/fish/completions/mtctl.fish", ""}}},
      {"help", "", 0, 1, false, WordKind::verb, {}, {{"mtctl help scale", ""}}},
  };
  return rows;
}

VerbDetail verb_detail(std::string_view name) {
  for (const VerbDetail& row : verb_details()) {
    if (row.name == name) return row;
  }
  return VerbDetail{name, {}, 0, 0, false, WordKind::none, {}, {}};
}

}  // namespace mtd::ctl
