// What map is made of: lines of the input, the bar, and why it waits.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdio>

#include <nlohmann/json.hpp>

#include "common/unique_fd.h"
#include "ctl/display_width.h"
#include "ctl/line_input.h"
#include "ctl/progress_bar.h"
#include "ctl/stall_note.h"

using namespace mtd::ctl;

TEST_CASE("lines, however they arrive") {
  int fds[2];
  REQUIRE(::pipe(fds) == 0);
  mtd::UniqueFd write(fds[1]);
  const mtd::UniqueFd read(fds[0]);
  LineInput input(read.get(), '\n');
  const auto give = [&write](const char* text, std::size_t size) {
    REQUIRE(::write(write.get(), text, size) == static_cast<ssize_t>(size));
  };
  give("one", 3);
  input.read();
  CHECK_FALSE(input.has_line());
  CHECK(input.wants_to_read());
  give("\n\nthr", 5);
  input.read();
  CHECK(input.take() == "one");
  CHECK(input.take().empty());
  CHECK_FALSE(input.has_line());
  give("ee", 2);
  write.reset();
  input.read();
  CHECK_FALSE(input.is_at_end());
  input.read();
  CHECK(input.take() == "three");
  CHECK(input.is_at_end());
  CHECK(input.error() == 0);
}

TEST_CASE("lines of a file are counted from where it is read") {
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  std::fputs("a\nb\nc", file);
  std::fflush(file);
  ::lseek(::fileno(file), 2, SEEK_SET);
  CHECK(count_lines(::fileno(file), '\n') == 2);
  CHECK(::lseek(::fileno(file), 0, SEEK_CUR) == 2);
  std::fclose(file);
  int fds[2];
  REQUIRE(::pipe(fds) == 0);
  CHECK_FALSE(count_lines(fds[0], '\n'));
  ::close(fds[0]);
  ::close(fds[1]);
}

TEST_CASE("the bar says done, rate, time left and failures, within the line") {
  Screen screen;
  screen.terminal = screen.cursor = true;
  screen.width = 100;
  MapProgress progress;
  progress.done = 512;
  progress.failed = 2;
  progress.total = 1024;
  progress.elapsed_ms = 4000;
  CHECK(progress_bar(progress, screen) ==
        "[####################....................]  512/1024  50%  128/s  ETA 5s  2 failed");
  for (std::size_t width = 2; width < 120; ++width) {
    screen.width = width;
    CHECK(display_width(progress_bar(progress, screen)) < width);
  }
  progress.total.reset();
  progress.failed = 0;
  progress.connected = false;
  CHECK(progress_bar(progress, screen) == "512/?  128/s  mtd is away");
  progress = {};
  progress.total = 0;
  CHECK(progress_bar(progress, screen) == "0/0");
}

TEST_CASE("why a pool does not work at its tasks; nothing is said of one that does") {
  const Json idle{{"paused", false}, {"busy", 0}, {"workers", 0}};
  const auto status = [](const char* state, int ready = 0, int want = 2) {
    return Json{{"state", state}, {"ready", ready}, {"want", want}};
  };
  CHECK(stall_reason("p", idle, status("stopped")) ==
        "pool p is stopped; 'mtctl start p' starts it");
  CHECK(stall_reason("p", idle, status("completed")) ==
        "pool p is completed; 'mtctl start p' starts it");
  CHECK(stall_reason("p", idle, status("frozen", 2)) ==
        "pool p is frozen; 'mtctl thaw p' lets it go on");
  CHECK(stall_reason("p", idle, status("running", 0, 0)) ==
        "pool p has no workers; 'mtctl scale p N' gives it some");
  for (const char* state : {"starting", "backoff", "failed"}) {
    CHECK(stall_reason("p", idle, status(state)) ==
          "no worker of pool p is ready; 'mtctl why p' says why");
  }
  CHECK(stall_reason("p", {{"paused", true}, {"busy", 1}}, status("running", 2)) ==
        "pool p is paused; 'mtctl pool resume p' lets it hand out tasks");
  CHECK(stall_reason("p", idle, Json()) ==
        "no worker of pool p is ready, and mtd's supervisor does not say why");
  CHECK(stall_reason("p", {{"busy", 1}, {"workers", 1}}, Json()).empty());
  CHECK(stall_reason("p", {{"busy", 0}, {"workers", 1}}, Json()).empty());
  CHECK(stall_reason("p", {{"busy", 2}}, status("degraded")).empty());
  CHECK(stall_reason("p", idle, status("running", 1)).empty());
  CHECK(stall_reason("p", Json(), status("stopped")).empty());
}
