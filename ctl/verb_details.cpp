#include "ctl/verb_details.h"

namespace mtd::ctl {
namespace {

constexpr const char* kPatienceText =
    "How long mtd may be away or silent, 30s; after a third of it the reason of a wait is told";

}  // namespace

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
       "The pool stays stopped until it is started again, after a restart of mtd and of the "
       "machine "
       "too. Pools that others depend on are stopped after those of them that are stopped as "
       "well.\n\n"
       "With --drain the workers get their first stop signal and all the time they need; a later "
       "stop without it begins the usual times, and --now kills.",
       1,
       kAnyNumber,
       true,
       WordKind::selector,
       {{"--now", "", "Kill at once instead of asking first", ""},
        {"--drain", "", "Let the workers take all the time they need", ""}},
       {{"mtctl stop web", ""},
        {"mtctl stop --drain web", "until the last one has ended by itself"},
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
       "shown as an event \"lagged\". Exits 4 when nothing is kept of what was asked for and there "
       "is no such pool or worker; with -f that is told, and waited for.",
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
       "Ends as soon as it is so; it does not poll.\n\n"
       "With numbers of tasks or --group: waits until these tasks have ended, and prints a line "
       "for "
       "each. Exits 0 if all of them are done, 1 if not.",
       0,
       kAnyNumber,
       true,
       WordKind::selector,
       {{"--for", "STATE", "ready (default) or stopped", "ready stopped"},
        {"--group", "G", "The tasks that were put with --group G", ""},
        {"--any", "", "Until one of the tasks has ended", ""},
        {"--patience", "TIME", kPatienceText, ""}},
       {{"mtctl wait web --for ready --timeout 30s", ""},
        {"mtctl wait --all --for stopped", ""},
        {"mtctl wait 17 18", "two tasks"}}},
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
      {"enable",
       "In place of \"enabled\" in the configuration, until said otherwise; kept when the machine "
       "starts again. What runs or is stopped now stays so without --now.",
       1,
       kAnyNumber,
       true,
       WordKind::selector,
       {{"--now", "", "Start it now as well", ""}},
       {{"mtctl enable --now web", ""}}},
      {"disable",
       "In place of \"enabled\" in the configuration, until said otherwise; kept when the machine "
       "starts again. What runs now goes on without --now.",
       1,
       kAnyNumber,
       true,
       WordKind::selector,
       {{"--now", "", "Stop it now as well", ""}},
       {{"mtctl disable web", ""}}},
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
      {"put",
       "The task waits in the pool's queue until a worker is free. Its arguments are the words; "
       "'-' alone is the standard input as the task's body, @FILE the contents of a file. Once "
       "the number is printed the task survives the death of mtd, and of the machine where the "
       "pool's durability says so.\n\n"
       "--timeout limits each attempt. Without --block it gives up when mtd has not answered for "
       "--patience, and nobody knows whether it was accepted; put again with the same --id it is "
       "the same task.",
       1,
       kAnyNumber,
       false,
       WordKind::pool,
       {{"--id", "UID", "A name of your own: the same one is the same task", ""},
        {"--name", "NAME", "What to call in the worker", ""},
        {"--delay", "TIME", "Not before so long from now", ""},
        {"--at", "WHEN", "Not before this time: 2026-11-27T18:00:00Z, or @ and Unix seconds", ""},
        {"--expires", "TIME", "Give up if it has not begun within this time", ""},
        {"--priority", "N", "From -100 to 100, lower first", ""},
        {"--unique", "KEY", "Refuse it while another task with this key has not ended", ""},
        {"--group", "G", "For wait, cancel and task ls", ""},
        {"--block", "TIME", "Wait for room in a full queue; without it: exit 75", ""},
        {"--patience", "TIME", kPatienceText, ""}},
       {{"mtctl put thumbs a.jpg 200", ""},
        {"mtctl put --delay 10m --id nightly report", ""},
        {"mtctl put images @photo.raw", "a file as the body"}},
       0,
       true,
       {}},
      {"run",
       "As put, and then waits for the end. The result is printed: bytes and texts as they are, "
       "other JSON on one line. If it is interrupted, the task is cancelled, and so it is when it "
       "has not ended within --timeout, however often it was tried. What keeps the pool from its "
       "tasks, because it is stopped for example, is told on standard error.\n\n"
       "Exits as the command of the task did, with 128+n if signal n killed it, 124 if it timed "
       "out (--timeout), 75 if the queue is full, 125 if mtctl itself failed, and 1 for any "
       "other failure.",
       1,
       kAnyNumber,
       false,
       WordKind::pool,
       {{"--id", "UID", "A name of your own: the same one is the same task", ""},
        {"--name", "NAME", "What to call in the worker", ""},
        {"--priority", "N", "From -100 to 100, lower first", ""},
        {"--unique", "KEY", "Refuse it while another task with this key has not ended", ""},
        {"--expires", "TIME", "Give up if it has not begun within this time", ""},
        {"--block", "TIME", "Wait for room in a full queue; without it: exit 75", ""},
        {"--patience", "TIME", kPatienceText, ""}},
       {{"mtctl run thumbs a.jpg 200", ""},
        {"mtctl run --timeout 10s -o json thumbs a.jpg", ""},
        {"mtctl run convert -- -resize 50% a.jpg", "arguments that begin with -"}},
       0,
       true,
       {}},
      {"map",
       "Each line is one task with the line as its argument; --chunk makes it several lines. "
       "Results are printed in the order of the lines, or with --unordered as they come. A "
       "terminal shows a progress bar. No more than --window tasks are under way, so input and "
       "queue may be endless.\n\n"
       "With -j and a command no daemon is needed: a private mtd runs the command for each line, "
       "with the line as its last argument or in the place of %{arg}, N at a time, and is ended "
       "with the job. What workers and mtd meet meanwhile loses no line. --timeout limits each "
       "attempt of a task.\n\n"
       "A task that fails does not stop the others unless --fail-fast; failures are reported at "
       "the end, and the exit code is 1. An interrupt cancels what is under way; a second one "
       "does not wait for it.",
       0,
       1,
       false,
       WordKind::pool,
       {{"-j,--jobs", "N", "Run the command N times at once, without a daemon; default: processors",
         ""},
        {"--max-tasks", "M", "With -j: replace a worker after M tasks", ""},
        {"--retries", "N", "With -j: try a line that failed N times more", ""},
        {"--ordered", "", "Results in the order of the lines (default)", ""},
        {"--unordered", "", "Results as they come", ""},
        {"--chunk", "N", "N lines are one task", ""},
        {"--window", "N", "Tasks under way; default: 4 for each worker, at least 16", ""},
        {"--keep-going", "", "Go on after a failure (default)", ""},
        {"--fail-fast", "", "Stop at the first failure", ""},
        {"--name", "NAME", "What to call in the worker", ""},
        {"-0,--null", "", "Lines end with a NUL byte, as find -print0 writes them", ""},
        {"--patience", "TIME", kPatienceText, ""}},
       {{"mtctl map thumbs < names", ""},
        {"mtctl map -j 8 -- gzip -9 < names", "like xargs -P 8 -n 1"},
        {"find . -name '*.wav' -print0 | mtctl map -0 -j 4 -- lame -S %{arg}", ""}},
       0,
       true,
       {}},
      {"result",
       "Exits 3 if the task has not ended yet, 1 if it has no result. Results are kept for the "
       "pool's result_ttl.",
       1,
       1,
       false,
       WordKind::task,
       {{"--patience", "TIME", kPatienceText, ""}},
       {{"mtctl result 17", ""}}},
      {"cancel",
       "A task that waits is cancelled at once. A worker that runs one is told, and killed when "
       "it has not answered within the pool's grace.",
       0,
       kAnyNumber,
       false,
       WordKind::task,
       {{"--group", "G", "The tasks that were put with --group G", ""},
        {"--now", "", "Kill the workers that run them at once", ""},
        {"--patience", "TIME", kPatienceText, ""}},
       {{"mtctl cancel 17 18", ""}, {"mtctl cancel --group nightly", ""}}},
      {"task",
       "States: scheduled, waiting, running, done, dead, cancelled, expired.",
       1,
       kAnyNumber,
       false,
       WordKind::keyword,
       {{"--state", "STATE", "With ls: only tasks in this state",
         "scheduled waiting running done dead cancelled expired"},
        {"--group", "G", "With ls: only tasks that were put with --group G", ""},
        {"--patience", "TIME", kPatienceText, ""}},
       {{"mtctl task ls thumbs --state running", ""},
        {"mtctl task show 17", "its attempts, one by one"},
        {"mtctl task retry 17", ""}},
       0,
       false,
       "ls show retry rm"},
      {"dead",
       "A task is dead when it failed max_attempts times, when its worker died of it max_crashes "
       "times, or when the worker said that trying again is of no use.",
       1,
       kAnyNumber,
       false,
       WordKind::keyword,
       {{"--group", "G", "With ls: only tasks that were put with --group G", ""},
        {"--patience", "TIME", kPatienceText, ""}},
       {{"mtctl dead ls", ""},
        {"mtctl dead retry thumbs", "all of a pool"},
        {"mtctl dead purge 17", ""}},
       0,
       false,
       "ls retry purge"},
      {"drain",
       "With --close nothing new is taken until 'mtctl pool resume'.",
       1,
       1,
       false,
       WordKind::pool,
       {{"--close", "", "Refuse new tasks from now on", ""},
        {"--patience", "TIME", kPatienceText, ""}},
       {{"mtctl drain --close thumbs", ""}}},
      {"pool",
       "A paused pool hands out no tasks; what runs goes on, and puts go on.",
       1,
       2,
       false,
       WordKind::keyword,
       {{"--patience", "TIME", kPatienceText, ""}},
       {{"mtctl pool ls", ""}, {"mtctl pool pause thumbs", ""}, {"mtctl pool resume thumbs", ""}},
       0,
       false,
       "ls pause resume"},
      {"worker",
       "For the command of a pool with tasks: runs COMMAND once for each task, its arguments "
       "appended or in the place of %{arg}, its body on the standard input, with MTD_TASK_ID and "
       "MTD_TASK_ATTEMPT in the environment. What it writes is the result. Exit 0 is done, 75 "
       "try again, 64, 65, 66, 77 and 78 give up, any other a failure; a signal is a crash.\n\n"
       "With --filter COMMAND runs once and gives a line for each line. A program that keeps its "
       "output back is found out by a first line, empty unless --probe names another, and "
       "refused.",
       0,
       0,
       false,
       WordKind::none,
       {{"--filter", "", "A line in, a line out, by one process", ""},
        {"--probe", "LINE", "With --filter: the line to try it with", ""},
        {"--no-probe", "", "With --filter: trust it", ""}},
       {{"mtctl worker -- convert %{arg} -resize 200 out/%{arg}", ""},
        {"mtctl worker --filter -- tr a-z A-Z", ""}},
       1,
       true,
       {}},
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
