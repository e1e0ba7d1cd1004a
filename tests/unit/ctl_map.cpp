// What map is made of: lines of the input, and the bar.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdio>

#include "common/unique_fd.h"
#include "ctl/display_width.h"
#include "ctl/line_input.h"
#include "ctl/progress_bar.h"

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
